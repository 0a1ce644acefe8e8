"""The emulator's own platform: containers are processes of the user's account, and share the machine's network."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.emulator.images import Image
from lab.emulator.workloads import volumes
from lab.emulator.workloads.environment import port_variables
from lab.emulator.workloads.images import is_simulated
from lab.emulator.workloads.platform import Machine
from lab.emulator.workloads.ports import LOOPBACK, NOWHERE, PortPool
from lab.emulator.workloads.rootfs import Mount, build, find_program, inside, present, search_path, translate
from lab.emulator.workloads.system import IMAGES
from lab.emulator.workloads.unenforced import unenforced

if TYPE_CHECKING:
    from lab.emulator.workloads.pod import Pod


@dataclass
class Process:
    """A container as a plain process: absolute paths are translated into its copy of the image's files."""

    argv: list[str]
    folder: Path
    env: dict[str, str]
    missing: str

    def command(self, argv: list[str]) -> list[str] | None:
        """``argv`` with its program looked up in the container's path."""
        program = find_program(argv[0], self.env["PATH"], self.folder) if argv else None
        return [program, *argv[1:]] if program else None

    def close(self) -> None:
        """Nothing is held beyond the files, which go with the pod."""


class Processes:
    """Runs pods without any privilege. Images from elsewhere than ``registry`` are only simulated."""

    inside = LOOPBACK
    system: Mapping[str, str] = IMAGES

    def __init__(self, registry: str, ports: PortPool) -> None:
        self.machine = Machine()
        self._registry = registry
        self._ports = ports

    def serves_ingress(self) -> bool:
        """It is part of the emulator."""
        return True

    def simulates(self, image: str) -> bool:
        """Whether the image comes from elsewhere than the lab's registry."""
        return is_simulated(image, self._registry)

    def ignored(self, spec: dict[str, Any]) -> list[str]:
        """What a plain process cannot be given."""
        return unenforced(spec)

    async def admit(self, pod: Pod) -> str:
        """Reserve a port of this machine for each container port."""
        for container in pod.real():
            for port in container.spec.get("ports") or ():
                pod.ports[int(port["containerPort"])] = self._ports.reserve()
        first = pod.spec["containers"][0]
        if not self.simulates(first["image"]):
            declared = first.get("ports") or ()
            pod.ports[0] = pod.ports[int(declared[0]["containerPort"])] if declared else self._ports.reserve()
        return NOWHERE if all(self.simulates(each["image"]) for each in pod.spec["containers"]) else LOOPBACK

    def release(self, pod: Pod) -> None:
        """Give the ports back."""
        self._ports.release(pod.ports.values())

    def variables(self, pod: Pod, spec: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
        """Where to listen comes last, because every container shares one network."""
        listen = port_variables(spec, pod.container_ports(spec))
        return {"HOST": LOOPBACK, "PYTHONUNBUFFERED": "1", **given, **listen}

    async def lay_out(
        self, pod: Pod, spec: Mapping[str, Any], image: Image, argv: list[str], variables: dict[str, str]
    ) -> Process:
        """Copy the image's files, link the volumes in, and translate the command."""
        mounted = volumes.mounts(spec, pod.places, variables)
        view = pod.folder / "rootfs" / spec["name"]
        await asyncio.to_thread(build, image.rootfs, view, mounted)
        folder = inside(view, spec.get("workingDir") or image.config.get("WorkingDir") or "/")
        folder.mkdir(parents=True, exist_ok=True)
        env = {key: translate(view, mounted, value) for key, value in variables.items() if key != "PATH"}
        emptied = image.base is not None
        env["PATH"] = search_path(view, pod.node.tools, variables.get("PATH", ""), emptied=emptied)
        located, missing = _located(argv, view, mounted, folder, env["PATH"], emptied=emptied)
        return Process(located, folder, {**_surroundings(pod, view), **env}, missing)

    def publish(self, address: str, port: int, forward: int) -> tuple[str, int]:
        """Cluster IPs lead nowhere here: pods are told the listener itself."""
        del address, port
        return LOOPBACK, forward

    def withdraw(self, address: str, port: int, forward: int) -> None:
        """Nothing was published."""


def _surroundings(pod: Pod, view: Path) -> dict[str, str]:
    """What a process finds in any container."""
    return {
        "HOME": str(view / "root" if (view / "root").is_dir() else view),
        "TMPDIR": str(view / "tmp"),
        "HOSTNAME": str(pod.spec.get("hostname") or pod.name),
        "LANG": "C.UTF-8",
    }


def _located(
    argv: Sequence[str], view: Path, mounted: Sequence[Mount], folder: Path, path: str, *, emptied: bool
) -> tuple[list[str], str]:
    """The command with real paths, and the program's name when there is no such program.

    An image with an emptied base has lost its tools; a program that it names by path is taken from the machine.
    """
    arguments = [translate(view, mounted, each) for each in argv[1:]]
    name = argv[0]
    own = present(view, mounted, name)
    if own is not None and own.is_file():
        found = str(own) if os.access(own, os.X_OK) else None
    else:
        found = find_program(name, path, folder)
        if found is None and emptied and name.startswith("/"):
            found = shutil.which(Path(name).name, path=path)
    return ([found, *arguments], "") if found else ([name, *arguments], name)
