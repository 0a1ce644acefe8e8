"""What every part of the emulator has in common: start, stop, and a way to listen."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from typing import Any, Protocol

from aiohttp import web

log = logging.getLogger(__name__)


class Component(Protocol):
    """A part of the emulator with a life of its own."""

    async def start(self) -> None:
        """Begin to serve; returns when requests are answered."""

    async def stop(self) -> None:
        """End every task, child process and listener that `start` made."""


class Listener:
    """An aiohttp application that listens on one port."""

    def __init__(self, app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        self._host, self._port, self._tls = host, port, tls

    async def start(self) -> None:
        """Bind and serve; raises OSError when the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls).start()

    async def stop(self) -> None:
        """Stop accepting and close what is open."""
        await self._runner.cleanup()


class Tasks:
    """Background tasks that are kept referenced, logged when they fail, and cancelled together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``work`` in the background."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("task %s failed", task.get_name(), exc_info=error)

    async def cancel(self) -> None:
        """Cancel every task and wait until all have ended.

        Again and again: before Python 3.12 ``asyncio.wait_for`` may swallow a cancellation that arrives together
        with what it waits for.
        """
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(list(self._tasks), timeout=0.5)
