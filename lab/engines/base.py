"""What every engine offers to the rest of the lab."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from lab.causes import Evidence
from lab.model import Check, Endpoints
from lab.plan import Step

LogSource = Callable[[bool, threading.Event], Iterator[str]]
"""The last lines of a log and, when the first argument is true, what is added to it until the event is set."""


class Engine(Protocol):
    """A place where the lab runs."""

    name: str
    """``docker`` or ``embedded``."""
    about: str
    """One sentence for people: what is real here and what is not."""

    forge_ready: tuple[str, ...]
    """Names of the steps after which GitLab and the registry can be used."""
    runner_ready: tuple[str, ...]
    """Names of the steps after which a runner can be attached."""
    cluster_ready: tuple[str, ...]
    """Names of the steps after which Kubernetes and Argo CD can be used."""

    def steps(self) -> Sequence[Step]:
        """The steps that make the endpoints exist."""

    def endpoints(self) -> Endpoints:
        """Where the lab answers: known at any time, though nothing may answer there yet."""

    def attach_runner(self, token: str) -> None:
        """Give the runner its authentication token (``glrt-``), which exists only after wiring made it."""

    def health(self) -> list[Check]:
        """What the engine knows about its own parts, read-only."""

    def evidence(self) -> Sequence[Evidence]:
        """What the logs of its parts say since they were started, for the known causes (`lab.causes`)."""

    def stop(self) -> str:
        """Pause: end processes, keep everything; returns one line saying what was done."""

    def down(self) -> str:
        """Remove processes and ports, keep data; returns one line saying what was done."""

    def has_data(self) -> bool:
        """Whether it was ever started, so that there may be commits to save."""

    def purge(self, *, images: bool) -> str:
        """Remove the data too, and with ``images`` the images that the lab pulled; only after `down`."""

    def logs(self) -> Mapping[str, LogSource]:
        """The components that have a log, by name."""
