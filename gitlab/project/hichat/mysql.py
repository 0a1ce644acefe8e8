"""MySQL's greeting: the first packet a server sends tells its version, before anybody logs in."""

from __future__ import annotations

import socket

from hichat.settings import Address

TIMEOUT = 1.0  # seconds for each read
PROTOCOL = 10  # the handshake that every server since MySQL 3.21 sends
REFUSED = 0xFF  # an error packet in its place, for example "Too many connections"


class MysqlError(Exception):
    """The server refused the connection, or what answered was not MySQL."""


def server_version(address: Address) -> str:
    """Connect, read the greeting and return the version in it; raises OSError or MysqlError."""
    with socket.create_connection((address.host, address.port), TIMEOUT) as connection:
        header = _exactly(connection, 4)  # three bytes of length, one of sequence number
        packet = _exactly(connection, min(int.from_bytes(header[:3], "little"), 1024))
    if packet[:1] == bytes([REFUSED]):
        raise MysqlError(packet[3:].decode(errors="replace"))  # after the marker: two bytes of error number
    version, end, _ = packet[1:].partition(b"\0")
    if packet[:1] != bytes([PROTOCOL]) or not end:
        raise MysqlError(f"not a MySQL greeting: {packet[:20]!r}")
    return version.decode(errors="replace")


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise MysqlError("the server hung up during its greeting")
        data += part
    return data
