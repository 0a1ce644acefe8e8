"""What a node is made of: its record, its pods' addresses, and how a container's process is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lab.emulator.images import Image
from lab.emulator.workloads.ports import LOOPBACK

if TYPE_CHECKING:
    from lab.emulator.workloads.pod import Pod


@dataclass(frozen=True)
class Machine:
    """The node as its record shows it."""

    name: str = "lab"
    address: str = LOOPBACK
    version: str = "v1.33.0+lab"
    """Of the kubelet."""
    system: str = "emulated node (processes, no containers)"
    runtime: str = "lab://0.1.0"


class Layout(Protocol):
    """A container that is ready to run, as a command of this machine."""

    argv: list[str]
    folder: Path
    env: dict[str, str]
    missing: str
    """Name of the program when it cannot be found, else empty."""

    def command(self, argv: list[str]) -> list[str] | None:
        """What to run on this machine for ``argv`` in the container; None when there is no such program."""

    def close(self) -> None:
        """Let go of what the container held; the process has ended."""


class Platform(Protocol):
    """Runs the node's pods."""

    machine: Machine
    system: Mapping[str, str]
    """Workloads of kube-system that the emulator makes, each with its image: it does their work itself."""

    def serves_ingress(self) -> bool:
        """Whether the ingress controller is there; until then connections to it are reset."""

    def simulates(self, image: str) -> bool:
        """Whether no process runs for containers of ``image``."""

    def ignored(self, spec: dict[str, Any]) -> list[str]:
        """The settings of a pod's spec that have no effect here, by name."""

    async def admit(self, pod: Pod) -> str:
        """Give the pod an address and its ``ports``; raises OSError when there are none left."""

    def release(self, pod: Pod) -> None:
        """Take the address back; the pod has ended."""

    def variables(self, pod: Pod, spec: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
        """A container's environment: what services, image and pod give, and what the platform adds."""

    async def lay_out(
        self, pod: Pod, spec: Mapping[str, Any], image: Image, argv: list[str], variables: dict[str, str]
    ) -> Layout:
        """Lay out the container's files; raises OSError when that fails, ConfigError for what the spec lacks."""

    def publish(self, address: str, port: int, forward: int) -> tuple[str, int]:
        """Where pods reach the service port ``address:port`` that is served at ``forward`` of `inside`."""

    def withdraw(self, address: str, port: int, forward: int) -> None:
        """Undo `publish`."""

    @property
    def inside(self) -> str:
        """The address of this machine that only pods reach."""
