"""Build progress as BuildKit's ``--progress=plain`` prints it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Numbered steps on standard error; silent when ``quiet``."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._number = 0
        self._write("#0 building with the lab's emulated builder (no Docker engine)\n")

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step: its title, its lines, and how long it took or that it failed."""
        self._number += 1
        step = Step(self, self._number)
        began = time.monotonic()
        self._write(f"\n#{self._number} {title}\n")
        try:
            yield step
        except Exception as error:
            step.say(f"ERROR: {str(error).removeprefix('failed to solve: ')}")
            raise
        step.say(f"DONE {time.monotonic() - began:.1f}s")

    def warn(self, text: str) -> None:
        """A line that belongs to no step."""
        self._write(f" - {text}\n")

    def _write(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(text)
            sys.stderr.flush()


class Step:
    """One numbered step of the output."""

    def __init__(self, progress: Progress, number: int) -> None:
        self._progress = progress
        self._number = number

    def say(self, text: str) -> None:
        """One line under the step."""
        self._progress._write(f"#{self._number} {text}\n")  # noqa: SLF001 - the two are one thing
