"""What several checks need to know of a machine, found out once."""

from __future__ import annotations

import ipaddress
import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lab.doctor.machine import Machine, Reply
from lab.engines.docker.address import resolve
from lab.engines.docker.site import LABEL
from lab.engines.ports import Owner, owners
from lab.settings import Settings

GIB = 1024**3
_PATIENCE = 2.0
"""Seconds for all questions to the engine together."""

Net = ipaddress.IPv4Network


@dataclass(frozen=True)
class Docker:
    """A Docker engine's own account of itself; empty documents when it does not answer."""

    address: str
    failure: str = ""
    """Why it does not answer; empty when it does."""
    version: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    networks: tuple[Mapping[str, Any], ...] = ()
    containers: tuple[Mapping[str, Any], ...] = ()

    @property
    def desktop(self) -> bool:
        """Docker Desktop: the engine runs in a virtual machine of its own."""
        return self.info.get("OperatingSystem") == "Docker Desktop"

    @property
    def rootless(self) -> bool:
        """The engine runs as an ordinary user."""
        return any("name=rootless" in option for option in self.info.get("SecurityOptions") or ())


@dataclass(frozen=True)
class Route:
    """A line of the machine's routing table, without the default route."""

    interface: str
    network: Net


class View:
    """A machine as seen for one engine.

    Args:
        machine: the door to it.
        settings: the lab's settings.
        engine: ``docker`` or ``embedded``; None lets Docker's answer decide, as `up --engine auto` does.
    """

    def __init__(self, machine: Machine, settings: Settings, engine: str | None) -> None:
        self.machine = machine
        self.settings = settings
        self._asking, self._looking = threading.Lock(), threading.Lock()
        self._docker: Docker | None = None
        self._listeners: dict[int, Owner] | None = None
        self.engine = engine or self._automatic()

    def _automatic(self) -> str:
        """A socket without permission is an engine to be mended, not an absent one."""
        return "docker" if not self.docker.failure or "ermission" in self.docker.failure else "embedded"

    @property
    def docker(self) -> Docker:
        """The engine's answers; asked once, whichever check comes first."""
        with self._asking:
            if self._docker is None:
                self._docker = _ask(self.machine)
            return self._docker

    @property
    def listeners(self) -> dict[int, Owner]:
        """Who has the lab's ports; looked up once, for all of them."""
        with self._looking:
            if self._listeners is None:
                ports = vars(self.settings.ports).values()
                self._listeners = owners(ports, self.machine, likely=self.alive("embedded/lock"))
            return self._listeners

    def emulator_ports(self) -> set[int]:
        """The ports that the emulator of this lab was started with.

        With thousands of connections the kernel takes 50 ms to print /proc/net/tcp; an `up` on a lab that runs need
        not wait for that.
        """
        with suppress(ValueError, AttributeError):
            written = json.loads(self.read(f"{self.state_folder}/embedded.json") or "{}")
            return {value for name, value in written.items() if name.endswith("_port")}
        return set()

    def alive(self, lock: str) -> int | None:
        """The living process of this lab that wrote its number into a lock file of .lab/, or None."""
        pid = self.read(f"{self.state_folder}/{lock}").strip()
        command = self.read(f"/proc/{pid}/cmdline") if pid.isdigit() else ""
        return int(pid) if "lab" in command or "invoke" in command else None

    @property
    def wsl(self) -> int:
        """1 or 2 inside the Windows Subsystem for Linux, else 0."""
        kernel = self.read("/proc/version")
        if "WSL2" in kernel or "microsoft-standard" in kernel:
            return 2
        return 1 if "Microsoft" in kernel else 0

    @property
    def state_folder(self) -> str:
        """The folder .lab/."""
        return f"{self.machine.home}/.lab"

    def read(self, path: str) -> str:
        """A file's text; empty when there is none."""
        return self.machine.read(path) or ""

    def run(self, *argv: str, timeout: float = 0.8) -> str | None:
        """What a program printed when it succeeded, else None."""
        said = self.machine.run(argv, timeout)
        return said.text if said and said.code == 0 else None

    def memory(self) -> dict[str, int]:
        """/proc/meminfo in bytes."""
        lines = re.findall(r"^(\w+):\s+(\d+) kB$", self.read("/proc/meminfo"), re.MULTILINE)
        return {name: int(value) * 1024 for name, value in lines}

    def mount(self, path: str) -> str:
        """Type of the file system that a path lies on."""
        found = [line.split() for line in self.read("/proc/mounts").splitlines()]
        below = [(parts[1], parts[2]) for parts in found if len(parts) > 2 and _within(path, parts[1])]
        return max(below, key=lambda pair: len(pair[0]))[1] if below else ""

    def routes(self) -> list[Route]:
        """The routing table without default routes."""
        found = []
        for line in self.read("/proc/net/route").splitlines()[1:]:
            parts = line.split()
            if len(parts) > 7 and parts[7] != "00000000":
                found.append(Route(parts[0], Net((_address(parts[1]), _address(parts[7])))))
        return found

    def engine_networks(self) -> list[tuple[str, Net]]:
        """Docker's networks with their subnets."""
        found = []
        for network in self.docker.networks:
            for pool in (network.get("IPAM") or {}).get("Config") or ():
                with suppress(ValueError):
                    found.append((str(network["Name"]), Net(pool.get("Subnet", ""))))
        return found

    def ours(self, container: Mapping[str, Any]) -> bool:
        """Whether a container belongs to this lab: it carries our label, or is a node of our cluster."""
        labels, name = container.get("Labels") or {}, self.settings.name
        return labels.get(LABEL) == name or labels.get("k3d.cluster") == name

    def variable(self, name: str) -> str:
        """A variable that is written in small or in capital letters (http_proxy, HTTP_PROXY)."""
        return self.machine.environ.get(name.lower()) or self.machine.environ.get(name.upper()) or ""


def megabytes(size: float) -> str:
    """A size for people: ``3.8 GiB``, ``412 MiB``."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 1024**2:.0f} MiB"


def masked(url: str) -> str:
    """A URL without the user and password in it."""
    return re.sub(r"(?<=://)[^/@]*@|^[^/@]*@", "***@", url)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _address(hexadecimal: str) -> str:
    """An IPv4 address as /proc/net/route has it: hexadecimal, in the machine's byte order."""
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(hexadecimal)))


def _ask(machine: Machine) -> Docker:
    """Ask the engine what it is and what it has, all within `_PATIENCE`."""
    address = resolve(machine.environ, machine.facts.home, lambda path: machine.read(path) or "")
    end = time.monotonic() + _PATIENCE

    def ask(path: str) -> Reply | str:
        return machine.engine(address, path, max(0.05, end - time.monotonic()))

    first = ask("/version")
    if isinstance(first, str) or first.status != 200:
        return Docker(address, first if isinstance(first, str) else f"HTTP {first.status}")
    return Docker(
        address,
        version=_document(first) or {},
        info=_document(ask("/info")) or {},
        networks=tuple(_document(ask("/networks")) or ()),
        containers=tuple(_document(ask("/containers/json?all=1")) or ()),
    )


def _document(reply: Reply | str) -> Any:
    with suppress(ValueError):
        if isinstance(reply, Reply) and reply.status == 200:
            return json.loads(reply.body)
    return None
