"""Container logs as files in the CRI's format, one line each: time, stream, F (full) or P (part), text."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from lab.emulator.workloads.objects import parse_time

LIMIT = 10 * 1024 * 1024
"""Bytes after which a log is rotated, as the kubelet's containerLogMaxSize."""
_PART = 16 * 1024
"""Longest text of one line in the file; longer lines are stored in parts."""


class Log:
    """The log of one container instance, while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changed = asyncio.Event()
        self.closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, text: bytes, *, full: bool = True) -> None:
        """Append one line (without its newline) and wake whoever follows."""
        if self.closed:
            return
        mark = b"F" if full else b"P"
        self._file.write(_now().encode() + b" stdout " + mark + b" " + text + b"\n")
        if self._file.tell() > LIMIT:
            self._rotate()
        self._wake()

    def _rotate(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_suffix(".log.1"))
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """No more lines will come."""
        if not self.closed:
            self.closed = True
            self._file.close()
            self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Wait for the next line or the end."""
        if not self.closed:
            await self._changed.wait()


async def copy(stream: asyncio.StreamReader, log: Log) -> None:
    """Write what a process prints to its log until it closes the stream."""
    pending = b""
    while chunk := await stream.read(65536):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            while len(line) > _PART:
                log.write(line[:_PART], full=False)
                line = line[_PART:]  # noqa: PLW2901 - the rest of the same line
            log.write(line)
        while len(pending) > _PART:
            log.write(pending[:_PART], full=False)
            pending = pending[_PART:]
    if pending:
        log.write(pending)


def _now() -> str:
    nanoseconds = time.time_ns()
    whole, fraction = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{fraction:09d}Z"


def render(line: bytes, *, timestamps: bool) -> bytes:
    """A stored line as ``kubectl logs`` prints it."""
    moment, _, mark, text = [*line.split(b" ", 3), b"", b"", b""][:4]
    shown = text if mark == b"P" else text + b"\n"
    return moment + b" " + shown if timestamps else shown


def select(data: bytes, tail: int | None, since: float | None) -> Iterator[bytes]:
    """The stored lines of ``data`` that are not older than ``since`` (seconds since the epoch), the last ``tail``."""
    lines = data.split(b"\n")[:-1]
    if since is not None:
        lines = [line for line in lines if _moment(line) >= since]
    if tail is not None:
        lines = lines[-tail:] if tail > 0 else []
    return iter(lines)


def _moment(line: bytes) -> float:
    text = line.split(b" ", 1)[0].decode(errors="replace")
    try:
        return parse_time(text[:26] + "Z").timestamp() if "." in text else parse_time(text).timestamp()
    except ValueError:
        return dt.datetime.max.replace(tzinfo=dt.timezone.utc).timestamp()


async def read(
    path: Path, live: Log | None, *, follow: bool, tail: int | None, since: float | None, timestamps: bool
) -> AsyncIterator[bytes]:
    """The log's content, and with ``follow`` what is added until the container ends."""
    earlier = path.with_suffix(".log.1")
    before, now = await asyncio.to_thread(_content, earlier, path)
    whole = now.rfind(b"\n") + 1
    shown = b"".join(render(line, timestamps=timestamps) for line in select(before + now, tail, since))
    if shown:
        yield shown
    if not follow or live is None:
        return
    async for line in _added(path, live, whole):
        yield render(line, timestamps=timestamps)


def _content(earlier: Path, path: Path) -> tuple[bytes, bytes]:
    return (earlier.read_bytes() if earlier.exists() else b"", path.read_bytes() if path.exists() else b"")


def _next(path: Path, offset: int) -> tuple[int, bytes]:
    """What the file has from ``offset`` on, and the offset after it; a rotated file is read from its start."""
    if path.stat().st_size < offset:
        offset = 0
    with path.open("rb") as file:
        file.seek(offset)
        chunk = file.read(1 << 20)
    return offset + len(chunk), chunk


async def _added(path: Path, live: Log, offset: int) -> AsyncIterator[bytes]:
    pending = b""
    while True:
        closed = live.closed
        offset, chunk = _next(path, offset)
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line
        if chunk:
            continue
        if closed:
            return
        await live.changed()
