"""What the live area shows: the steps that run or failed, what each waits for, how many are done."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lab.console.layout import Cell, Line, arrange, clip, cut
from lab.console.quantities import Transfer, clock
from lab.console.steps import LABEL, TIME, TITLE, label
from lab.plan import Event

ROWS = 15
"""Rows of the area at most: what a back row sees of a projected screen."""
_SPARE = 2
"""Columns at the right that stay empty: the terminal writes ^C there."""
_REMARKS = 2
"""Remarks that are kept below a step; all of them have scrolled by."""
_WORDS = {"satisfied": "done", "needed": "looked at", "unknown": "looked at"}
"""States that count under another word."""


@dataclass
class _Step:
    """One step on the board."""

    title: str
    since: float
    state: str = "running"
    seen: str = ""
    seconds: float | None = None
    """How long it took, when it has ended."""
    transfer: Transfer | None = None
    remarks: list[str] = field(default_factory=list)

    def lines(self, now: float, width: int) -> Iterator[Line]:
        passed = now - self.since if self.seconds is None else self.seconds
        head: tuple[Cell, ...] = (label(self.state), Cell(f"{clock(passed):>8}", TIME))
        head += (Cell(self.title, TITLE),) if self.title else ()
        seen = self.transfer.describe(now) if self.transfer else self.seen
        yield from arrange(head, seen, width=width, most=2)
        for text in self.remarks:
            yield from arrange((Cell("", LABEL), Cell("", TIME), Cell("!", 1, "yellow")), text, width=width, most=2)


class Board:
    """A picture of a run, made of its events; they come from the steps' threads, frames are asked for by another.

    Args:
        expected: number of steps; 0 when nobody knows.
        now: source of monotonic seconds.
    """

    def __init__(self, expected: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._expected = expected
        self._began = now()
        self._steps: dict[str, _Step] = {}
        self._ended: Counter[str] = Counter()
        self._journey: _Step | None = None

    def event(self, event: Event) -> None:
        """Take in what happened to a step."""
        with self._lock:
            if event.outcome:
                self._end(event)
            else:
                self._go_on(event)

    def _go_on(self, event: Event) -> None:
        now, name = self._now(), event.step.name
        step = self._steps.setdefault(name, _Step(event.step.title, now))
        if event.kind == "waiting":
            step.state, step.seen, step.transfer = "waiting", event.detail, None
        elif event.kind == "progress":
            step.state, step.transfer = "running", step.transfer or Transfer()
            step.transfer.update(event.done, event.total, now)
        elif event.kind != "started":
            step.remarks = [*step.remarks[1 - _REMARKS :], event.detail]

    def _end(self, event: Event) -> None:
        """A step that failed stays to be seen, every other is only counted."""
        assert event.outcome  # noqa: S101 - as in `steps.ended`
        state = event.outcome.state
        self._ended[_WORDS.get(state, state)] += 1
        step = self._steps.pop(event.step.name, None) or _Step(event.step.title, self._now())
        if state == "failed":
            step.state, step.seen, step.seconds = "failed", event.outcome.detail, event.outcome.seconds
            step.transfer = None
            self._steps[event.step.name] = step

    def note(self, seen: str) -> None:
        """What a journey waits for; empty when that has come."""
        with self._lock:
            if not seen:
                self._journey = None
                return
            self._journey = self._journey or _Step("", self._now(), "waiting")
            self._journey.seen = seen

    def frame(self, size: tuple[int, int]) -> list[Line]:
        """The area for a terminal of so many columns and rows; never higher than `ROWS` or the terminal."""
        width, most = max(1, size[0] - _SPARE), max(1, min(ROWS, size[1] - 1))
        with self._lock:
            return self._lines(self._now(), width, most)

    def _lines(self, now: float, width: int, most: int) -> list[Line]:
        shown = [*self._steps.values(), *([self._journey] if self._journey else [])]
        shown.sort(key=lambda step: (step.state != "failed", step.since))
        foot = self._foot(now, width)
        lines, left_out = _fitting([list(step.lines(now, width)) for step in shown], most - len(foot))
        if left_out:
            lines.append((Cell(cut(f"  and {left_out} more", width)),))
        return [clip(line, width) for line in [*lines, *foot][-most:]]

    def _foot(self, now: float, width: int) -> list[Line]:
        """How many steps are in which state, and how long all took up to now."""
        running = sum(step.seconds is None for step in self._steps.values())
        if not self._ended and not running:
            return []
        parts = [f"{self._ended[word]} {word}" for word in ("done", "looked at") if self._ended[word]]
        parts += [f"{running} running"]
        parts += [f"{self._ended[word]} {word}" for word in ("failed", "skipped", "stopped") if self._ended[word]]
        come = self._expected - running - self._ended.total()
        parts += [f"{come} to come"] if come > 0 else []
        return [(Cell(cut(f"  {', '.join(parts)}; {clock(now - self._began)} so far", width), colour="bold"),)]


def _fitting(blocks: list[list[Line]], room: int) -> tuple[list[Line], int]:
    """As much of the blocks as so many rows hold, and how many blocks had to be left out.

    Each block's first row comes before any other's second. The row that says what was left out is kept free.
    """
    if len(blocks) > room:
        fit = max(0, room - 1)
        return [block[0] for block in blocks[:fit]], len(blocks) - fit
    spare, lines = room - len(blocks), []
    for block in blocks:
        taken = block[: 1 + spare]
        spare -= len(taken) - 1
        lines += taken
    return lines, 0
