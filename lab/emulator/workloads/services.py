"""Keeps Endpoints and EndpointSlices in line with services and pods."""

from __future__ import annotations

from lab.emulator.workloads.cluster import ENDPOINTS, PODS, SERVICES, SLICES, Cluster
from lab.emulator.workloads.endpoints import backends, endpoints, slices
from lab.emulator.workloads.objects import Obj, is_controlled_by


class Services:
    """The endpoint controllers."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        self._cluster = cluster
        self._address = address

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring the addresses of one service up to date; a service without selector has its own Endpoints."""
        service = self._cluster.find(SERVICES, namespace, name)
        if service is None:
            self._remove(namespace, name)
            return
        self._balance(service)
        if not service["spec"].get("selector"):
            return
        found = backends(service, list(self._cluster.store.select(*PODS, namespace)))
        self._put_endpoints(endpoints(service, found))
        self._put_slices(service, slices(service, found))

    def _balance(self, service: Obj) -> None:
        """A load balancer's address is this machine's, as with k3s's ServiceLB."""
        wanted = [{"ip": self._address, "ipMode": "VIP"}] if service["spec"].get("type") == "LoadBalancer" else []
        status = service.get("status") or {}
        if (status.get("loadBalancer") or {}).get("ingress", []) != wanted:
            balancer = {"ingress": wanted} if wanted else {}
            self._cluster.put_status(SERVICES, service, {**status, "loadBalancer": balancer})

    def _remove(self, namespace: str, name: str) -> None:
        left = self._cluster.find(ENDPOINTS, namespace, name)
        managed = "endpoints.kubernetes.io/managed-by"
        if left and managed in (left["metadata"].get("labels") or {}):
            self._cluster.delete(ENDPOINTS, left)

    def _put_endpoints(self, wanted: Obj) -> None:
        current = self._cluster.find(ENDPOINTS, wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        if current is None:
            self._cluster.create(ENDPOINTS, wanted)
            return
        if (
            current.get("subsets") == wanted.get("subsets")
            and current["metadata"].get("labels") == wanted["metadata"]["labels"]
        ):
            return
        current["metadata"]["labels"] = wanted["metadata"]["labels"]
        current["subsets"] = wanted.get("subsets", [])
        self._cluster.update(ENDPOINTS, current)

    def _put_slices(self, service: Obj, wanted: list[Obj]) -> None:
        """Take up existing slices of the same ports first, so that a resting service makes no writes."""
        rows = self._cluster.store.select(*SLICES, service["metadata"]["namespace"])
        spare = [dict(each) for each in rows if is_controlled_by(each, service)]
        rest = []
        for new in wanted:
            same = next((each for each in spare if each.get("ports", []) == new["ports"]), None)
            if same is None:
                rest.append(new)
            else:
                spare.remove(same)
                self._put_slice(same, new)
        for new in rest:
            if spare:
                self._put_slice(spare.pop(), new)
            else:
                self._cluster.create(SLICES, new)
        for each in spare:
            self._cluster.delete(SLICES, each)

    def _put_slice(self, current: Obj, new: Obj) -> None:
        fields = ("ports", "endpoints")
        labels = new["metadata"]["labels"]
        if all(current.get(field) == new[field] for field in fields) and current["metadata"].get("labels") == labels:
            return
        metadata = {**current["metadata"], "labels": labels}
        self._cluster.update(SLICES, {**current, "metadata": metadata, **{field: new[field] for field in fields}})
