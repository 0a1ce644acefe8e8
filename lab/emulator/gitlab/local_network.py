"""Whether GitLab may send a request to an address: the rules against requests to the local network (contracts B.4)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from lab.emulator.gitlab.settings import Settings, allowlist

Address = IPv4Address | IPv6Address
_LOCALHOST = {"127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - compared with, not bound


class BlockedError(Exception):
    """GitLab refuses to send there; the text is the reason in its words."""


class UrlBlocker:
    """Judges the targets of webhooks."""

    def __init__(self, settings: Settings, external_url: str) -> None:
        self._settings = settings
        self._own = urlsplit(external_url)

    async def check(self, url: str, *, must_resolve: bool) -> None:
        """Raise `BlockedError` unless a hook may go to ``url``.

        ``must_resolve`` is for sending: at creation a name that does not resolve passes.
        """
        parts = _split(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        entries = allowlist(self._settings.get("outbound_local_requests_allowlist_raw"))
        if _name_allowed(host, port, entries):
            return
        addresses = await _resolve(host, port)
        if not addresses:
            if self._settings.get("deny_all_requests_except_allowed") or (
                must_resolve and self._settings.get("dns_rebinding_protection_enabled")
            ):
                raise BlockedError("Host cannot be resolved or invalid")
            return
        if any(_address_allowed(address, port, entries) for address in addresses) or self._is_own(parts, port):
            return
        if self._settings.get("deny_all_requests_except_allowed"):
            raise BlockedError("Requests to hosts and IP addresses not on the Allow List are denied")
        if not self._settings.get("allow_local_requests_from_web_hooks_and_services"):
            for address in addresses:
                _refuse_local(address)

    def _is_own(self, parts: SplitResult, port: int) -> bool:
        own_port = self._own.port or (443 if self._own.scheme == "https" else 80)
        return (parts.scheme, parts.hostname, port) == (self._own.scheme, self._own.hostname, own_port)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        raise BlockedError("URI is invalid") from None
    if parts.scheme not in {"http", "https"}:
        raise BlockedError("Only allowed schemes are http, https")
    if not valid or any(char.isspace() for char in url):
        raise BlockedError("URI is invalid")
    return parts


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        found: list[Any] = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(entry[4][0].partition("%")[0]) for entry in found]


def _entry(text: str) -> tuple[str, int | None]:
    """Host (or address, or network) and port of an allowlist entry."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
        return host.rstrip("]"), int(port) if port.isdigit() else None
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and ":" not in host:
        return host, int(port)
    return text, None


def _name_allowed(host: str, port: int, entries: list[str]) -> bool:
    for name, wanted in map(_entry, entries):
        if name.lower() == host.lower() and wanted in {None, port} and not _network(name):
            return True
    return False


def _address_allowed(address: Address, port: int, entries: list[str]) -> bool:
    for text, wanted in map(_entry, entries):
        network = _network(text)
        if network and network.version == address.version and address in network and wanted in {None, port}:
            return True
    return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _refuse_local(address: Address) -> None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if str(address) in _LOCALHOST:
        raise BlockedError("Requests to localhost are not allowed")
    if address.is_loopback:
        raise BlockedError("Requests to loopback addresses are not allowed")
    if address.is_link_local:
        raise BlockedError("Requests to the link local network are not allowed")
    if address.is_private:
        raise BlockedError("Requests to the local network are not allowed")
