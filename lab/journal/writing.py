"""Writes the journal of one run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from lab import __version__
from lab.errors import Interrupted, LabError, defect
from lab.journal.reading import FOLDER
from lab.masking import Mask
from lab.model import Hop
from lab.plan import Event, Step, order
from lab.settings import Settings
from lab.state import State

KEPT = 50
"""Journals that are kept."""
KEPT_BYTES = 20 << 20
"""Of all journals together."""
LONGEST = 2 << 20
"""Bytes after which a journal holds only starts and ends; a wait may observe something new for hours."""
_EVERY = 1.0
"""Seconds between two lines about a step's progress in bytes."""
_WORDS = frozenset(("detail", "title", "evidence", "problem", "hint", "text"))
"""Fields with words of other systems; the others are the lab's own names and numbers."""


class Journal:
    """One run's journal; safe to share between threads."""

    def __init__(self, file: TextIO | None, mask: Callable[[str], str] = str) -> None:
        self._file, self._mask = file, mask
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._written = 0
        self._progressed: dict[str, float] = {}

    def write(self, kind: str, *, vital: bool = True, **fields: Any) -> None:
        """Add a line; one that is not ``vital`` is left out of a journal that has grown long."""
        with self._lock:
            if self._file is None or (self._written > LONGEST and not vital):
                return
            at = {"at": round(time.monotonic() - self._began, 4), "wall": round(time.time(), 3)}
            line = _masked({"type": kind, **at, **fields}, self._mask)
            try:
                self._written += self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self._file.flush()
            except (OSError, ValueError):  # no space, or already closed by a second Ctrl-C
                self._file = None

    def plan(self, steps: Sequence[Step], parallel: int) -> None:
        """The steps of a run, before it begins."""
        rows = [{"step": step.name, "title": step.title, "needs": list(step.needs)} for step in order(steps)]
        self.write("plan", parallel=parallel, steps=rows)

    def event(self, event: Event) -> None:
        """Progress of a plan, for `plan.run`."""
        name, outcome = event.step.name, event.outcome
        fields: dict[str, Any] = {"step": name, "event": event.kind, "detail": event.detail}
        if event.kind == "progress":
            now = time.monotonic()
            if now - self._progressed.get(name, -_EVERY) < _EVERY:
                return
            self._progressed[name] = now
            fields |= {"done": event.done, "total": event.total}
        if outcome:
            fields |= {"state": outcome.state, "seconds": round(outcome.seconds, 4)}
            fields |= {"error": _error(outcome.error)} if outcome.error else {}
        self.write("step", vital=event.kind in ("started", "ended"), **fields)

    def hop(self, hop: Hop) -> None:
        """A hop of the loop as it arrives."""
        self.write("hop", **{**dataclasses.asdict(hop), "seconds": round(hop.seconds, 4)})

    def note(self, text: str) -> None:
        """What a task without steps waits for, or has done."""
        self.write("note", vital=False, text=text)

    def end(self, error: LabError | None = None) -> None:
        """How the run ended."""
        outcome = "done" if error is None else "interrupted" if isinstance(error, Interrupted) else "failed"
        fields: dict[str, Any] = {"error": _error(error)} if error else {}
        self.write("end", outcome=outcome, exit_code=error.exit_code if error else 0, **fields)


@contextmanager
def recording(state: State, task: str, *, engine: str, settings: Settings) -> Iterator[Journal]:
    """Keep a journal of what happens in this block, and how the block ends; old journals go first."""
    file = None
    with contextlib.suppress(OSError):
        file = _create(state.path(FOLDER), task)
    with file or contextlib.nullcontext():
        journal = Journal(file, Secrets(state, settings))
        journal.write("run", **_header(task, engine, settings))
        try:
            yield journal
        except LabError as error:
            journal.end(error)
            raise
        except Exception as error:
            journal.end(defect(error))
            raise
        except BaseException:
            journal.end(Interrupted())
            raise
        journal.end()


class Secrets:
    """A mask that knows each secret of the lab from the moment at which it is written."""

    def __init__(self, state: State, settings: Settings) -> None:
        self._state, self._variables = state, list(settings.project.variables.values())
        self._seen: int | None = None
        self._mask = Mask(self._variables)

    def __call__(self, text: str) -> str:
        """``text`` without secrets."""
        with contextlib.suppress(OSError):
            changed = (self._state.folder / "secrets").stat().st_mtime_ns
            if changed != self._seen:
                self._seen, self._mask = changed, Mask([*self._variables, *self._state.secrets()])
        return self._mask(text)


def _create(folder: Path, task: str) -> TextIO:
    folder.mkdir(mode=0o700, exist_ok=True)
    _prune(folder)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    path = folder / f"{stamp}-{task}-{os.getpid()}.jsonl"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace")


def _prune(folder: Path) -> None:
    """Make room for one more; names begin with their time, so that they sort by age."""
    total = 0
    for number, path in enumerate(sorted(folder.glob("*.jsonl"), reverse=True), start=2):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
            if number > KEPT or total > KEPT_BYTES:
                path.unlink()


def _header(task: str, engine: str, settings: Settings) -> dict[str, Any]:
    return {
        "format": 1,
        "task": task,
        "lab": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "engine": engine,
        "settings": digest(settings),
        "pid": os.getpid(),
        "boot": boot(),
    }


def digest(settings: Settings) -> str:
    """Tells whether two runs had the same settings; variables, which may be secrets, count by their names only."""
    names = dict.fromkeys(settings.project.variables, "")
    plain = dataclasses.replace(settings, project=dataclasses.replace(settings.project, variables=names))
    return hashlib.sha256(repr(plain).encode()).hexdigest()[:12]


def boot() -> str:
    """This start of the machine, and of its first process: a WSL distribution ends while its kernel goes on."""
    with contextlib.suppress(OSError, IndexError):
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        first = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]  # starttime, proc(5)
        return f"{kernel}/{first}"
    return ""


def _error(error: LabError) -> dict[str, str]:
    return {"code": error.code, "problem": error.problem, "evidence": error.evidence, "hint": error.hint}


def _masked(value: Any, mask: Callable[[str], str], key: str = "") -> Any:
    if isinstance(value, str):
        return mask(value) if key in _WORDS else value
    if isinstance(value, dict):
        return {name: _masked(item, mask, name) for name, item in value.items()}
    return [_masked(item, mask, key) for item in value] if isinstance(value, list) else value
