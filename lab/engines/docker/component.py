"""What a component of the Docker engine is: a GitLab, a runner, a cluster ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lab.engines.base import LogSource
from lab.model import Check
from lab.plan import Step


class Component(Protocol):
    """One part of the lab on Docker."""

    def steps(self) -> Sequence[Step]:
        """The steps that make it run."""

    def health(self) -> Sequence[Check]:
        """What can be said about it, read-only."""

    def stop(self) -> str:
        """Pause it, keep everything; returns what was done in a few words, empty when there was nothing to do."""

    def down(self) -> str:
        """Remove its containers, keep its data; returns what was done, empty when there was nothing to do."""

    def purge(self) -> str:
        """Remove its data; only after `down`."""

    def logs(self) -> Mapping[str, LogSource]:
        """The logs that it has, by name."""
