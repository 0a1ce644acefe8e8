"""The lab's network: one user-defined bridge that GitLab, runner, jobs and nodes share.

Its subnet is chosen once and remembered. Docker hands out addresses from the upper half; GitLab has a fixed one in the
lower half, so that a restart cannot give it to somebody else (contracts E.4, I).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.engines.base import LogSource
from lab.engines.docker.site import Site
from lab.errors import MachineError
from lab.model import Check
from lab.plan import Needed, Probe, Satisfied, Step, StepContext

Net = ipaddress.IPv4Network
_FACT = "network"
_CANDIDATES = (*(f"172.{number}.0.0/16" for number in range(31, 17, -1)), "10.201.0.0/16", "192.168.0.0/16")
_CLUSTER = (Net("10.42.0.0/16"), Net("10.43.0.0/16"))
"""k3s's pods and services (contracts E.6)."""
_GITLAB = 10
"""GitLab's place in the subnet."""
_ROUTES = "/proc/net/route"


class Network:
    """The bridge, its subnet, and GitLab's address in it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def steps(self) -> Sequence[Step]:
        """One step: the network exists with the subnet that is remembered."""
        name = self._site.names.network
        return [
            Step(
                "network",
                f"Network {name}",
                self._probe,
                self._act,
                explain=f"docker network create --subnet 172.31.0.0/24 --ip-range 172.31.0.128/25 {name}",
            )
        ]

    @property
    def subnet(self) -> Net:
        """The subnet; decided when first asked for, and remembered."""
        found = self._remembered()
        if found is None:
            found = self._existing() or free(self._taken())
            self._site.state.put_fact(_FACT, {"subnet": str(found)})
        return found

    @property
    def gateway(self) -> str:
        """The host's address in the network."""
        return str(self.subnet[1])

    @property
    def gitlab(self) -> str:
        """GitLab's address."""
        return str(self.subnet[_GITLAB])

    def health(self) -> Sequence[Check]:
        """Whether it is there."""
        there = self._site.ours("networks", self._site.names.network)
        seen = str(self._existing() or "") if there else "it does not exist"
        return [Check("engine.network", "Network", there is not None, seen, "invoke up")]

    def stop(self) -> str:
        """A network does not run."""
        return ""

    def down(self) -> str:
        """Remove it, with whatever containers of jobs still hang on it."""
        network = self._site.ours("networks", self._site.names.network)
        if network is None:
            return ""
        with self._site.daemon.asking(f"remove network {network.name}"):
            network.remove()
        self._site.state.put_fact(_FACT, None)
        return f"network {network.name}"

    def purge(self) -> str:
        """It holds no data."""
        return ""

    def logs(self) -> Mapping[str, LogSource]:
        """It has none."""
        return {}

    def _probe(self, _context: StepContext) -> Probe:
        found = self._existing()
        if found is None:
            return Needed("it does not exist")
        if self._remembered() not in (None, found):
            return Needed(f"it has subnet {found}, {self._remembered()} is remembered")
        return Satisfied(str(found))

    def _act(self, _context: StepContext) -> str:
        existing = self._existing()
        if existing is not None:  # what is remembered is wrong: containers live by the network that is there
            self._site.state.put_fact(_FACT, {"subnet": str(existing)})
            return f"taken as it is, {existing}"
        subnet, types = self.subnet, self._site.daemon.types
        pool = types.IPAMPool(
            subnet=str(subnet), iprange=str(list(subnet.subnets())[1]), gateway=str(subnet[1])
        )  # the first half is for fixed addresses
        with self._site.daemon.asking(f"create network {self._site.names.network} ({subnet})"):
            self._site.daemon.client.networks.create(
                self._site.names.network, driver="bridge", labels=self._site.labels,
                ipam=types.IPAMConfig(pool_configs=[pool]),
            )  # fmt: skip
        return f"subnet {subnet}"

    def _remembered(self) -> Net | None:
        text = (self._site.state.fact(_FACT) or {}).get("subnet")
        return Net(text) if text else None

    def _existing(self) -> Net | None:
        network = self._site.ours("networks", self._site.names.network)
        return next(iter(_subnets(network.attrs)), None) if network is not None else None

    def _taken(self) -> list[Net]:
        with self._site.daemon.asking("list networks"):
            networks = self._site.daemon.client.networks.list()
        return [subnet for network in networks for subnet in _subnets(network.attrs)] + list(_routes())


def free(taken: Iterable[Net]) -> Net:
    """The first /24 that overlaps nothing.

    Raises:
        MachineError: every candidate overlaps a network or a route of this machine.
    """
    used = [*taken, *_CLUSTER]
    for candidate in _CANDIDATES:
        for subnet in Net(candidate).subnets(new_prefix=24):
            if not any(subnet.overlaps(other) for other in used):
                return subnet
    raise MachineError(
        "LAB-NET-01",
        "No subnet is free for the lab's network.",
        evidence="Docker's networks and this machine's routes (a VPN?) cover every candidate.",
        hint="docker network prune, or leave the VPN, then run the same again.",
    )


def _subnets(attributes: Mapping[str, Any]) -> Iterator[Net]:
    for pool in (attributes.get("IPAM") or {}).get("Config") or ():
        if ":" not in pool.get("Subnet", ":"):
            yield Net(pool["Subnet"])


def _routes() -> Iterator[Net]:
    """The machine's own routes, a VPN's among them; the default route is left out."""
    for line in _lines():
        words = line.split()
        if len(words) > 7 and words[7] != "00000000":
            yield Net((_address(words[1]), _address(words[7])), strict=False)


def _lines() -> list[str]:
    try:
        return Path(_ROUTES).read_text().splitlines()[1:]
    except OSError:  # no such file: not Linux's /proc; Docker itself refuses an overlap then
        return []


def _address(hexadecimal: str) -> str:
    """An IPv4 address as /proc/net/route has it: hexadecimal, in the machine's byte order."""
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(hexadecimal)))
