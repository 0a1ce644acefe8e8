"""As much of Redis' protocol (RESP) as HiChat needs, over a plain socket."""

from __future__ import annotations

import socket
from typing import BinaryIO

from hichat.settings import Address

TIMEOUT = 1.0  # seconds for each read and write: a page must not hang because Redis does
LONGEST = 1 << 20  # bytes and elements; nothing that HiChat stores comes near it


class RedisError(Exception):
    """Redis refused a command, or what answered was not Redis."""


def command(address: Address, *words: str) -> object:
    """Send one command on a fresh connection and return the reply; raises OSError or RedisError."""
    return commands(address, words)[0]


def commands(address: Address, *batch: tuple[str, ...]) -> list[object]:
    """Send several commands at once and return a reply for each; raises OSError or RedisError."""
    with socket.create_connection((address.host, address.port), TIMEOUT) as connection:
        connection.sendall(b"".join(_encode(words) for words in batch))
        with connection.makefile("rb") as stream:
            return [_reply(stream) for _ in batch]


def _encode(words: tuple[str, ...]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


def _reply(stream: BinaryIO) -> object:
    line = stream.readline(LONGEST)
    if not line.endswith(b"\r\n"):
        raise RedisError("the connection ended in the middle of a reply")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest.decode(errors="replace")
    if kind == b"-":
        raise RedisError(rest.decode(errors="replace"))
    if kind == b":":
        return _size(rest)
    if kind == b"$":
        return _text(stream, _size(rest))
    if kind == b"*":
        return [_reply(stream) for _ in range(_size(rest))]
    raise RedisError(f"not a Redis reply: {line[:40]!r}")


def _size(digits: bytes) -> int:
    try:
        number = int(digits)
    except ValueError:
        raise RedisError(f"not a number: {digits[:40]!r}") from None
    if number > LONGEST:
        raise RedisError(f"too long: {number}")
    return number


def _text(stream: BinaryIO, length: int) -> str | None:
    if length < 0:
        return None  # Redis' way of saying "there is no such thing"
    data = stream.read(length + 2)
    if len(data) != length + 2:
        raise RedisError("the connection ended in the middle of a reply")
    return data[:-2].decode(errors="replace")
