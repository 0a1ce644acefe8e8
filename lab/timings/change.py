"""What took longer or shorter than it usually does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lab.journal import Run, Span

_FACTOR = 1.5
_LEAST = 0.1
"""Seconds: smaller differences are noise."""
_COMPARABLE = ("done", "satisfied")
WHOLE = "the whole run"


@dataclass(frozen=True)
class Change:
    """One step, or the whole run, compared with earlier runs."""

    name: str
    seconds: float
    usual: float
    """Median of the earlier runs, in seconds."""
    runs: int
    """How many they were."""

    @property
    def factor(self) -> float:
        """How many times as long as usual it took."""
        return self.seconds / max(self.usual, 0.001)


def changes(run: Run, earlier: Sequence[Run]) -> list[Change] | None:
    """What differs clearly from the median of earlier runs on the same engine, the largest difference first.

    A step is compared with runs in which it ended in the same way: to look is not to act. The whole run is compared
    with successful runs that acted in the same steps. None when there was no earlier run.
    """
    same = [other for other in earlier if other.engine == run.engine]
    if not same:
        return None
    found = [_compared(span.name, span.seconds, _usual(span, same)) for span in run.spans if span.state in _COMPARABLE]
    if run.outcome == "done":
        alike = [other.seconds for other in same if other.outcome == "done" and _acted(other) == _acted(run)]
        found.append(_compared(WHOLE, run.seconds, alike))
    clear = [change for change in found if change and _clear(change)]
    return sorted(clear, key=lambda change: -abs(change.seconds - change.usual))


def _usual(span: Span, earlier: Sequence[Run]) -> list[float]:
    return [
        other.seconds for run in earlier for other in run.spans if (other.name, other.state) == (span.name, span.state)
    ]


def _compared(name: str, seconds: float, earlier: list[float]) -> Change | None:
    return Change(name, seconds, median(earlier), len(earlier)) if earlier else None


def _clear(change: Change) -> bool:
    differs = abs(change.seconds - change.usual) >= _LEAST
    return differs and not 1 / _FACTOR < change.factor < _FACTOR


def _acted(run: Run) -> set[tuple[str, str]]:
    return {(span.name, span.state) for span in run.spans}
