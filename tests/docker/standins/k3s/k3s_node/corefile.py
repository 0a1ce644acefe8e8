"""The part of CoreDNS' configuration that the node understands: ``hosts`` and ``forward`` in server blocks.

Source: coredns plugin/hosts, plugin/forward. What it does not understand is an error, as an unknown plugin is there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

_PLAIN = {
    "errors",
    "log",
    "cache",
    "reload",
    "loop",
    "loadbalance",
    "health",
    "ready",
    "prometheus",
    "ttl",
    "fallthrough",
}


class CorefileError(ValueError):
    """CoreDNS would not start with this; the message is its own."""


@dataclass
class Block:
    """One server block for one zone (without the last dot; empty is the root)."""

    zone: str
    hosts: dict[str, str] | None = None
    """Name -> address; None without the plugin."""
    fallthrough: bool = False
    forward: list[str] = field(default_factory=list)
    """Addresses of other servers, or ``/etc/resolv.conf``."""

    def covers(self, name: str) -> bool:
        """Whether a query for ``name`` belongs to the zone."""
        return not self.zone or name == self.zone or name.endswith("." + self.zone)


def custom(data: Mapping[str, str]) -> list[Block]:
    """The blocks of the ConfigMap coredns-custom; raises CorefileError.

    ``*.server`` files hold whole blocks; ``*.override`` files are put into the block ``.:53``, which has ``hosts`` and
    ``forward`` already.
    """
    found: list[Block] = []
    root = Block("", hosts={}, forward=["/etc/resolv.conf"])
    for key, text in sorted(data.items()):
        if key.endswith(".override"):
            _directives(_lines(text), root, key)
        elif key.endswith(".server"):
            found += _blocks(_lines(text), key)
    zones = [each.zone for each in found]
    if len(set(zones)) < len(zones) or "" in zones:
        zone = next(each for each in zones if zones.count(each) > 1 or not each)
        raise CorefileError(f"cannot serve dns://{zone}.:53 - it is already defined")
    return found


def hosts(text: str) -> dict[str, str]:
    """Name -> address of a hosts file."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            found.setdefault(name.lower().rstrip("."), address)
    return found


def _lines(text: str) -> Iterator[list[str]]:
    """Words line by line; a brace at a line's end or alone is a word of its own."""
    for line in text.splitlines():
        words = line.partition("#")[0].replace("{", " { ").replace("}", " } ").split()
        if words:
            yield words


def _blocks(lines: Iterator[list[str]], key: str) -> Iterator[Block]:
    for words in lines:
        if words[-1] != "{":
            raise CorefileError(f"{key}: Error during parsing: Unknown directive '{words[0]}'")
        body = Block("")
        _directives(lines, body, key)
        for address in words[:-1]:
            zone = address.rstrip(",").removeprefix("dns://").partition(":")[0].rstrip(".").lower()
            yield replace(body, zone=zone)


def _directives(lines: Iterator[list[str]], block: Block, key: str) -> None:
    for words in lines:
        if words == ["}"]:
            return
        name, rest = words[0], words[1:]
        if name == "hosts":
            if block.hosts is not None:
                raise CorefileError("plugin/hosts: this plugin can only be used once per Server Block")
            block.hosts, block.fallthrough = _inline(lines) if rest[-1:] == ["{"] else ({}, False)
        elif name == "forward":
            if rest[-1:] == ["{"]:
                rest = rest[:-1]
                _skip(lines)
            if len(rest) < 2:
                raise CorefileError("plugin/forward: Wrong argument count or unexpected line ending after 'forward'")
            block.forward = rest[1:]
        elif name in _PLAIN:
            if words[-1] == "{":
                _skip(lines)
        else:
            raise CorefileError(f"{key}: Error during parsing: Unknown directive '{name}'")


def _inline(lines: Iterator[list[str]]) -> tuple[dict[str, str], bool]:
    found: dict[str, str] = {}
    fallthrough = False
    for words in lines:
        if words == ["}"]:
            break
        if words[0] == "fallthrough":
            fallthrough = True
        elif words[0] not in ("ttl", "reload", "no_reverse"):
            try:
                ipaddress.ip_address(words[0])
            except ValueError:
                raise CorefileError(f"plugin/hosts: unknown property {words[0]!r}") from None
            found.update({each.lower().rstrip("."): words[0] for each in words[1:]})
    return found, fallthrough


def _skip(lines: Iterator[list[str]]) -> None:
    for words in lines:
        if words == ["}"]:
            return
