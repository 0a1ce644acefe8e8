"""Free ports for tests that must know a port before something listens on it."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST, _RANGE = 10_000, Path("/proc/sys/net/ipv4/ip_local_port_range")
_chance = random.SystemRandom()  # never seeded: workers that draw the same ports would meet
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, each given once by this process.

    They lie below those that the kernel gives to clients: such a port may be taken by any connection between two
    starts of a lab, and then the second start fails.
    """
    highest = int(_RANGE.read_text().split()[0]) - 1 if _RANGE.exists() else 32_767
    found: list[int] = []
    while len(found) < count:
        port = _chance.randint(_LOWEST, highest)
        if port not in _given and _free(port):
            _given.add(port)
            found.append(port)
    return found


def free_port() -> int:
    """One port on which nobody listens."""
    return free_ports(1)[0]


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
