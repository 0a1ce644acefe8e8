"""Git's pkt-line framing: what a push asks for, and what git reported (gitprotocol-pack, gitprotocol-common)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from lab.emulator.gitlab.push_policy import Command

FLUSH = b"0000"
_LONGEST = 65520


class ProtocolError(Exception):
    """The bytes are no pkt-lines of a push."""


@dataclass(frozen=True)
class Request:
    """The head of a ``git-receive-pack`` request; the pack follows it."""

    commands: list[Command]
    capabilities: frozenset[str]
    options: tuple[str, ...]

    @property
    def sideband(self) -> bool:
        """Whether the answer is multiplexed with messages."""
        return "side-band-64k" in self.capabilities


def packet(payload: bytes) -> bytes:
    """One pkt-line."""
    return b"%04x" % (len(payload) + 4) + payload


def message(text: str) -> bytes:
    """Lines that the client shows behind ``remote:``, as sideband packets."""
    return b"".join(packet(b"\x02" + line.encode() + b"\n") for line in text.splitlines())


def read_request(body: IO[bytes]) -> Request:
    """Read commands and push options from the start of ``body``; raises `ProtocolError`."""
    commands: list[Command] = []
    capabilities: frozenset[str] = frozenset()
    for line in _section(body):
        if not commands and b"\0" in line:
            # The first command carries the list; a push from a shallow clone has "shallow" lines before it.
            line, _, names = line.partition(b"\0")  # noqa: PLW2901 - the rest of the line is the list
            capabilities = frozenset(names.decode().split())
        text = line.decode(errors="replace").rstrip("\n")
        if text.startswith("shallow "):
            continue
        before, _, rest = text.partition(" ")
        after, _, ref = rest.partition(" ")
        if not ref:
            raise ProtocolError(f"no command: {text[:80]}")
        commands.append(Command(before, after, ref))
    options: tuple[str, ...] = ()
    if "push-options" in capabilities:
        options = tuple(line.decode(errors="replace").rstrip("\n") for line in _section(body))
    return Request(commands, capabilities, options)


def accepted(output: bytes, request: Request) -> set[str] | None:
    """The refs that git's report says were updated, or None when the client asked for no report."""
    if not request.capabilities & {"report-status", "report-status-v2"}:
        return None
    report = output
    if request.sideband:
        report = b"".join(line[1:] for line in _packets(output) if line[:1] == b"\x01")
    lines = [line.decode(errors="replace").rstrip("\n") for line in _packets(report)]
    return {line[3:] for line in lines if line.startswith("ok ")}


def _section(body: IO[bytes]) -> Iterator[bytes]:
    """The pkt-lines up to the next flush."""
    while True:
        head = body.read(4)
        if head in {b"", FLUSH}:
            return
        try:
            length = int(head, 16)
        except ValueError:
            raise ProtocolError(f"no pkt-line: {head!r}") from None
        if not 4 <= length <= _LONGEST:
            raise ProtocolError(f"no pkt-line: {head!r}")
        yield body.read(length - 4)


def _packets(data: bytes) -> Iterator[bytes]:
    position = 0
    while position + 4 <= len(data):
        try:
            length = int(data[position : position + 4], 16)
        except ValueError:
            return
        if length >= 4:
            yield data[position + 4 : position + length]
        position += max(length, 4)
