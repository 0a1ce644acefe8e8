"""The Kubernetes cluster: k3s in containers, made by k3d from k8s/k3d.yaml (contracts E).

k3d's "ready" is a log line. Here a cluster is ready when its API answers, every node is Ready, the names service is
available, and the ingress answers on its port.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import files, symptoms, workload
from lab.causes import Evidence
from lab.cluster import DEPLOYMENT, NODE, POD, Cluster
from lab.engines.base import LogSource
from lab.engines.docker import cluster_config, containers, cures, downloads, kubeconfig, sizes
from lab.engines.docker.cluster_names import ClusterNames
from lab.engines.docker.cures import Cure
from lab.engines.docker.k3d import K3d
from lab.engines.docker.mirrors import registries_yaml
from lab.engines.docker.nodes import Nodes, Wanted
from lab.engines.docker.site import Site
from lab.engines.ports import require_free
from lab.errors import LabError
from lab.model import Check
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import RemoteError, fetch, patient
from lab.shell import mask
from lab.waiting import Pending

SYSTEM = "kube-system"
_HOST = "127.0.0.1"
_KUBECONFIG = "kubeconfig"
_IMAGES = ("k3s", "k3d-proxy", "k3d-tools")


class K3dCluster:
    """The k3d program, the cluster, and GitLab's name in it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._nodes = Nodes(site)
        self._k3d = K3d(site, self._nodes.log)
        self._cures = (
            Cure("restarting the load balancer", self._restart_balancer),
            Cure("stopping and starting the cluster", self._restart),
        )
        self._names = ClusterNames(site, self._nodes, self._cures)

    def steps(self) -> Sequence[Step]:
        """The program; the cluster; the names, which need GitLab's container but not GitLab."""
        name, pulled = self._site.names.cluster, tuple(f"pull.{image}" for image in _IMAGES)
        return [
            Step(
                "k3d", f"k3d {downloads.version('k3d')}", self._probe_program, self._act_program,
                explain="curl -Lo .lab/bin/k3d https://github.com/k3d-io/k3d/releases/... && chmod +x .lab/bin/k3d",
            ),
            Step(
                "cluster", f"Kubernetes cluster {name}", self._probe, self._act, ("network", "cache", "k3d", *pulled),
                f"k3d cluster create --config .lab/k3d.yaml\nk3d kubeconfig get {name} > .lab/kubeconfig",
            ),
            self._names.step(),
        ]  # fmt: skip

    def health(self) -> Sequence[Check]:
        """Whether its nodes run and it serves."""
        if not self._nodes.all():
            return [Check("engine.cluster", "Kubernetes cluster", False, "there is none", "invoke up")]
        return [check("engine.cluster", "Kubernetes cluster", self._serves()), *self._names.health()]

    def stop(self) -> str:
        """Stop the nodes; pods and volumes stay."""
        return self._nodes.stop()

    def down(self) -> str:
        """Remove the nodes with everything in them, and what k3d made for them."""
        removed = self._nodes.remove()
        kubeconfig.leave(self._personal, self._site.names.cluster)
        for name in (_KUBECONFIG, cluster_config.REGISTRIES, "k3d.yaml"):
            (self._site.state.folder / name).unlink(missing_ok=True)
        return removed

    def purge(self) -> str:
        """`down` has left nothing."""
        return ""

    def logs(self) -> Mapping[str, LogSource]:
        """k3s on the server: API server, scheduler and kubelet are one process."""
        return {"cluster": self._log}

    def _log(self, follow: bool, stop: threading.Event) -> Iterator[str]:
        tokens = self._nodes.tokens()
        lines = containers.log(self._site, self._site.names.server)(follow, stop)
        yield from (mask(line, tokens) for line in lines)

    def _probe_program(self, _context: StepContext) -> Probe:
        found = self._k3d.present()
        return Satisfied(str(found)) if found else Needed(f"no k3d of version {downloads.version('k3d')} is here")

    def _act_program(self, context: StepContext) -> str:
        return str(self._k3d.program(context))

    def _probe(self, _context: StepContext) -> Probe:
        if not self._nodes.all():
            return Needed("there is none")
        lasting = self._nodes.differences(self._wanted)
        if lasting:
            return Needed(f"it has to be made anew, with empty volumes: {'; '.join(lasting)}")
        other = self._pulling() or self._nodes.resting()
        if other:
            return Needed("; ".join(other))
        if not self._kubeconfig.exists() or not kubeconfig.joined(self._personal, self._kubeconfig):
            return Needed("a kubeconfig is missing")
        if self._unlimited():
            return Needed("its nodes may use more or less memory than wanted")
        seen = self._serves()
        return Needed(seen.observation) if isinstance(seen, Pending) else Satisfied(seen)

    def _act(self, context: StepContext) -> str:
        with self._k3d.alone(context):
            said, fresh = self._exist(context)
        for node, memory in self._unlimited():
            with self._site.daemon.asking(f"limit the memory of {node.name}"):
                node.update(mem_limit=memory, memswap_limit=-1)
        self._write_kubeconfig()
        cured = self._settle(context, helped=not fresh)
        return "; ".join([said, *cured])

    def _exist(self, context: StepContext) -> tuple[str, bool]:
        """Make the nodes exist and run; says what was done, and whether the cluster is a new one."""
        found, other = self._nodes.all(), self._nodes.differences(self._wanted)
        if not found or other:
            return self._create(context, other if found else []), True
        self._nodes.unpause()
        said, pulling = "started", self._pulling()
        if pulling:
            context.report("; ".join(pulling))
            self._nodes.stop()
            self._nodes.write_registries(self._registries)
            said = "restarted with other registries, nothing lost"
        if not self._nodes.resting():
            return "looked after", False
        self._require_ports()
        self._k3d.start(self._site.names.cluster, timeout=self._site.settings.timeouts.cluster)
        return said, False

    def _create(self, context: StepContext, other: Sequence[str]) -> str:
        config = cluster_config.render(self._site)
        self._require_ports()
        self._nodes.remove()
        self._nodes.claim()
        self._site.state.path(cluster_config.REGISTRIES).write_text(self._registries, encoding="utf-8")
        context.report("k3d creates the nodes")
        try:
            self._k3d.create(config, timeout=self._site.settings.timeouts.cluster)
        except LabError:
            self._nodes.remove()
            raise
        return f"made anew with empty volumes, because {'; '.join(other)}" if other else "created"

    def _require_ports(self) -> None:
        """Make sure that nobody else has the cluster's ports; k3d would only say that one is taken."""
        held = self._nodes.published()
        for key in ("kubernetes", "app", "argocd"):
            port = getattr(self._site.settings.ports, key)
            if port not in held:
                require_free(_HOST, key, port)

    def _pulling(self) -> list[str]:
        """The nodes that pull from other registries than they should."""
        return [f"{name} pulls from other registries" for name in self._nodes.registries(self._registries)]

    def _settle(self, context: StepContext, *, helped: bool) -> list[str]:
        """Wait until the cluster serves; one that was there before is helped along when that takes long."""
        timeouts = self._site.settings.timeouts
        return cures.wait(
            context,
            lambda timeout: self._wait(context, timeout),
            self._cures if helped else (),
            patience=timeouts.start,
            limit=timeouts.cluster,
        )

    def _restart_balancer(self) -> None:
        """Restart the load balancer, which looks its nodes up only when it starts."""
        for balancer in self._nodes.of("loadbalancer"):
            with self._site.daemon.asking(f"restart {balancer.name}"):
                balancer.restart(timeout=5)

    def _restart(self) -> None:
        """Stop and start the cluster through k3d, which injects names and gateway anew (contracts E.4)."""
        self._nodes.stop()
        self._k3d.start(self._site.names.cluster, timeout=self._site.settings.timeouts.cluster)

    def _wait(self, context: StepContext, timeout: float) -> None:
        context.wait(
            f"cluster {self._site.names.cluster}", patient(self._serves, outage=timeout), timeout=timeout,
            hint="`invoke logs cluster` shows k3s; `invoke down`, then `invoke up` makes the cluster anew.",
            diagnose=self._evidence,
        )  # fmt: skip

    def _evidence(self) -> Iterator[Evidence]:
        """What the first node says, and its pods once Kubernetes answers."""
        yield Evidence("node", self._nodes.log(), "k3s")
        yield from symptoms.of_namespace(Cluster(self._kubeconfig), SYSTEM)

    def _serves(self) -> str | Pending:
        """The nodes' versions once everything answers, else what is not there yet."""
        resting = self._nodes.resting()
        if resting:
            return Pending("; ".join(resting))
        try:
            return self._answers(Cluster(self._kubeconfig))
        except RemoteError as error:
            return Pending(f"{error.problem} {error.evidence}".strip())

    def _answers(self, cluster: Cluster) -> str | Pending:
        nodes = cluster.select(NODE)
        unready = [node["metadata"]["name"] for node in nodes if not workload.ready(node)]
        missing = 1 + self._site.settings.cluster.agents - len(nodes)
        if unready or missing > 0:
            return Pending(f"not Ready: {', '.join(unready)}" if unready else f"{missing} nodes have not registered")
        for name in ("coredns", "traefik"):
            deployment = cluster.get(DEPLOYMENT, name, SYSTEM)
            why = workload.not_rolled_out(deployment) if deployment else "is not installed yet"
            if why:
                return Pending("; ".join([f"{name}: {why}", *troubles(cluster, SYSTEM)]))
        fetch(f"http://{_HOST}:{self._site.settings.ports.app}/")  # whatever it says, Traefik has said it
        version = nodes[0].get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "")
        return f"{len(nodes)} node{'s' if len(nodes) > 1 else ''} Ready, {version}"

    def _unlimited(self) -> list[tuple[Any, int]]:
        """The nodes whose memory limit is another one than the preset's, with that limit in bytes."""
        limit = sizes.of(self._site).node_memory
        nodes = [*self._nodes.of("server"), *self._nodes.of("agent")]
        return [(node, limit) for node in nodes if node.attrs["HostConfig"].get("Memory", 0) != limit]

    def _write_kubeconfig(self) -> None:
        """The lab's own kubeconfig, and the user's when asked to."""
        text = self._k3d.kubeconfig(self._site.names.cluster)
        files.replace(self._site.state.path(_KUBECONFIG), text.encode())
        self._kubeconfig.chmod(0o600)
        kubeconfig.join(self._personal, text)

    @property
    def _kubeconfig(self) -> Path:
        return self._site.state.folder / _KUBECONFIG

    @property
    def _personal(self) -> Path | None:
        """``~/.kube/config`` when `cluster.kubeconfig` says so."""
        home = self._site.environ.get("HOME")
        return Path(home) / ".kube" / "config" if home and self._site.settings.cluster.kubeconfig else None

    @functools.cached_property
    def _wanted(self) -> Wanted:
        return cluster_config.wanted(self._site)

    @functools.cached_property
    def _registries(self) -> str:
        return registries_yaml(self._site)


def check(name: str, title: str, seen: str | Pending) -> Check:
    """The check that an observation stands for."""
    if isinstance(seen, Pending):
        return Check(name, title, False, seen.observation, "invoke up")
    return Check(name, title, True, seen)


def troubles(cluster: Cluster, namespace: str) -> list[str]:
    """What keeps pods of a namespace from running; the same reason is told once."""
    found: dict[str, list[str]] = {}
    for pod in cluster.select(POD, namespace):
        why = workload.trouble(pod)
        if why:
            found.setdefault(why, []).append(pod["metadata"]["name"])
    return [f"{', '.join(pods)}: {why}" for why, pods in found.items()]
