"""Ports of this machine: whether one is free, and who has it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.errors import MachineError

_LISTENING = "0A"


class Files(Protocol):
    """How /proc is read; what may not be read counts as absent."""

    def read(self, path: str) -> str | None:
        """A file's text, or None."""

    def names(self, path: str) -> list[str]:
        """The entries of a folder; none when it cannot be listed."""

    def link(self, path: str) -> str | None:
        """Where a symbolic link points, or None."""


class HostFiles:
    """The files of this machine."""

    def read(self, path: str) -> str | None:
        """A file's text, or None."""
        try:
            return Path(path).read_text(errors="replace")
        except OSError:
            return None

    def names(self, path: str) -> list[str]:
        """The entries of a folder; none when it cannot be listed."""
        try:
            return sorted(os.listdir(path))  # noqa: PTH208 - names are wanted, and a thousand Paths cost time
        except OSError:
            return []

    def link(self, path: str) -> str | None:
        """Where a symbolic link points, or None."""
        with contextlib.suppress(OSError):
            return os.readlink(path)  # noqa: PTH115 - as in `names`
        return None


@dataclass(frozen=True)
class Owner:
    """A process that listens on a port."""

    pid: int | None
    """None when this user may not see which process it is."""
    command: str = ""

    def __str__(self) -> str:
        if self.pid is None:
            return "a process of another user, or of another namespace, has it"
        return f"process {self.pid} has it: {self.command[:120]}"


def owners(ports: Collection[int], files: Files, *, likely: int | None = None) -> dict[int, Owner]:
    """Who listens on each of the ports, as far as /proc lets this user see it; a free port is missing.

    Args:
        ports: looked for in one pass.
        files: how /proc is read.
        likely: the process to look at first; the pass ends when every owner is found.
    """
    wanted = dict(_sockets(ports, files))
    found = {port: Owner(None) for port in wanted.values()}
    for pid in (str(likely), *files.names("/proc")) if wanted else ():
        if not pid.isdigit():
            continue
        for handle in files.names(f"/proc/{pid}/fd"):
            port = wanted.get(files.link(f"/proc/{pid}/fd/{handle}") or "")
            if port is not None and found[port].pid is None:
                found[port] = Owner(int(pid), _printable(files.read(f"/proc/{pid}/cmdline") or ""))
        if all(owner.pid for owner in found.values()):
            break
    return found


def _printable(command: str) -> str:
    """A command line on one line, without whatever would move a terminal's cursor."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in command).split())


def _sockets(ports: Collection[int], files: Files) -> Iterator[tuple[str, int]]:
    """``socket:[inode]`` as a process's handles name it, and its port, for every listener."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (files.read(table) or "").splitlines()[1:]:
            parts = line.split()
            port = int(parts[1].rpartition(":")[2], 16)
            if parts[3] == _LISTENING and port in ports:
                yield f"socket:[{parts[9]}]", port


def refusal(host: str, port: int) -> OSError | None:
    """Why nobody could listen on a port right now, or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def require_free(host: str, key: str, port: int) -> None:
    """Make sure that nobody listens on a port of the lab; ``key`` is its name below ``ports`` in lab.yaml.

    Raises:
        MachineError: the port is taken; names the process that has it, where this user may see it.
    """
    error = refusal(host, port)
    if error:
        raise MachineError(
            "LAB-PORT-01",
            f"Port {port} is in use.",
            evidence=str(owners([port], HostFiles()).get(port, error)),
            hint=f"End that program, or set ports.{key} in lab.yaml (LAB_PORTS_{key.upper()}) to a free port.",
        )
