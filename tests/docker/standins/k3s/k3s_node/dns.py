"""The cluster's DNS server, as CoreDNS with k3s' Corefile: NodeHosts, services, custom zones, the node's resolver.

Listens on the pods' gateway; the node leads 10.43.0.10:53 there. Only IPv4 addresses are known.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from k3s_node import corefile
from k3s_node.corefile import Block, CorefileError
from k3s_node.network import GATEWAY
from k3s_node.packets import A, addresses, query, question, reply
from k3s_node.speech import say
from lab.emulator.kube.store import Change, Store

_NOERROR, _SERVFAIL, _NXDOMAIN = 0, 2, 3
_CLUSTER = "svc.cluster.local"
_TIMEOUT = 2.0
Answer = tuple[int, list[str]]
"""Return code and addresses."""


class ClusterDns:
    """Answers by what the store has."""

    def __init__(self, store: Store, serves: Callable[[], bool]) -> None:
        self._store = store
        self._serves = serves
        self._custom: list[Block] = []
        self._unsubscribe: Callable[[], None] = lambda: None
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Read the custom blocks and listen; raises OSError."""
        self._unsubscribe = self._store.subscribe(self._changed)
        self._reload()
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(GATEWAY, 53))
        self._server = await asyncio.start_server(self._serve, GATEWAY, 53)

    async def stop(self) -> None:
        """Close both sockets."""
        self._unsubscribe()
        if self._transport:
            self._transport.close()
        if self._server:
            self._server.close()

    def _changed(self, change: Change) -> None:
        meta = change.object["metadata"]
        if change.resource.plural == "configmaps" and meta.get("name") == "coredns-custom":
            self._reload()

    def _reload(self) -> None:
        """Take up coredns-custom; what CoreDNS would refuse leaves the old configuration in force."""
        found = self._store.find("", "configmaps", "kube-system", "coredns-custom")
        try:
            self._custom = corefile.custom((found or {}).get("data") or {})
        except CorefileError as error:
            say(f"[ERROR] plugin/reload: Corefile changed but reload failed: {error}", "error")

    async def answer(self, packet: bytes, ask: Callable[[bytes, str], Awaitable[bytes]]) -> bytes:
        """The reply to one query; raises ValueError for what is none, and while CoreDNS has no pod that is ready."""
        if not self._serves():
            raise ValueError("no endpoint")
        name, kind, end = question(packet)
        block = max((each for each in self._custom if each.covers(name)), key=lambda each: len(each.zone), default=None)
        if block is not None:
            if block.hosts is not None and (name in block.hosts or not block.fallthrough):
                return self._static(packet, end, kind, block.hosts.get(name))
            return await self._forward(packet, end, block.forward, ask)
        known = self._node_hosts().get(name)
        if known:
            return self._static(packet, end, kind, known)
        if name.endswith((".42.10.in-addr.arpa", ".43.10.in-addr.arpa")):
            return reply(packet, end, _NXDOMAIN, [], 5)
        if name == "cluster.local" or name.endswith(".cluster.local"):
            code, addresses = self._service(name)
            return reply(packet, end, code, addresses if kind == A else [], 5)
        return await self._forward(packet, end, ["/etc/resolv.conf"], ask)

    @staticmethod
    def _static(packet: bytes, end: int, kind: int, address: str | None) -> bytes:
        if address is None:
            return reply(packet, end, _NXDOMAIN, [], 0)
        return reply(packet, end, _NOERROR, [address] if kind == A and ":" not in address else [], 60)

    def _node_hosts(self) -> dict[str, str]:
        found = self._store.find("", "configmaps", "kube-system", "coredns") or {}
        return corefile.hosts((found.get("data") or {}).get("NodeHosts") or "")

    def _service(self, name: str) -> Answer:
        """A service's cluster IP, or a headless one's ready pods."""
        if not name.endswith("." + _CLUSTER):
            return _NXDOMAIN, []
        *pod, service, namespace = name.removesuffix("." + _CLUSTER).rsplit(".", 2) if "." in name else ("", "")
        found = self._store.find("", "services", namespace, service)
        if found is None:
            return _NXDOMAIN, []
        address = found["spec"].get("clusterIP")
        if address and address != "None":
            return (_NXDOMAIN, []) if pod else (_NOERROR, [address])
        listed = self._endpoints(namespace, service)
        chosen = [each["ip"] for each in listed if not pod or each.get("hostname") == pod[0]]
        return (_NOERROR, chosen) if chosen else (_NXDOMAIN, [])

    def _endpoints(self, namespace: str, service: str) -> list[dict[str, Any]]:
        found = self._store.find("", "endpoints", namespace, service) or {}
        return [each for subset in found.get("subsets") or () for each in subset.get("addresses") or ()]

    async def _forward(
        self, packet: bytes, end: int, servers: list[str], ask: Callable[[bytes, str], Awaitable[bytes]]
    ) -> bytes:
        for server in nameservers(servers):
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                return await asyncio.wait_for(ask(packet, server), _TIMEOUT)
        return reply(packet, end, _SERVFAIL, [], 0)

    def received(self, packet: bytes, source: Any, transport: asyncio.DatagramTransport) -> None:
        """Answer a datagram in the background."""
        task = asyncio.create_task(self._respond(packet, source, transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _respond(self, packet: bytes, source: Any, transport: asyncio.DatagramTransport) -> None:
        with contextlib.suppress(ValueError, struct.error):
            transport.sendto(await self.answer(packet, ask_udp), source)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ValueError, struct.error, OSError, asyncio.IncompleteReadError):
            size = struct.unpack("!H", await reader.readexactly(2))[0]
            found = await self.answer(await reader.readexactly(size), ask_tcp)
            writer.write(struct.pack("!H", len(found)) + found)
            await writer.drain()
        writer.close()


def nameservers(servers: list[str]) -> list[str]:
    """The servers, with a resolv.conf replaced by those in it.

    A pod cannot reach the node's loopback, where Docker's DNS is without k3d's fix: k3s then takes a public server
    (pkg/agent/config, "Host resolv.conf includes loopback or multicast nameservers").
    """
    found: list[str] = []
    for each in servers:
        if each.startswith("/"):
            lines = (line.split() for line in Path(each).read_text().splitlines())
            named = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
            found += ["8.8.8.8"] if any(server.startswith("127.") for server in named) else named
        else:
            found.append(each.removeprefix("dns://").partition(":")[0])
    return found


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, dns: ClusterDns) -> None:
        self._dns = dns

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._dns.received(data, addr, self._transport)


