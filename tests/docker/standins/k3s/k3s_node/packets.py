"""DNS messages, as far as the cluster's names need them: one question, and IPv4 addresses for an answer."""

from __future__ import annotations

import ipaddress
import random
import struct

A = 1
"""The type of an IPv4 address."""


def question(packet: bytes) -> tuple[str, int, int]:
    """Name (lower case), type, and where the question ends; raises ValueError."""
    labels, position = [], 12
    while True:
        if position >= len(packet):
            raise ValueError("truncated")
        size = packet[position]
        if size == 0:
            break
        if size > 63:
            raise ValueError("compressed question")
        labels.append(packet[position + 1 : position + 1 + size].decode("latin-1").lower())
        position += 1 + size
    kind, _ = struct.unpack_from("!HH", packet, position + 1)
    return ".".join(labels), kind, position + 5


def reply(packet: bytes, end: int, code: int, addresses: list[str], ttl: int) -> bytes:
    """The answer to ``packet``, authoritative, with address records."""
    flags = 0x8580 | (packet[2] << 8 & 0x0100) | code
    head = packet[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0)
    records = b"".join(
        struct.pack("!HHHIH", 0xC00C, A, 1, ttl, 4) + ipaddress.IPv4Address(each).packed for each in addresses
    )
    return head + packet[12:end] + records


def query(name: str) -> bytes:
    """A query for the IPv4 addresses of ``name``."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.rstrip(".").split("."))
    return (
        struct.pack("!HHHHHH", random.randrange(65536), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", A, 1)
    )


def addresses(packet: bytes) -> list[str]:
    """The IPv4 addresses in an answer; raises ValueError when it is none."""
    _, _, position = question(packet)
    found = []
    for _ in range(struct.unpack_from("!H", packet, 6)[0]):
        position = _after_name(packet, position)
        kind, _, _, size = struct.unpack_from("!HHIH", packet, position)
        position += 10
        if kind == A and size == 4:
            found.append(str(ipaddress.IPv4Address(packet[position : position + 4])))
        position += size
    return found


def _after_name(packet: bytes, position: int) -> int:
    while packet[position]:
        if packet[position] >= 0xC0:
            return position + 2
        position += 1 + packet[position]
    return position + 1
