"""What every engine offers to the rest of the lab."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lab.model import Check, Endpoints
from lab.plan import Step


class Engine(Protocol):
    """A place where the lab runs."""

    name: str
    """``docker`` or ``embedded``."""
    about: str
    """One sentence for people: what is real here and what is not."""

    def steps(self) -> Sequence[Step]:
        """The steps that make the endpoints exist. The last one is named ``endpoints``; wiring needs it."""

    def endpoints(self) -> Endpoints:
        """Where the lab answers; valid once the step ``endpoints`` is satisfied."""

    def attach_runner(self, token: str) -> None:
        """Give the runner its authentication token (``glrt-``), which exists only after wiring made it."""

    def health(self) -> list[Check]:
        """What the engine knows about its own parts, read-only."""

    def stop(self) -> str:
        """Pause: end processes, keep everything; returns one line saying what was done."""

    def down(self) -> str:
        """Remove processes and ports, keep data; returns one line saying what was done."""

    def has_data(self) -> bool:
        """Whether it was ever started, so that there may be commits to save."""

    def purge(self) -> str:
        """Remove the data too; only after `down`."""

    def log(self, component: str) -> Path:
        """The file with a component's log; raises UsageError for an unknown one."""
