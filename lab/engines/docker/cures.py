"""Waiting for something that may need help: each cure is tried once, the gentlest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lab.errors import TimedOut
from lab.plan import StepContext


class Cure(NamedTuple):
    """Something that mends; ``what`` says so to people."""

    what: str
    act: Callable[[], None]


def wait(
    context: StepContext, attempt: Callable[[float], object], cures: Sequence[Cure], *, patience: float, limit: float
) -> list[str]:
    """Wait ``patience`` seconds, apply a cure, wait again, and so on; in the end wait ``limit`` seconds.

    Args:
        context: is told what is tried, and why.
        attempt: waits for that many seconds at most and raises TimedOut.
        cures: what to try in between.
        patience: seconds before each cure.
        limit: seconds after the last one.

    Returns:
        The cures that were needed.

    Raises:
        TimedOut: nothing helped.
    """
    tried: list[str] = []
    for cure in cures:
        missing = _missing(attempt, patience)
        if missing is None:
            return tried
        context.report(f"{cure.what}, because {missing}")
        cure.act()
        tried.append(cure.what)
    attempt(limit)
    return tried


def _missing(attempt: Callable[[float], object], patience: float) -> str | None:
    try:
        attempt(patience)
    except TimedOut as error:
        return error.evidence or error.problem
    return None
