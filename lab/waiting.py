"""The one wait: ask, look at the answer, ask again a little later, until a deadline.

"Not yet" is an answer (`Pending`), "never" is an error that the probe raises. No other module waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lab.errors import Interrupted, TimedOut

T = TypeVar("T")


@dataclass(frozen=True)
class Pending:
    """The answer "not yet", with what was seen instead."""

    observation: str


def wait_until(
    what: str,
    probe: Callable[[], T | Pending],
    *,
    timeout: float,
    interval: float = 0.05,
    longest: float = 1.0,
    stop: threading.Event | None = None,
    report: Callable[[str], None] | None = None,
    hint: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Call ``probe`` until it answers something else than `Pending`, and return that answer.

    Args:
        what: what is waited for, as it reads after "Waiting for".
        probe: reads the world once; raises LabError when the thing can never come.
        timeout: seconds until the wait is given up. The probe runs at least once.
        interval: seconds before the second look; grows by half with each look.
        longest: upper bound of the interval in seconds.
        stop: ends the wait early.
        report: told each new observation, once.
        hint: the next thing to do when the time is over.
        clock: source of monotonic seconds.

    Raises:
        TimedOut: the deadline passed; carries the last observation.
        Interrupted: ``stop`` was set.
    """
    stop = stop or threading.Event()
    deadline = clock() + timeout
    last = ""
    while True:
        answer = probe()
        if not isinstance(answer, Pending):
            return answer
        if answer.observation != last:
            last = answer.observation
            if report:
                report(last)
        left = deadline - clock()
        if left <= 0:
            problem = f"Waited {timeout:g} s for {what}."
            raise TimedOut("LAB-TIME-01", problem, evidence=f"last seen: {last}", hint=hint)
        if stop.wait(min(interval, left)):
            raise Interrupted(f"Stopped while waiting for {what}.", evidence=f"last seen: {last}")
        interval = min(interval * 1.5, longest)
