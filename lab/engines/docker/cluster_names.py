"""GitLab's name on the nodes and in the pods, before and after a restart of Docker (contracts E.4, I).

On the nodes Docker's own resolver answers; k3d has them ask it through the network's gateway. Pods ask the cluster's
resolver, which gets a block of its own for the lab's domain (k8s/coredns.yaml): it forwards to the node's resolver and
keeps no answer, so that no address is stored anywhere. Both are asked with `nslookup` on the server node.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from lab import assets
from lab.argocd import difference
from lab.cluster import CONFIG_MAP, SERVICE, Cluster, Document
from lab.engines.docker import cures
from lab.engines.docker.cures import Cure
from lab.engines.docker.nodes import AGENT, SERVER, Nodes
from lab.engines.docker.site import Site
from lab.errors import LabError
from lab.model import Check
from lab.plan import Needed, Probe, Satisfied, Step, StepContext, Unknown
from lab.remote import RemoteError, patient
from lab.waiting import Pending

_FILE = "k8s/coredns.yaml"
_ANSWER = re.compile(r"^Name:.*\n(?:Address(?: \d+)?:\s*(?P<address>[\d.]+))", re.MULTILINE)


class ClusterNames:
    """The step that makes GitLab's name resolve in the cluster.

    Args:
        site: the lab.
        nodes: where is asked.
        cures: what is tried when the name does not resolve, one after the other.
    """

    def __init__(self, site: Site, nodes: Nodes, cures: Sequence[Cure]) -> None:
        self._site, self._nodes, self._cures = site, nodes, cures

    def step(self) -> Step:
        """It needs GitLab's container, but not that GitLab answers."""
        host, server = self._site.host, self._site.names.server
        return Step(
            "cluster.names", f"{host} resolves on nodes and in pods", self._probe, self._act, ("cluster", "gitlab"),
            f"docker exec {server} nslookup {host}\ndocker exec {server} nslookup {host} 10.43.0.10",
        )  # fmt: skip

    def health(self) -> Sequence[Check]:
        """Whether it resolves, when there is a GitLab to resolve to."""
        try:
            seen = self._probe(StepContext())
        except RemoteError as error:
            seen = Needed(error.problem)
        if isinstance(seen, Satisfied):
            return [Check("engine.names", "GitLab's name in the cluster", True, seen.evidence)]
        what = seen.why if isinstance(seen, Needed) else f"after {seen.until}"
        return [Check("engine.names", "GitLab's name in the cluster", False, what, "invoke up")]

    def _probe(self, _context: StepContext) -> Probe:
        address = self._address()
        if not address:
            return Unknown("GitLab's container runs")
        cluster = self._cluster()
        wanted = self._wanted()
        if difference({"data": wanted["data"]}, cluster.get(CONFIG_MAP, wanted["metadata"]["name"], "kube-system")):
            return Needed("the cluster's resolver has no block for the lab's domain")
        wrong = self._wrong(cluster, address)
        return Needed("; ".join(wrong)) if wrong else Satisfied(f"{self._site.host} is {address}")

    def _act(self, context: StepContext) -> str:
        address = self._address()
        if not address:
            raise LabError("LAB-K3D-07", f"Container {self._site.names.gitlab} does not run.", hint="invoke up")
        self._cluster().apply(self._wanted())
        timeouts = self._site.settings.timeouts
        tried = cures.wait(
            context, lambda timeout: self._wait(context, address, timeout), self._cures,
            patience=timeouts.start, limit=timeouts.cluster,
        )  # fmt: skip
        return "; ".join([f"{self._site.host} is {address}", *tried])

    def _wait(self, context: StepContext, address: str, timeout: float) -> None:
        def resolved() -> bool | Pending:
            wrong = self._wrong(self._cluster(), address)
            return Pending("; ".join(wrong)) if wrong else True

        context.wait(
            f"{self._site.host} to resolve in the cluster", patient(resolved, outage=timeout), timeout=timeout,
            hint="A VPN or firewall that came up after Docker may be in the way: restart Docker, then invoke up.",
        )  # fmt: skip

    def _wrong(self, cluster: Cluster, address: str) -> list[str]:
        """What resolves to something else than GitLab's address."""
        service = cluster.get(SERVICE, "kube-dns", "kube-system")
        if service is None:
            return ["the cluster has no names service"]
        asked = [(node, "", f"on {node.name}") for node in (*self._nodes.of(SERVER), *self._nodes.of(AGENT))]
        asked += [(node, str(service["spec"]["clusterIP"]), "in pods") for node in self._nodes.of(SERVER)]
        found = [(where, self._lookup(node, resolver)) for node, resolver, where in asked]
        return [
            f"{self._site.host} {where} is {seen or 'unknown'}, not {address}"
            for where, seen in found
            if seen != address
        ]

    def _lookup(self, node: Any, resolver: str) -> str:
        """The address that a resolver gives, the node's own when none is named; empty when it gives none.

        busybox's nslookup also asks for IPv6 and fails for want of it, so its exit code says nothing.
        """
        answer = self._site.daemon.execute(node, "nslookup", self._site.host, *filter(None, [resolver]))
        found = _ANSWER.search(answer.output)
        return found["address"] if found else ""

    def _address(self) -> str:
        """GitLab's address on the lab's network, as Docker knows it now; empty when it does not run."""
        gitlab = self._site.ours("containers", self._site.names.gitlab)
        ends = gitlab.attrs["NetworkSettings"]["Networks"] if gitlab is not None else {}
        return str((ends.get(self._site.names.network) or {}).get("IPAddress") or "")

    def _cluster(self) -> Cluster:
        return Cluster(self._site.state.folder / "kubeconfig")

    def _wanted(self) -> Document:
        document: Document = yaml.safe_load(assets.render(_FILE, domain=self._site.settings.domain))
        return document
