"""A job's trace: secrets masked, sent while the job runs, and the way in which GitLab asks for its end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator

import aiohttp

from lab.emulator.runner.client import Answer, Client

_BLOCK = 512 * 1024
_LIMIT = 4 * 1024 * 1024
"""Bytes of a trace, as gitlab-runner's output_limit."""
_GREEN, _RED, _CYAN, _RESET = "\x1b[32;1m", "\x1b[31;1m", "\x1b[36;1m", "\x1b[0;m"


class Masker:
    """Replaces secrets in a stream of bytes; a secret never straddles two outputs, for output ends at line ends."""

    def __init__(self, secrets: Iterable[str], prefixes: Iterable[str] = ()) -> None:
        found = sorted({s for s in secrets if s}, key=len, reverse=True)
        self._secrets = re.compile(b"|".join(re.escape(s.encode()) for s in found)) if found else None
        heads = b"|".join(re.escape(prefix.encode()) for prefix in prefixes)
        self._tokens = re.compile(b"(" + heads + rb")[A-Za-z0-9_=.-]+") if heads else None
        self._rest = b""

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """What may be shown now."""
        self._rest += data
        end = len(self._rest) if final else self._rest.rfind(b"\n") + 1
        if not end and len(self._rest) > _BLOCK:
            end = self._rest.rfind(b" ") + 1
        shown, self._rest = self._rest[:end], self._rest[end:]
        if self._secrets:
            shown = self._secrets.sub(b"[MASKED]", shown)
        return self._tokens.sub(rb"\1[MASKED]", shown) if self._tokens else shown


class Trace:
    """Collects and sends; ``on_end`` is called when GitLab wants the job to end.

    Its argument is ``canceling`` (end gracefully) or ``abort``.
    """

    def __init__(
        self, client: Client, job_id: int, token: str, masker: Masker, *, interval: float, keep_alive: float
    ) -> None:
        self._client, self._job_id, self._token = client, job_id, token
        self._masker = masker
        self._interval, self._keep_alive = interval, keep_alive
        self._data = bytearray()
        self._sent = 0
        self._full = False
        self._more = asyncio.Event()
        self._closed = False
        self.on_end: Callable[[str], None] = lambda _how: None

    def write(self, data: bytes) -> None:
        """Append output of the job."""
        if self._full:
            return
        self._append(self._masker.feed(data))

    def _append(self, data: bytes) -> None:
        if len(self._data) + len(data) > _LIMIT:
            data = data[: _LIMIT - len(self._data)]
            note = f"\n{_RED}Job's log exceeded limit of {_LIMIT} bytes.{_RESET}\n"
            data, self._full = data + note.encode(), True
        if data:
            self._data += data
            self._more.set()

    def line(self, text: str = "") -> None:
        """Append a line of the runner's own."""
        self.write(f"{text}\n".encode())

    def notice(self, text: str) -> None:
        """A green line, as gitlab-runner prints what it does."""
        self.line(f"{_GREEN}{text}{_RESET}")

    def error(self, text: str) -> None:
        """A red line. Written also when the trace is full."""
        self._full = False
        self.line(f"{_RED}{text}{_RESET}")

    @contextlib.contextmanager
    def section(self, name: str, title: str) -> Iterator[None]:
        """A part of the trace that GitLab's page can fold."""
        mark = f"section_start:{int(time.time())}:{name}\r\x1b[0K\x1b[0K{_CYAN}{title}{_RESET}"
        self.line(mark)
        try:
            yield
        finally:
            self.write(f"section_end:{int(time.time())}:{name}\r\x1b[0K\n".encode())

    async def send(self) -> None:
        """Send what comes until `finish`; ask for news of the job while there is nothing to send."""
        while not self._closed:
            await wait_for_event(self._more, self._keep_alive)
            try:
                if self._more.is_set():
                    await self._send_pending()
                else:
                    self._judge(await self._client.update(self._job_id, self._token, state="running"))
            except (aiohttp.ClientError, asyncio.TimeoutError):
                pass  # the next round tries again; `finish` decides when to give up
            await asyncio.sleep(self._interval)

    async def _send_pending(self) -> bool:
        """Send one block; returns whether GitLab has everything."""
        self._more.clear()
        block = bytes(self._data[self._sent : self._sent + _BLOCK])
        if not block:
            return True
        answer = await self._client.append_trace(self._job_id, self._token, self._sent, block)
        if answer.status == 202:
            self._sent = answer.held if answer.held is not None else self._sent + len(block)
        elif answer.status == 416 and answer.held is not None:
            self._sent = min(answer.held, len(self._data))
        self._judge(answer)
        if self._sent < len(self._data):
            self._more.set()
        return self._sent >= len(self._data) or answer.status in (403, 404)

    def _judge(self, answer: Answer) -> None:
        if answer.job_status == "canceling":
            self.on_end("canceling")
        elif answer.status in (403, 404) or answer.job_status in ("canceled", "failed", "success"):
            self.on_end("abort")

    async def finish(self, state: str, reason: str, exit_code: int | None, *, patience: float = 120.0) -> bool:
        """Send the rest and the job's end; returns whether GitLab has taken it within ``patience`` seconds."""
        self._closed = True
        self._append(self._masker.feed(b"", final=True))
        deadline = asyncio.get_running_loop().time() + patience
        delay = 0.1
        while asyncio.get_running_loop().time() < deadline:
            try:
                while not await self._send_pending():
                    pass
                answer = await self._client.update(self._job_id, self._token, **self._end(state, reason, exit_code))
            except (aiohttp.ClientError, asyncio.TimeoutError):
                answer = Answer(0)
            if answer.status in (200, 403, 404):
                return answer.status == 200
            if answer.status == 412:
                self._sent = 0
            await asyncio.sleep(delay)
            delay = min(delay * 2, 3.0)
        return False

    def _end(self, state: str, reason: str, exit_code: int | None) -> dict[str, object]:
        checksum = f"crc32:{zlib.crc32(self._data):08x}"
        fields: dict[str, object] = {
            "state": state,
            "output": {"checksum": checksum, "bytesize": len(self._data)},
            "checksum": checksum,
        }
        if state == "failed":
            fields |= {"failure_reason": reason, "exit_code": exit_code or 0}
        return fields


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Whether ``event`` came in time. Unlike asyncio.wait_for before 3.12 this never swallows a cancellation."""
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiter}, timeout=seconds)
    finally:
        waiter.cancel()
    return event.is_set()
