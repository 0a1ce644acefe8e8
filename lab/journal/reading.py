"""Reads journals, also those of runs that were killed; what is damaged is left out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FOLDER = "journal"
"""Below .lab/."""
UNFINISHED = "unfinished"
_MOST = 8 << 20
"""Bytes of a file that are read; the lab itself writes less."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Span:
    """A step, or a hop of the loop, in time; seconds since its run began."""

    name: str
    title: str
    needs: tuple[str, ...]
    start: float
    end: float
    state: str
    """As in `plan.Outcome`; ``unfinished`` when the run was killed meanwhile."""
    detail: str = ""
    error: str = ""
    """The code of what it failed with."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True)
class Run:
    """One run of a task."""

    file: Path
    task: str
    began: float
    """Seconds since 1970."""
    engine: str
    settings: str
    """Digest of the settings."""
    boot: str
    """The start of the machine that it ran in."""
    parallel: int = 0
    """Steps that ran at the same time at most; 0 for a run without steps."""
    outcome: str = UNFINISHED
    """``done``, ``failed``, ``interrupted``, or ``unfinished``: killed, or it still runs."""
    error: str = ""
    """The problem that ended it, with its code."""
    seconds: float = 0.0
    spans: tuple[Span, ...] = ()
    """What ran, in the order of its start; steps that were never started are left out."""


def runs(folder: Path) -> Iterator[Run]:
    """The runs that have a readable journal below ``.lab/``, newest first; each is read when it is asked for."""
    for path in sorted((folder / FOLDER).glob("*.jsonl"), reverse=True):
        found = read(path)
        if found:
            yield found


def read(path: Path) -> Run | None:
    """One journal, or None when it does not even say what ran."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST).decode(errors="replace")
    except OSError:
        return None
    reader = _Reader(path)
    for line in text.splitlines():
        # What was cut by a kill, or is damaged, is left out: each line stands for itself.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            reader.take(json.loads(line))
    return reader.run()


@dataclass
class _Reader:
    """What the lines so far have said."""

    path: Path
    head: Run | None = None
    last: float = 0.0
    steps: dict[str, Document] = field(default_factory=dict)
    begun: dict[str, Span] = field(default_factory=dict)

    def take(self, line: Document) -> None:
        at = float(line["at"])
        take = {"run": self._head, "plan": self._plan, "step": self._step, "hop": self._hop, "end": self._end}
        handler = take.get(line["type"])
        if handler:
            handler(line, at)
        self.last = max(self.last, at)

    def run(self) -> Run | None:
        if self.head is None:
            return None
        spans = [replace(span, end=self.last) if span.state == UNFINISHED else span for span in self.begun.values()]
        end = self.head.seconds or max([self.last, *(span.end for span in spans)])
        return replace(self.head, seconds=end, spans=tuple(sorted(spans, key=lambda span: span.start)))

    def _head(self, line: Document, at: float) -> None:
        texts: Document = {key: str(line[key]) for key in ("task", "engine", "settings", "boot")}
        self.head = Run(self.path, began=float(line["wall"]) - at, **texts)

    def _plan(self, line: Document, _at: float) -> None:
        self.steps |= {str(row["step"]): row for row in line["steps"]}
        if self.head:
            self.head = replace(self.head, parallel=int(line["parallel"]))

    def _step(self, line: Document, at: float) -> None:
        name = str(line["step"])
        if line["event"] == "started":
            about = self.steps.get(name, {})
            needs = tuple(map(str, about.get("needs", ())))
            self.begun[name] = Span(name, str(about.get("title", name)), needs, at, at, UNFINISHED)
        elif line["event"] == "ended" and name in self.begun:
            error = str(line.get("error", {}).get("code", ""))
            ended: Document = {"end": at, "state": str(line["state"]), "detail": str(line["detail"]), "error": error}
            self.begun[name] = replace(self.begun[name], **ended)

    def _hop(self, line: Document, _at: float) -> None:
        """Hops follow each other; a journey may be told after it was made, so only their durations count."""
        name, seconds = str(line["id"]), float(line["seconds"])
        before = list(self.begun.values())[-1:]
        start = before[0].end if before else 0.0
        needs = tuple(span.name for span in before)
        texts = (str(line["title"]), needs, start, start + seconds, "done", str(line["evidence"]))
        self.begun[name] = Span(name, *texts)

    def _end(self, line: Document, at: float) -> None:
        if self.head:
            error = line.get("error")
            said = f"{error['problem']} [{error['code']}]" if error else ""
            self.head = replace(self.head, outcome=str(line["outcome"]), error=said, seconds=at)
