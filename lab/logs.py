"""Logs as lines: of the application's pod, of the last pipeline, of a file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import pipeline as pipelines
from lab import workload
from lab.doors import Doors
from lab.errors import UsageError
from lab.forge import Forge
from lab.model import Endpoints
from lab.settings import Settings

_TAIL = 200
_WHOLE = 10_000
"""Lines of a job's trace that are shown at most."""
_ASK = 1.0
"""Seconds between two questions for more of a pipeline."""
Document = dict[str, Any]
_LOOK = 0.2
"""Seconds between two looks at a file that is followed."""


def app(endpoints: Endpoints, settings: Settings, follow: bool, stop: threading.Event) -> Iterator[str]:
    """The log of the application's newest pod; with ``follow`` until its container ends or ``stop`` is set.

    Raises:
        UsageError: nothing is deployed yet.
    """
    doors, namespace = Doors.open(endpoints, settings), settings.project.namespace
    deployment = doors.application.deployment()
    pod = workload.newest(doors.application.pods(deployment)) if deployment else None
    if pod is None:
        raise UsageError("LAB-LOGS-02", "The application has no pod.", hint="invoke status")
    name = pod["metadata"]["name"]
    if follow:
        yield from doors.cluster.follow_logs(name, namespace, tail=_TAIL, stop=stop)
    else:
        yield from doors.cluster.logs(name, namespace, tail=_TAIL).splitlines()


def pipeline(endpoints: Endpoints, settings: Settings, follow: bool, stop: threading.Event) -> Iterator[str]:
    """The traces of the newest pipeline's jobs; with ``follow`` as they grow, and later ones' until ``stop`` is set.

    Raises:
        UsageError: there is no pipeline yet, and none is waited for.
    """
    traces = _Traces(Doors.open(endpoints, settings).forge, settings.project.branch)
    found = traces.pipelines()
    if not found and not follow:
        raise UsageError("LAB-LOGS-03", "There is no pipeline yet.", hint="invoke up")
    first = int(found[0]["id"]) if found else 0
    yield from traces.news(first)
    while follow and not stop.wait(_ASK):
        yield from traces.news(first)


class _Traces:
    """What was printed of each job's trace."""

    def __init__(self, forge: Forge, branch: str) -> None:
        self._forge, self._branch = forge, branch
        self._printed: dict[int, int] = {}
        """Lines by job."""
        self._status: dict[int, str] = {}
        """Last printed status by job."""
        self._complete: set[tuple[str, int]] = set()
        """Pipelines and jobs that have nothing more to say."""

    def pipelines(self) -> list[Document]:
        """The branch's pipelines, newest first."""
        return self._forge.pipelines(ref=self._branch)

    def news(self, first: int) -> Iterator[str]:
        """What is new in every pipeline from ``first`` on, the older ones before the newer."""
        for row in reversed(self.pipelines()):
            if row["id"] >= first and ("pipeline", row["id"]) not in self._complete:
                for job in self._forge.jobs(row["id"]):
                    yield from self._job(job)
                if row["status"] in pipelines.ENDED:
                    self._complete.add(("pipeline", row["id"]))

    def _job(self, job: Document) -> Iterator[str]:
        number, status = int(job["id"]), str(job["status"])
        ended = status in pipelines.ENDED
        if ("job", number) in self._complete or status == "created":
            return
        trace = self._forge.trace(number)
        if status != self._status.get(number):
            self._status[number] = status
            yield f"--- {job['name']} ({status}) {job.get('web_url', '')}"
        whole = trace if ended else trace[: trace.rfind("\n") + 1]  # half a line is not printed
        lines = pipelines.tail(whole, lines=_WHOLE).splitlines()
        yield from lines[self._printed.get(number, 0) :]
        self._printed[number] = len(lines)
        if ended:
            self._complete.add(("job", number))


def file(path: Path, follow: bool, stop: threading.Event) -> Iterator[str]:
    """The end of a file; with ``follow`` also what is added to it until ``stop`` is set.

    Raises:
        UsageError: there is no such log yet.
    """
    try:
        opened = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise UsageError("LAB-LOGS-04", f"{path} does not exist yet.", hint="invoke up") from None
    with opened:
        yield from (line.rstrip("\n") for line in deque(opened, _TAIL))
        while follow and not stop.is_set():
            line = opened.readline()
            if line:
                yield line.rstrip("\n")
            else:
                stop.wait(_LOOK)
