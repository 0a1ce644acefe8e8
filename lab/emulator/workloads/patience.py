"""Waiting with a limit, in a way that never loses a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when it takes longer; raises asyncio.TimeoutError.

    Before Python 3.12 `asyncio.wait_for` swallows a cancellation that arrives as the work completes.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        raise asyncio.TimeoutError
    finally:
        if not task.done():
            await cancelled([task])


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until each has ended, whatever it makes of the first cancellation."""
    left = {task for task in tasks if task is not asyncio.current_task()}
    while left := {task for task in left if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1.0)
