"""The controllers' work queue: keys wait for one reconcile each, failures are retried with back-off.

Level triggered, as client-go's work queue: a key that is added twice before its turn is reconciled once, and the
reconciler looks at the state of the world, not at what changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable

log = logging.getLogger(__name__)

FIRST_RETRY = 0.05
LONGEST_RETRY = 30.0


class WorkQueue:
    """Runs ``reconcile(key)`` on the event loop, one key per step of the loop."""

    def __init__(self, reconcile: Callable[[Hashable], None]) -> None:
        self._reconcile = reconcile
        self._waiting: dict[Hashable, None] = {}
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._failures: dict[Hashable, int] = {}
        self._idle: list[asyncio.Future[None]] = []
        self._scheduled = False
        self._stopped = False

    def add(self, key: Hashable) -> None:
        """Have ``key`` reconciled soon; once, however often it is added until then."""
        if self._stopped:
            return
        self._waiting[key] = None
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._step)

    def add_after(self, key: Hashable, delay: float) -> None:
        """Have ``key`` reconciled after ``delay`` seconds; of two such wishes the earlier one counts."""
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + delay:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._ripe, key)

    async def settled(self) -> None:
        """Wait until no key is waiting for its turn (delayed ones do not count)."""
        if self._waiting and not self._stopped:
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def stop(self) -> None:
        """Forget everything that waits; nothing is reconciled afterwards."""
        self._stopped = True
        self._waiting.clear()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._wake()

    def _ripe(self, key: Hashable) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _step(self) -> None:
        self._scheduled = False
        if self._waiting:
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._run(key)
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._step)
        elif not self._waiting:
            self._wake()

    def _run(self, key: Hashable) -> None:
        try:
            self._reconcile(key)
        except Exception:  # one broken object must not stop the controllers
            count = self._failures[key] = self._failures.get(key, 0) + 1
            if count == 3:  # a conflict or two is everyday life
                log.exception("reconcile %s", key)
            self.add_after(key, min(FIRST_RETRY * 2 ** (count - 1), LONGEST_RETRY))
        else:
            self._failures.pop(key, None)

    def _wake(self) -> None:
        waiting, self._idle = self._idle, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
