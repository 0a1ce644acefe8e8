"""The lines that a run's events leave behind, on a terminal above its live area and in a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.console.layout import Cell, Colour
from lab.console.quantities import Transfer
from lab.plan import Event

MARKS: dict[str, tuple[str, Colour]] = {
    "satisfied": ("✓ ok", "green"),
    "done": ("✓ done", "green"),
    "needed": ("+ needed", "yellow"),
    "unknown": ("? unknown", "yellow"),
    "failed": ("✗ failed", "red"),
    "skipped": ("- skipped", "yellow"),
    "stopped": ("- stopped", "yellow"),
    "waiting": ("… waiting", "yellow"),
    "running": ("> running", "bold"),
}
"""A symbol and a word for each state: nothing depends on colours or a font."""
LABEL, TIME, TITLE = 11, 9, 44
"""Columns of a line about a step."""
_QUIET, _RARE = 2.0, 10.0
"""Seconds between two lines about what a step waits for, and about how far a transfer is."""

Row = tuple[tuple[Cell, ...], str]
"""A head and its text, for `layout.arrange`."""


def label(state: str, width: int = LABEL) -> Cell:
    """The first cell of a line."""
    text, colour = MARKS[state]
    return Cell(text, width, colour)


def ended(event: Event) -> Row:
    """The line about a step's end."""
    assert event.outcome  # noqa: S101 - events of this kind carry one
    head = (label(event.outcome.state), Cell(f"{event.outcome.seconds:6.2f} s", TIME), Cell(event.step.title, TITLE))
    return head, event.outcome.detail


def cause(text: str) -> Row:
    """The line about a known cause of a wait."""
    return (Cell("! cause", LABEL, "yellow"), Cell("", TIME)), text


@dataclass
class Lines:
    """A run as lines in a file or a pipe: what a step waits for is said when it changes, and not all the time."""

    clock: Callable[[], float] = time.monotonic
    _said: dict[str, tuple[float, str]] = field(default_factory=dict)
    _transfers: dict[str, Transfer] = field(default_factory=dict)

    def rows(self, event: Event) -> list[Row]:
        """What to print about an event; mostly nothing."""
        if event.outcome:
            return [ended(event)]
        if event.kind == "waiting":
            return self._now_and_then(event, event.detail, _QUIET)
        if event.kind == "progress":
            transfer = self._transfers.setdefault(event.step.name, Transfer())
            transfer.update(event.done, event.total, self.clock())
            return self._now_and_then(event, transfer.describe(self.clock()), _RARE)
        return [] if event.kind == "started" else [cause(f"{event.step.title}: {event.detail}")]

    def _now_and_then(self, event: Event, text: str, pause: float) -> list[Row]:
        now, name = self.clock(), event.step.name
        last, said = self._said.setdefault(name, (now, ""))
        if text == said or now - last < pause:
            return []
        self._said[name] = (now, text)
        return [((label("waiting"), Cell("", TIME)), f"{event.step.title}: {text}")]
