"""Which real port stands for a container's port, and the annotation that tells it to whoever looks.

Pods share the machine's one network here, so that the kubelet reserves a free port per container port and the
process listens there (``PORT``). The pod's annotation ``emulator.lab/ports`` holds the mapping as
``8080=21034,9090=21035``; services, probes and people read it.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from lab.emulator.workloads.objects import Obj

ANNOTATION = "emulator.lab/ports"
SIMULATED = "emulator.lab/simulated"
LOOPBACK = "127.0.0.1"
NOWHERE = "192.0.2.1"
"""Address of a simulated pod: from the block that is reserved for documentation, so that nothing answers there."""
_RANGE = range(20000, 30000)
"""Below the kernel's ports for clients (32768 and up) and Kubernetes' node ports (30000 and up)."""


def format_ports(ports: Mapping[int, int]) -> str:
    """The annotation's value for a mapping of container ports to real ones."""
    return ",".join(f"{port}={real}" for port, real in sorted(ports.items()))


def parse_ports(text: str) -> dict[int, int]:
    """The mapping in an annotation's value; what cannot be read is left out."""
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {int(port): int(real) for port, _, real in pairs if port.isdecimal() and real.isdecimal()}


def pod_ports(pod: Obj) -> dict[int, int]:
    """The pod's mapping of container ports to real ones; port 0 stands for what no container declares."""
    return parse_ports((pod["metadata"].get("annotations") or {}).get(ANNOTATION, ""))


def container_port(pod: Obj, wanted: int | str, protocol: str = "TCP") -> int | None:
    """The container port that a service's or probe's port means: a number is itself, a name is looked up."""
    if isinstance(wanted, int):
        return wanted
    for container in _containers(pod):
        for port in container.get("ports") or ():
            if port.get("name") == wanted and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return None


def own_address(pod: Obj) -> str:
    """The pod's address when it has one for itself alone, so that every port is its own; else empty."""
    address = str((pod.get("status") or {}).get("podIP") or "")
    return "" if address in (LOOPBACK, NOWHERE) else address


def real_port(pod: Obj, wanted: int | str, ports: Mapping[int, int] | None = None) -> int | None:
    """The port on this machine where the pod answers for ``wanted``, or None when nothing does.

    A number that no container declares is what the first container listens on: declaring ports is optional in
    Kubernetes, and the process can only listen on the port that it was given.
    """
    known = pod_ports(pod) if ports is None else ports
    number = container_port(pod, wanted)
    if number is None or own_address(pod):
        return number
    declared = {int(port["containerPort"]) for each in _containers(pod) for port in each.get("ports") or ()}
    return known.get(number if number in declared else 0)


def _containers(pod: Obj) -> list[dict[str, Any]]:
    restartable = [each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always"]
    return [*pod["spec"]["containers"], *restartable]


class PortPool:
    """Gives out ports that nobody else listens on."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def reserve(self) -> int:
        """A free port, kept until `release`; raises OSError when there is none."""
        for port in random.sample(_RANGE, len(_RANGE)):
            if port not in self._taken and _free(port):
                self._taken.add(port)
                return port
        raise OSError("no free port between 20000 and 29999")

    def release(self, ports: Iterable[int]) -> None:
        """Give ports back."""
        self._taken.difference_update(ports)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
