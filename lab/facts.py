"""What the checks of `verify` look at: read once, shared by threads, with one way to say that a link is broken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from lab import argocd, wiring
from lab.doors import Doors
from lab.errors import LabError
from lab.plan import Needed, StepContext
from lab.state import State
from lab.waiting import Pending

T = TypeVar("T")
Document = dict[str, Any]


class Broken(LabError):
    """A check that failed; the problem is its evidence."""

    def __init__(self, evidence: str) -> None:
        super().__init__("LAB-VER-02", evidence)


class Facts:
    """What several checks look at, asked for once; safe to share between threads."""

    def __init__(self, doors: Doors, state: State) -> None:
        self.doors = doors
        self.project = doors.settings.project
        self.state = state
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Any]] = {}
        steps = wiring.steps(lambda: doors.endpoints, doors.settings, state, _never, doors=doors)
        self._probes = {step.name: step.probe for step in steps}

    def wired(self, *names: str) -> str:
        """What the probes of these steps of `up` see; Broken when a step would have something to do."""
        seen = []
        for name in names:
            found = self._probes[name](StepContext())
            if isinstance(found, Needed):
                raise Broken(found.why)
            seen.append(getattr(found, "evidence", ""))
        return "; ".join(dict.fromkeys(seen))

    def _once(self, name: str, ask: Callable[[], T]) -> T:
        with self._lock:
            known = self._asked.get(name)
            future: Future[Any] = known or self._asked.setdefault(name, Future())
        if known is None:
            try:
                future.set_result(ask())
            except Exception as error:  # noqa: BLE001 - raised by result() in every thread that waits for it
                future.set_exception(error)
        found: T = future.result()
        return found

    def code(self) -> str:
        """The tip of the code branch."""
        head = self._once("code", lambda: self.doors.forge.head(self.project.branch))
        return there(head, f"branch {self.project.branch} does not exist")

    def config(self) -> str:
        """The tip of the config branch."""
        head = self._once("config", lambda: self.doors.forge.head(self.project.config_branch))
        return there(head, f"branch {self.project.config_branch} does not exist")

    def application(self) -> Document:
        """The Argo CD Application."""
        found = self._once("application", lambda: argocd.find(self.doors.cluster, self.doors.settings))
        return there(found, f"there is no Application {self.project.name}")

    def deployment(self) -> Document:
        """The Deployment."""
        found = self._once("deployment", self.doors.application.deployment)
        return there(found, f"there is no Deployment {self.project.deployment} in {self.project.namespace}")


def _never(_token: str) -> None:
    raise AssertionError("verify changes nothing")


def there(value: T | None, otherwise: str) -> T:
    """``value``; Broken with ``otherwise`` as evidence when there is none."""
    if value is None:
        raise Broken(otherwise)
    return value


def arrived(seen: T | Pending) -> T:
    """What was waited for; Broken with what was seen instead."""
    if isinstance(seen, Pending):
        raise Broken(seen.observation)
    return seen
