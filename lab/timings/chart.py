"""A run as a chart of bars for a terminal; every colour or symbol comes with a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime

from lab.console.layout import cut, pad
from lab.journal import Run, Span
from lab.timings.change import Change
from lab.timings.path import Link

NARROWEST, WIDEST = 60, 160
"""Columns."""
MARKS = {
    "done": ("✓", "done"),
    "satisfied": ("✓", "ok"),
    "failed": ("✗", "failed"),
    "skipped": ("-", "skipped"),
    "stopped": ("-", "stopped"),
    "unfinished": ("…", "cut off"),
}
CRITICAL, OTHER, SLOT = "█", "▒", "·"


def chart(run: Run, links: Sequence[Link], changes: Sequence[Change] | None, width: int) -> Iterator[str]:
    """The lines of a chart that is ``width`` columns wide at most."""
    width = max(NARROWEST, min(width, WIDEST))
    names = width * 3 // 10
    room = width - 12 - names - 1 - 10
    scale = length(run)
    on_path = {link.span.name: link for link in links}
    yield cut(heading(run), width)
    if run.error:
        yield cut(f"✗ ended with: {run.error}", width)
    end = f"{scale:.2f} s"
    yield f"{'':12}{'':{names}} 0 s{end:>{room - 3}}"
    for span in run.spans:
        yield _row(span, on_path.get(span.name), scale, names, room)
    yield f"◆ {CRITICAL} critical path   {OTHER} other steps   {SLOT} waits for a free slot"
    yield from (cut(line, width) for line in (*_path(links, scale), *said(changes)))


def heading(run: Run) -> str:
    """What ran, when, for how long, and how it ended."""
    when = datetime.fromtimestamp(run.began).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    at_once = f", at most {run.parallel} at once" if run.parallel else ""
    return f"{run.task} on {run.engine}, {when}, {length(run):.2f} s, {run.outcome}: {len(run.spans)} steps{at_once}"


def length(run: Run) -> float:
    """Seconds that the chart spans; more than the run took when it told of a journey that was made earlier."""
    return max([0.001, *(span.end for span in run.spans)])


def label(span: Span, room: int) -> str:
    """A step's name, and as much of its title as there is room for."""
    return cut(span.name if span.title in ("", span.name) else f"{span.name}  {span.title}", room)


def said(changes: Sequence[Change] | None) -> list[str]:
    """Changes as sentences."""
    if changes is None:
        return ["There is no earlier run on this engine to compare with."]
    return list(map(_said, changes)) or ["Nothing took clearly longer or shorter than in earlier runs."]


def _said(change: Change) -> str:
    word = "↑ slower" if change.factor >= 1 else "↓ faster"
    of = f"{change.runs} earlier run{'s' if change.runs > 1 else ''}"
    usual = f"median of {of} {change.usual:.2f} s"
    return f"{word}  {change.name}: {change.seconds:.2f} s, {usual}, {change.factor:.1f} times as long"


def why(link: Link) -> str:
    """What a step of the critical path had waited for beside what it needs."""
    return f"(waited {link.waited:.2f} s for the slot of {link.freed_by})" if link.freed_by else ""


def _row(span: Span, link: Link | None, scale: float, names: int, room: int) -> str:
    mark, word = MARKS.get(span.state, ("?", span.state))
    path = "◆" if link else " "
    name = pad(label(span, names), names)
    return f"{path} {mark} {word:<8}{name} {_bar(span, link, scale, room)}{span.seconds:8.2f} s"


def _bar(span: Span, link: Link | None, scale: float, room: int) -> str:
    def column(at: float) -> int:
        return min(room - 1, math.floor(at / scale * room))

    first, last = column(span.start), max(column(span.start) + 1, math.ceil(min(span.end, scale) / scale * room))
    ready = column(link.ready) if link and link.freed_by else first
    line = " " * min(ready, first) + SLOT * (first - ready) + (CRITICAL if link else OTHER) * (last - first)
    return f"{line:<{room}}"


def _path(links: Sequence[Link], scale: float) -> Iterator[str]:
    total = sum(link.span.seconds for link in links)
    yield f"Critical path: {total:.2f} s of {scale:.2f} s are in these {len(links)} steps, one after the other:"
    for link in links:
        share = f"{link.span.seconds / scale:.0%}"
        about = "  ".join(text for text in (link.span.name, why(link), link.span.title) if text)
        yield f"  {link.span.seconds:7.2f} s {share:>5}  {about}"
