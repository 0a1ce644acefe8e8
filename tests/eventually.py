"""Waiting in asynchronous tests, for something that no event tells."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any


async def until(what: str, probe: Callable[[], Any] | Callable[[], Awaitable[Any]], timeout: float = 20) -> Any:
    """The first true answer of ``probe``, a function or a coroutine function; fails after ``timeout`` seconds."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        found = probe()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"no {what}"
        await asyncio.sleep(0.01)
