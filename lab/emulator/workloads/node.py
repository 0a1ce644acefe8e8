"""What all pods of the one node share: the API, processes, ports, images, and the times of the profile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from lab.emulator.children import Children
from lab.emulator.config import Config
from lab.emulator.workloads.backoff import Backoff
from lab.emulator.workloads.cluster import Cluster
from lab.emulator.workloads.images import Images
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.platform import Platform

KUBELET = "kubelet"
_HASTE = 10
"""The fast profile's back-off is shorter by this factor: a class should not wait five minutes for its fix."""


@dataclass
class Node:
    """The machine as the kubelet sees it."""

    config: Config
    cluster: Cluster
    children: Children
    session: aiohttp.ClientSession
    images: Images
    platform: Platform
    service_variables: Callable[[str], dict[str, str]]
    """Namespace -> variables about its services."""
    settled: Callable[[], Awaitable[None]]
    """Waits until the controllers have seen every change so far."""

    @property
    def folder(self) -> Path:
        """Where pods have their files."""
        return self.config.data / "pods"

    @property
    def tools(self) -> Path:
        """Folder with the programs that every process finds first."""
        return self.folder / "bin"

    def backoff(self) -> Backoff:
        """A fresh back-off with the profile's times."""
        return Backoff() if self.config.upstream else Backoff(10.0 / _HASTE, 300.0 / _HASTE)

    def event(self, pod: Obj, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event about a pod or one of its containers."""
        self.cluster.store.record_event(
            pod, kind, reason, message, KUBELET, field_path=f"spec.containers{{{container}}}" if container else ""
        )