class _Once(asyncio.DatagramProtocol):
    """Waits for one datagram."""

    def __init__(self) -> None:
        self.result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        del addr
        if not self.result.done():
            self.result.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(exc)


async def ask_udp(packet: bytes, server: str) -> bytes:
    """Pass a query on and wait for the answer; raises OSError."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Once, remote_addr=(server, 53))
    try:
        transport.sendto(packet)
        return await protocol.result
    finally:
        transport.close()


async def ask_tcp(packet: bytes, server: str) -> bytes:
    """`ask_udp` over TCP."""
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack("!H", len(packet)) + packet)
        size = struct.unpack("!H", await reader.readexactly(2))[0]
        return await reader.readexactly(size)
    finally:
        writer.close()


class PodResolver(AbstractResolver):
    """Finds hosts as pods do, for clients inside this process."""

    def __init__(self, dns: ClusterDns) -> None:
        self._dns = dns

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The host's addresses; raises OSError in Go's words when it has none."""
        try:
            found = addresses(await self._dns.answer(query(host), ask_udp))
        except ValueError:
            raise OSError(None, f"lookup {host} on 10.43.0.10:53: i/o timeout") from None
        if not found:
            raise OSError(None, f"lookup {host} on 10.43.0.10:53: no such host")
        del family
        return [
            ResolveResult(
                hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
            for each in found
        ]

    async def close(self) -> None:
        """Nothing is held."""
