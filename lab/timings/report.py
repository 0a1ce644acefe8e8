"""The task `timings`: the last runs with critical path and what got slower; and the chart after `up --timings`."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

from lab import files
from lab.console import Console
from lab.errors import UsageError
from lab.journal import Run, runs
from lab.timings.change import changes
from lab.timings.chart import chart
from lab.timings.page import Chapter, page
from lab.timings.path import critical

_EARLIER = 20
"""Runs that a run is compared with."""


def show(console: Console, folder: Path, *, last: str, html: str) -> None:
    """Draw the last runs that had steps or hops, the newest at the end.

    Args:
        console: shows the charts; in JSON mode one document per run (``"type": "timings"``).
        folder: `.lab/`.
        last: how many runs, as a person wrote it.
        html: a file to write instead of the charts; "" for none.

    Raises:
        UsageError: nothing has run yet, ``last`` is no number above 0, or the file cannot be written.
    """
    count = _count(last)
    known = list(itertools.islice((run for run in runs(folder) if run.spans), count + _EARLIER))
    if not known:
        raise UsageError("LAB-TIMINGS-01", "No run has left a journal here yet.", hint="invoke up")
    chapters = [_chapter(known, number) for number in reversed(range(min(count, len(known))))]
    if html:
        files.write(Path(html), page(chapters))
        console.line(
            f"{html} written: {len(chapters)} run{'s' if len(chapters) > 1 else ''}, and it needs no other file."
        )
    for chapter in chapters:
        console.document(_document(chapter))
        if not html:
            _draw(console, chapter)


def show_run(console: Console, folder: Path) -> None:
    """The chart of the newest run, for the end of `up --timings`; nothing when there is no journal."""
    known = list(itertools.islice((run for run in runs(folder) if run.spans), 1 + _EARLIER))
    if known:
        chapter = _chapter(known, 0)
        console.document(_document(chapter))
        _draw(console, chapter)


def _draw(console: Console, chapter: Chapter) -> None:
    width = shutil.get_terminal_size().columns  # 80 where there is none
    console.line()
    for line in chart(chapter.run, chapter.links, chapter.changes, width):
        console.line(line)


def _chapter(known: list[Run], number: int) -> Chapter:
    run = known[number]
    return Chapter(run, critical(run), changes(run, known[number + 1 : number + 1 + _EARLIER]))


def _count(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise UsageError("LAB-TIMINGS-02", f"--last takes a number above 0, not {text!r}.", hint="invoke timings --last 3")


def _document(chapter: Chapter) -> dict[str, Any]:
    run, links = chapter.run, {link.span.name: link for link in chapter.links}
    return {
        "type": "timings", "task": run.task, "engine": run.engine, "began": run.began, "outcome": run.outcome,
        "seconds": run.seconds, "parallel": run.parallel, "critical": list(links),
        "steps": [
            {
                "step": span.name, "start": span.start, "end": span.end, "state": span.state,
                "critical": span.name in links,
                "waited_for_slot": links[span.name].waited if span.name in links else 0.0,
            }
            for span in run.spans
        ],
        "changes": [
            {"name": change.name, "seconds": change.seconds, "usual": change.usual, "factor": change.factor,
             "runs": change.runs}
            for change in chapter.changes or ()
        ],
    }  # fmt: skip
