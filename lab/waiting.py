"""The one wait: ask, look at the answer, ask again a little later, until a deadline.

"Not yet" is an answer (`Pending`), "never" is an error that the probe raises. No other module waits. A wait may be
given a way to find out why it is still pending; then known causes are told as they appear (`lab.causes`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lab.causes.cause import Diagnosis, Gather
from lab.causes.watch import Watch
from lab.errors import Interrupted, TimedOut

T = TypeVar("T")
_LAST_LOOK = 2.0
"""Seconds that a wait whose time is over still gives to finding out why."""


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
    diagnose: Gather | None = None,
    diagnosed: Callable[[Diagnosis], None] | None = None,
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
        diagnose: collects evidence of known causes; asked rarely, on another thread, and its errors are ignored.
        diagnosed: told each known cause, once.
        clock: source of monotonic seconds.

    Raises:
        TimedOut: the deadline passed; carries the last observation and the known causes.
        CheckFailed, MachineError: a known cause that cannot heal.
        Interrupted: ``stop`` was set.
    """
    stop = stop or threading.Event()
    deadline = clock() + timeout
    watch = Watch(diagnose, diagnosed, clock)
    last = ""
    while True:
        answer = probe()
        if not isinstance(answer, Pending):
            return answer
        if answer.observation != last:
            last = answer.observation
            if report:
                report(last)
        hopeless = watch.look()
        if hopeless:
            raise hopeless.error(f"Waiting longer for {what} would not help; last seen: {last}")
        left = deadline - clock()
        if left <= 0:
            raise _timed_out(f"Waited {timeout:g} s for {what}.", last, hint, watch.last_look(_LAST_LOOK))
        if stop.wait(min(interval, left)):
            raise Interrupted(f"Stopped while waiting for {what}.", evidence=f"last seen: {last}")
        interval = min(interval * 1.5, longest)


def _timed_out(problem: str, last: str, hint: str, causes: Sequence[Diagnosis]) -> TimedOut:
    known = [f"{found.code}: {found.cause.title.en} ({found.evidence})" for found in causes]
    hints = [*(found.remedy for found in causes), hint]
    return TimedOut(
        "LAB-TIME-01", problem, evidence="\n".join([f"last seen: {last}", *known]), hint="\n".join(filter(None, hints))
    )
