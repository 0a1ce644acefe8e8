"""Which addresses a service has: pure functions from a service and its pods to Endpoints and EndpointSlices.

Source: pkg/controller/endpoint, k8s.io/endpointslice (v1.33).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.emulator.kube.objects import owner_reference
from lab.emulator.workloads.objects import Obj, pod_is_ready, terminating
from lab.emulator.workloads.ports import NOWHERE, SIMULATED, container_port, real_port


@dataclass(frozen=True)
class Backend:
    """One pod behind a service."""

    pod: Obj
    address: str
    ports: tuple[tuple[str, int, str, str], ...]
    """(name, number, protocol, application protocol) of each service port that the pod serves."""
    ready: bool
    terminating: bool


def is_simulated(pod: Obj) -> bool:
    """Whether no process stands behind (a part of) the pod."""
    return (pod["metadata"].get("annotations") or {}).get(SIMULATED) == "true"


def backends(service: Obj, pods: list[Obj]) -> list[Backend]:
    """The pods that the service's selector matches and that have an address, in name order."""
    selector = (service["spec"].get("selector") or {}).items()
    found = []
    for pod in pods:
        status = pod.get("status") or {}
        matches = selector <= (pod["metadata"].get("labels") or {}).items()
        if not selector or not matches or not status.get("podIP") or status.get("phase") in {"Succeeded", "Failed"}:
            continue
        ready = pod_is_ready(pod) or bool(service["spec"].get("publishNotReadyAddresses"))
        found.append(Backend(pod, status["podIP"], _ports(service, pod), ready, terminating(pod)))
    return sorted(found, key=lambda each: str(each.pod["metadata"]["name"]))


def _ports(service: Obj, pod: Obj) -> tuple[tuple[str, int, str, str], ...]:
    result = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol", "TCP")
        wanted = port.get("targetPort") or port["port"]
        # Only a pod without any process shows the port that it would have had; its address leads nowhere.
        pretended = (pod.get("status") or {}).get("podIP") == NOWHERE
        number = container_port(pod, wanted, protocol) if pretended else real_port(pod, wanted)
        if number is not None:
            result.append((port.get("name", ""), number, protocol, port.get("appProtocol", "")))
    return tuple(result)


def _target(pod: Obj) -> Obj:
    metadata = pod["metadata"]
    return {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}


def _port(port: tuple[str, int, str, str]) -> Obj:
    name, number, protocol, application = port
    shown: Obj = {"name": name} if name else {}
    shown.update(port=number, protocol=protocol)
    return {**shown, "appProtocol": application} if application else shown


def _by_ports(found: list[Backend]) -> dict[tuple[Any, ...], list[Backend]]:
    groups: dict[tuple[Any, ...], list[Backend]] = {}
    for each in found:
        groups.setdefault(each.ports, []).append(each)
    return groups


def endpoints(service: Obj, found: list[Backend]) -> Obj:
    """The Endpoints object of a service. A pod that is being deleted is not in it."""
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    subsets = []
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    for ports, members in _by_ports([each for each in found if publish or not each.terminating]).items():
        if not ports and service["spec"].get("ports"):
            continue
        subset: Obj = {}
        for key, wanted in (("addresses", True), ("notReadyAddresses", False)):
            listed = [_address(each) for each in members if each.ready is wanted]
            if listed:
                subset[key] = listed
        if ports:
            subset["ports"] = [_port(port) for port in ports]
        subsets.append(subset)
    result: Obj = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "labels": labels},
    }
    return {**result, "subsets": subsets} if subsets else result


def _address(backend: Backend) -> Obj:
    hostname = backend.pod["spec"].get("hostname")
    shown = {"ip": backend.address, "nodeName": backend.pod["spec"].get("nodeName"), "targetRef": _target(backend.pod)}
    if hostname and backend.pod["spec"].get("subdomain"):
        shown["hostname"] = hostname
    return shown


def slices(service: Obj, found: list[Backend]) -> list[Obj]:
    """The EndpointSlices of a service, one for each set of ports, without names; at least one."""
    metadata = service["metadata"]
    labels = {
        **(metadata.get("labels") or {}),
        "kubernetes.io/service-name": metadata["name"],
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    groups = _by_ports(found) or {(): []}
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "namespace": metadata["namespace"],
                "labels": labels,
                "ownerReferences": [owner_reference(service)],
            },
            "addressType": "IPv4",
            "endpoints": [_endpoint(each) for each in members],
            "ports": [{"name": name, **_port(("", *rest))} for name, *rest in ports],
        }
        for ports, members in groups.items()
    ]


def _endpoint(backend: Backend) -> Obj:
    return {
        "addresses": [backend.address],
        "conditions": {
            "ready": backend.ready and not backend.terminating,
            "serving": backend.ready,
            "terminating": backend.terminating,
        },
        "nodeName": backend.pod["spec"].get("nodeName"),
        "targetRef": _target(backend.pod),
    }


def targets(found: Obj | None, port: Obj) -> list[tuple[str, int]]:
    """(address, port) of every ready endpoint that serves the service port ``port``, simulated pods left out."""
    result = []
    for subset in (found or {}).get("subsets") or ():
        for offered in subset.get("ports") or ():
            if offered.get("name", "") == port.get("name", ""):
                result += [(str(each["ip"]), int(offered["port"])) for each in subset.get("addresses") or ()]
    return [(address, number) for address, number in result if address != NOWHERE]
