"""Ports of this machine: whether one is free, and who has it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from lab.errors import MachineError


def require_free(host: str, key: str, port: int) -> None:
    """Make sure that nobody listens on a port of the lab; ``key`` is its name below ``ports`` in lab.yaml.

    Raises:
        MachineError: the port is taken; names the process that has it, where this user may see it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise MachineError(
                "LAB-PORT-01",
                f"Port {port} is in use.",
                evidence=_port_owner(port) or str(error),
                hint=f"End that program, or set ports.{key} in lab.yaml (LAB_PORTS_{key.upper()}) to a free port.",
            ) from None


def _port_owner(port: int) -> str:
    """Which process listens on a TCP port, as far as /proc lets this user see it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                parts = line.split()
                if parts[3] == "0A" and int(parts[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{parts[9]}]")
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        with contextlib.suppress(OSError):
            if str(link.readlink()) in inodes:
                pid = link.parts[2]
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                return f"process {pid} has it: {command.strip()[:120]}"
    return "a process of another user, or of another namespace, has it" if inodes else ""
