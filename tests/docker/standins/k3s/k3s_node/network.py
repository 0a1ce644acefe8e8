"""The pods' network: a bridge with an address and a network namespace for each pod, and rules for cluster IPs."""

from __future__ import annotations

import asyncio
import ipaddress
import subprocess
from pathlib import Path

from k3s_node.speech import say

PODS = ipaddress.ip_network("10.42.0.0/24")
GATEWAY = str(PODS[1])
BRIDGE = "cni0"
_CHAIN = "KUBE-SERVICES"


def _run(*argv: str, given: str | None = None) -> None:
    done = subprocess.run(argv, input=given, text=True, capture_output=True, check=False, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")


class Network:
    """Made once when the node starts; nothing of it survives a restart of the container."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._last = 1
        self._making: dict[str, asyncio.Task[None]] = {}
        self._rules: set[tuple[str, int, int, str]] = set()

    def start(self) -> None:
        """Make the bridge and the chains; raises OSError."""
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        _run("ip", "-batch", "-", given=(
            f"link add {BRIDGE} type bridge\naddr add {GATEWAY}/24 dev {BRIDGE}\nlink set {BRIDGE} up\n"
        ))  # fmt: skip
        nat = ("iptables", "-w", "-t", "nat")
        _run(*nat, "-N", _CHAIN)
        for hook in ("PREROUTING", "OUTPUT"):
            _run(*nat, "-I", hook, "1", "-j", _CHAIN)
        _run(*nat, "-A", "POSTROUTING", "-s", str(PODS), "!", "-d", "10.42.0.0/16", "-j", "MASQUERADE")

    def publish(self, address: str, port: int, number: int, protocol: str = "tcp") -> None:
        """Lead ``address:port`` to the gateway's port ``number``; nothing happens when it does already."""
        rule = (address, port, number, protocol)
        if rule not in self._rules:
            self._rules.add(rule)
            _run(*_translation("-A", *rule))

    def withdraw(self, address: str, port: int, number: int, protocol: str = "tcp") -> None:
        """Undo `publish`."""
        rule = (address, port, number, protocol)
        if rule in self._rules:
            self._rules.discard(rule)
            _run(*_translation("-D", *rule))

    async def attach(self, uid: str, hostname: str) -> str:
        """Make the pod's namespaces; returns its address. Cancelled in the middle, it goes on until they are whole."""
        number = self._taken[uid] = self._free()
        address = str(PODS[number])
        making = self._making[uid] = asyncio.create_task(asyncio.to_thread(self._attach, number, address, hostname))
        await asyncio.shield(making)
        return address

    def _free(self) -> int:
        """The next number in turn: to one just given back, the node's neighbour table still has the old pod's MAC."""
        used = set(self._taken.values())
        in_turn = (*range(self._last + 1, 255), *range(2, self._last + 1))
        self._last = next(each for each in in_turn if each not in used)
        return self._last

    def _attach(self, number: int, address: str, hostname: str) -> None:
        space, outside = _space(number), f"veth{number}"
        _run("ip", "-batch", "-", given=(
            f"netns add {space}\nlink add {outside} type veth peer name eth0 netns {space}\n"
            f"link set {outside} master {BRIDGE}\nlink set {outside} up\n"
        ))  # fmt: skip
        _run("ip", "-n", space, "-batch", "-", given=(
            f"addr add {address}/24 dev eth0\nlink set lo up\nlink set eth0 up\nroute add default via {GATEWAY}\n"
        ))  # fmt: skip
        names = _names(number)
        names.parent.mkdir(exist_ok=True)
        names.touch()
        _run("unshare", f"--uts={names}", "busybox", "hostname", hostname[:63])

    def entrance(self, uid: str) -> tuple[str, ...]:
        """nsenter's options for the pod's namespaces."""
        number = self._taken[uid]
        return f"--net=/run/netns/{_space(number)}", f"--uts={_names(number)}"

    def detach(self, uid: str) -> None:
        """Remove the pod's namespaces as soon as they are whole; nothing happens when it has none."""
        making = self._making.pop(uid, None)
        if making is not None:
            making.add_done_callback(lambda _: self._detach(uid))

    def _detach(self, uid: str) -> None:
        number = self._taken[uid]
        try:
            _run("ip", "-batch", "-", given=f"link del veth{number}\nnetns del {_space(number)}\n")
            _run("umount", str(_names(number)))
            _names(number).unlink()
            del self._taken[uid]  # else nobody else gets the number
        except OSError as error:
            say(f"failed to remove the namespaces of pod {uid}: {error}", "error")


def _space(number: int) -> str:
    return f"pod{number}"


def _names(number: int) -> Path:
    """The file that stands for a pod's host name."""
    return Path(f"/run/utsns/{_space(number)}")


def _translation(verb: str, address: str, port: int, number: int, protocol: str) -> list[str]:
    match = ["-d", f"{address}/32", "-p", protocol, "--dport", str(port)]
    return [
        "iptables",
        "-w",
        "-t",
        "nat",
        verb,
        _CHAIN,
        *match,
        "-j",
        "DNAT",
        "--to-destination",
        f"{GATEWAY}:{number}",
    ]
