"""The critical path of a run: the chain of steps that its length came from, waits for a free slot among it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.journal import Run, Span

_SLACK = 0.002
"""Seconds: a step that begins this much before another ends still comes after it; the clock is read in two threads."""


@dataclass(frozen=True)
class Link:
    """A step of the critical path."""

    span: Span
    ready: float
    """When everything it needs was there; seconds since the run began."""
    waited: float = 0.0
    """Seconds from then until a slot became free, because as many steps as may run at once were running."""
    freed_by: str = ""
    """The step whose end gave it the slot."""


def critical(run: Run) -> list[Link]:
    """The critical path, in the order of time.

    It is followed backwards from the step that ended last. Before a step comes the step it needs that ended last; or,
    if all slots were taken at that moment, the step whose end freed one.
    """
    by_name = {span.name: span for span in run.spans}
    links: list[Link] = []
    left = dict(by_name)
    span = max(run.spans, key=lambda span: span.end, default=None)
    while span and left.pop(span.name, None):
        link = _link(span, by_name, run)
        links.append(link)
        needs = [by_name[name] for name in span.needs if name in by_name]
        before = by_name.get(link.freed_by) or max(needs, key=lambda need: need.end, default=None)
        span = before if before and before.end <= span.start + _SLACK else None
    return links[::-1]


def _link(span: Span, by_name: dict[str, Span], run: Run) -> Link:
    begin = min(other.start for other in run.spans)
    ready = max([begin, *(by_name[name].end for name in span.needs if name in by_name)])
    running = [other for other in run.spans if other.start < span.start - _SLACK and other.end > ready + _SLACK]
    if not run.parallel or len(running) < run.parallel:
        return Link(span, ready)
    freeing = _last([other for other in running if other.end <= span.start + _SLACK])
    return Link(span, ready, max(0.0, span.start - ready), freeing.name) if freeing else Link(span, ready)


def _last(spans: Sequence[Span]) -> Span | None:
    return max(spans, key=lambda span: span.end, default=None)
