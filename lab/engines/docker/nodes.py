"""The containers of the k3d cluster: which there are, whether they are as wanted, their end.

They are looked at through the Docker API and not with `k3d cluster list`: that fails as a whole when one node has no
address, and its JSON carries the cluster's token (contracts E.3). k3d marks them with labels (E.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lab.engines.docker import containers
from lab.engines.docker.site import LABEL, Site, labels
from lab.errors import UsageError
from lab.shell import mask

CLUSTER, ROLE, _TOKEN = "k3d.cluster", "k3d.role", "k3d.cluster.token"
SERVER, AGENT, BALANCER = "server", "agent", "loadbalancer"
REGISTRIES = "/etc/rancher/k3s/registries.yaml"
_BALANCED = "/etc/confd/values.yaml"
"""What the load balancer forwards. k3d writes it and `REGISTRIES` once, before the first start."""
_FACT = "cluster"
_TAIL = 40
_GRACE = 30
"""Seconds that a node gets to end."""


@dataclass(frozen=True)
class Wanted:
    """What the nodes are created from and cannot be changed afterwards."""

    agents: int
    image: str
    ports: Mapping[int, int]
    """Port of the load balancer, and where it is published on 127.0.0.1."""
    arguments: Sequence[str]
    """Arguments of k3s on the server."""


class Nodes:
    """The nodes of one lab's cluster, its load balancer included."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._name = site.names.cluster

    def all(self) -> list[Any]:
        """Every node, running or not, servers first.

        Raises:
            UsageError: k3d has a cluster of this name that the lab did not make.
        """
        found = [node for node in self._labelled() if labels(node).get(ROLE) in (SERVER, AGENT, BALANCER)]
        strange = [node.name for node in found if labels(node).get(LABEL) != self._site.settings.name]
        if strange:
            raise UsageError(
                "LAB-K3D-04", f"There is a k3d cluster {self._name} that is not this lab's; it was not touched.",
                evidence=f"{', '.join(strange)}: without the label {LABEL}={self._site.settings.name}",
                hint=f"Remove it (k3d cluster delete {self._name}), or give the lab another name: "
                "invoke config.set name NAME",
            )  # fmt: skip
        order = (SERVER, AGENT, BALANCER)
        return sorted(found, key=lambda node: (order.index(labels(node)[ROLE]), node.name))

    def of(self, role: str) -> list[Any]:
        """The nodes of one role."""
        return [node for node in self.all() if labels(node)[ROLE] == role]

    def resting(self) -> list[str]:
        """The nodes that do not run, with the state they are in."""
        return [f"{node.name} is {state}" for node in self.all() if (state := containers.state(node)) != "running"]

    def differences(self, wanted: Wanted) -> list[str]:
        """What only a new cluster can change: nodes missing or too many, image, ports, network, arguments."""
        found = {node.name: node for node in self.all()}
        expected = set(self._names(wanted.agents))
        said = [f"{name} is missing" for name in sorted(expected - set(found))]
        said += [f"{name} is one too many" for name in sorted(set(found) - expected)]
        network = self._site.ours("networks", self._site.names.network)
        for name in sorted(expected & set(found)):
            said += [f"{name} {what}" for what in self._differs(found[name], wanted, network.id if network else "")]
        return said

    def registries(self, wanted: str) -> list[str]:
        """The nodes whose registries.yaml says something else than ``wanted``."""
        meant = _plain(yaml.safe_load(wanted))
        nodes = [*self.of(SERVER), *self.of(AGENT)]
        return [node.name for node in nodes if _plain(_parsed(self._read(node, REGISTRIES))) != meant]

    def write_registries(self, text: str) -> None:
        """Give every node another registries.yaml; k3s reads it when it starts."""
        for node in (*self.of(SERVER), *self.of(AGENT)):
            containers.put(self._site, node, REGISTRIES, text, mode=0o644)

    def published(self) -> set[int]:
        """The ports of this machine that the load balancer holds right now."""
        bound = [
            binding
            for node in self.of(BALANCER)
            if containers.state(node) == "running"
            for bindings in (node.attrs["NetworkSettings"].get("Ports") or {}).values()
            for binding in bindings or ()
        ]
        return {int(binding["HostPort"]) for binding in bound}

    def log(self) -> str:
        """The end of what the first server has said since its start, without the cluster's token; may be empty."""
        for node in self.of(SERVER):
            since = node.attrs["State"]["StartedAt"]
            return mask(containers.tail(self._site, node, _TAIL, since=since), self.tokens())
        return ""

    def tokens(self) -> list[str]:
        """The cluster's token, for masking."""
        return list({token for node in self.all() if (token := labels(node).get(_TOKEN))})

    def claim(self) -> None:
        """Remember that what k3d makes from now on is the lab's, also what cannot carry our label."""
        self._site.state.put_fact(_FACT, {"name": self._name})

    def unpause(self) -> None:
        """Let go on what somebody has paused; k3d takes it for running."""
        for node in self.all():
            if containers.state(node) == "paused":
                with self._site.daemon.asking(f"unpause {node.name}"):
                    node.unpause()

    def stop(self) -> str:
        """Stop every node, the load balancer first; returns what was done, empty when nothing ran."""
        active = [
            node for node in reversed(self.all()) if containers.state(node) in ("running", "restarting", "paused")
        ]
        for node in active:
            with self._site.daemon.asking(f"stop {node.name}"):
                node.stop(timeout=_GRACE)
        return f"cluster {self._name}" if active else ""

    def remove(self) -> str:
        """Remove the nodes with their volumes, k3d's helper and its image volume; empty when there was nothing."""
        nodes = self.all()
        claimed = bool(nodes) or bool(self._site.state.fact(_FACT))
        helpers = [node for node in self._labelled() if claimed and ROLE in labels(node)]
        for node in {node.id: node for node in (*reversed(nodes), *helpers)}.values():
            with self._site.daemon.asking(f"remove {node.name}"):
                node.remove(v=True, force=True)
        volume = self._volume() if claimed else None
        if volume is not None:
            with self._site.daemon.asking(f"remove volume {volume.name}"):
                volume.remove()
        if claimed:
            self._site.state.put_fact(_FACT, None)
        return f"cluster {self._name}" if nodes or helpers or volume else ""

    def _labelled(self) -> list[Any]:
        with self._site.daemon.asking("list the cluster's containers"):
            return list(
                self._site.daemon.client.containers.list(
                    all=True, filters={"label": f"{CLUSTER}={self._name}"}, ignore_removed=True
                )
            )

    def _volume(self) -> Any | None:
        found = self._site.daemon.find("volumes", f"k3d-{self._name}-images")
        return found if found is not None and labels(found).get(CLUSTER) == self._name else None

    def _names(self, agents: int) -> Iterator[str]:
        yield self._site.names.server
        yield from (f"k3d-{self._name}-agent-{number}" for number in range(agents))
        yield self._site.names.balancer

    def _differs(self, node: Any, wanted: Wanted, network: str) -> Iterator[str]:
        role, attributes = labels(node)[ROLE], node.attrs
        here = (attributes["NetworkSettings"].get("Networks") or {}).get(self._site.names.network) or {}
        if not network or here.get("NetworkID") not in (network, ""):  # empty while it was never started
            yield f"is not on network {self._site.names.network}"
        configured = _BALANCED if role == BALANCER else REGISTRIES
        if self._read(node, configured) is None:
            yield "was never started: k3d was interrupted"
        if role == BALANCER:
            yield from _other_ports(attributes["HostConfig"].get("PortBindings") or {}, wanted.ports)
            return
        if attributes["Config"]["Image"] != wanted.image:
            yield f"runs {attributes['Config']['Image']}, not {wanted.image}"
        if role == SERVER and not set(wanted.arguments) <= set(attributes["Config"].get("Cmd") or ()):
            yield "was started with other arguments"

    def _read(self, node: Any, path: str) -> str | None:
        return containers.take(self._site, node, path)


def _other_ports(bindings: Mapping[str, Any], wanted: Mapping[int, int]) -> Iterator[str]:
    """k3d leaves the protocol of the API's port out: ``6443`` beside ``80/tcp``."""
    found = {int(port.partition("/")[0]): bound for port, bound in bindings.items()}
    for inner, outer in wanted.items():
        bound = [f"{binding['HostIp']}:{binding['HostPort']}" for binding in found.get(inner) or ()]
        if bound != [f"127.0.0.1:{outer}"]:
            yield f"publishes port {inner} at {', '.join(bound) or 'nowhere'}, not at 127.0.0.1:{outer}"


def _parsed(text: str | None) -> Any:
    try:
        return yaml.safe_load(text or "")
    except yaml.YAMLError:
        return None


def _plain(value: Any) -> Any:
    """Without empty parts, which k3d adds when it writes the file."""
    if isinstance(value, dict):
        kept = {key: _plain(part) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part not in (None, {}, [], "", False)}
    return [_plain(part) for part in value] if isinstance(value, list) else value
