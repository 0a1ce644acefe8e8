"""Logs as lines: of the application's pod, of the last pipeline, of a file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from lab import pipeline as pipelines
from lab import workload
from lab.doors import Doors
from lab.errors import UsageError
from lab.model import Endpoints
from lab.settings import Settings

_TAIL = 200
_LOOK = 0.2
"""Seconds between two looks at a file that is followed."""


def app(endpoints: Endpoints, settings: Settings, *, follow: bool) -> Iterator[str]:
    """The log of the application's newest pod; with ``follow`` until its container ends.

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
        yield from doors.cluster.follow_logs(name, namespace, tail=_TAIL)
    else:
        yield from doors.cluster.logs(name, namespace, tail=_TAIL).splitlines()


def pipeline(endpoints: Endpoints, settings: Settings) -> Iterator[str]:
    """The traces of the newest pipeline's jobs, one after the other.

    Raises:
        UsageError: there is no pipeline yet.
    """
    forge = Doors.open(endpoints, settings).forge
    found = forge.pipelines(ref=settings.project.branch)
    if not found:
        raise UsageError("LAB-LOGS-03", "There is no pipeline yet.", hint="invoke up")
    for job in forge.jobs(found[0]["id"]):
        yield f"--- {job['name']} ({job['status']}) {job.get('web_url', '')}"
        yield from pipelines.tail(forge.trace(job["id"]), lines=10_000).splitlines()


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
