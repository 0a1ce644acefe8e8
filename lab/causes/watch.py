"""Looks for known causes beside a wait: rarely, on a thread of its own, and never failing the wait by it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

from lab.causes.cause import Diagnosis, Evidence, Gather
from lab.causes.recognition import problems

_FIRST, _PAUSE, _LONGEST = 1.0, 3.0, 15.0
"""Seconds until the first look, between it and the second, and between looks at most."""


class Watch:
    """What one wait knows about why it is still pending."""

    def __init__(
        self,
        gather: Gather | None,
        tell: Callable[[Diagnosis], None] | None,
        clock: Callable[[], float],
        *,
        first: float = _FIRST,
    ) -> None:
        self._gather, self._tell, self._clock = gather, tell, clock
        self._due, self._pause = clock() + first, _PAUSE
        self._results: queue.SimpleQueue[list[Diagnosis]] = queue.SimpleQueue()
        self._busy = False
        self.found: dict[str, Diagnosis] = {}

    def look(self) -> Diagnosis | None:
        """Take in what was found since the last call, and look again when it is time; returns at once.

        Returns:
            A cause with which waiting longer cannot help, where one was found.
        """
        while not self._results.empty():
            self._learn(self._results.get())
        if self._gather and not self._busy and self._clock() >= self._due:
            self._start()
        return next((found for found in self.found.values() if found.hopeless), None)

    def last_look(self, patience: float) -> list[Diagnosis]:
        """Everything that was found, with one look more for which up to ``patience`` seconds are waited."""
        if self._gather:
            if not self._busy:
                self._start()
            with contextlib.suppress(queue.Empty):  # a system that does not answer: the wait's observation says it
                self._learn(self._results.get(timeout=patience))
        return list(self.found.values())

    def _start(self) -> None:
        self._busy = True
        # A daemon: evidence that never comes must keep neither the wait nor the process from ending.
        threading.Thread(target=self._work, name="diagnosis", daemon=True).start()

    def _work(self) -> None:
        seen: list[Evidence] = []
        found: list[Diagnosis] = []
        with contextlib.suppress(Exception):  # what cannot be read is no evidence; the wait sees the outage itself
            for item in self._gather() if self._gather else ():
                seen.append(item)  # noqa: PERF402 - what came before an outage counts
        with contextlib.suppress(Exception):  # a kind that does not exist is no reason to end a wait
            found = problems(seen)
        self._results.put(found)

    def _learn(self, found: list[Diagnosis]) -> None:
        self._busy = False
        self._due, self._pause = self._clock() + self._pause, min(self._pause * 1.5, _LONGEST)
        for item in found:
            new = item.code not in self.found
            if new or item.hopeless:
                self.found[item.code] = item
            if new and self._tell:
                self._tell(item)
