"""The journey of one push: T0 push, T1 image, T2 config branch, T3 webhook, T4 sync, T5 a pod that answers.

Each hop is waited for, timed and shown with its evidence. A hop that does not come ends the journey with its name, what
was seen instead, and the next thing to try.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

from lab import git, pipeline, symptoms
from lab.causes import Diagnosis, Gather
from lab.doors import Doors
from lab.errors import CheckFailed, LabError, TimedOut, UsageError
from lab.forge import Forge
from lab.hops import Looks, Seen
from lab.model import Endpoints, Hop
from lab.remote import RemoteError, patient
from lab.settings import Settings
from lab.state import State
from lab.waiting import Pending, wait_until

SMOKE_FILE = ".lab-smoke"
SMOKER = git.Person("lab-smoke", "lab-smoke@lab.test")
_INTERVAL, _LONGEST = 0.05, 0.1
_TITLES = {
    "T0": "Push",
    "T1": "Image built and pushed under three tags",
    "T2": "Tag committed to the config branch",
    "T3": "Webhook woke Argo CD",
    "T4": "Argo CD synced",
    "T5": "New pod Ready and answering",
}
_HINTS = {
    "T0": "Push to the code branch: invoke clone, commit, git push.",
    "T1": "invoke logs pipeline; invoke verify --only runner.alive",
    "T2": "invoke logs pipeline; invoke verify --only branch.config-sha",
    "T3": "invoke verify --only hook.delivered --only app.repository",
    "T4": "kubectl -n argocd describe application; invoke verify --only app.synced",
    "T5": "invoke logs app; kubectl describe pods; invoke verify --only pod.image",
}


def follow(
    endpoints: Endpoints,
    settings: Settings,
    _state: State,
    sha: str | None,
    *,
    timeout: float,
    stop: threading.Event,
    on_hop: Callable[[Hop], None],
    report: Callable[[str], None],
    diagnosed: Callable[[Diagnosis], None] | None = None,
) -> list[Hop]:
    """Follow a commit of the code branch, or the next push to it, to the pod that runs it.

    Args:
        endpoints: where the lab answers.
        settings: of this lab.
        sha: a commit (abbreviated or by name is fine); None waits for the next push.
        timeout: seconds for the whole journey, from the push on.
        stop: ends the wait.
        on_hop: told each hop when it has come.
        report: told what is seen while a hop has not come yet.
        diagnosed: told each known cause that keeps a hop from coming.

    Raises:
        CheckFailed: a hop can not come any more.
        TimedOut: a hop did not come in time.
        UsageError: there is no such commit.
    """
    journey = _Journey(Doors.open(endpoints, settings), timeout, stop, on_hop, report, diagnosed=diagnosed)
    if sha is None:
        return journey.travel(journey.next_push(), "pushed just now", past=True)
    found = journey.doors.forge.commit(sha)
    if found is None:
        raise UsageError("LAB-FOLLOW-01", f"{settings.project.path} has no commit {sha}.", hint="git log, git push")
    return journey.travel(str(found["id"]), str(found.get("title", "")), past=True)


def smoke(
    endpoints: Endpoints,
    settings: Settings,
    _state: State,
    *,
    message: str,
    timeout: float,
    stop: threading.Event,
    on_hop: Callable[[Hop], None],
    report: Callable[[str], None],
    diagnosed: Callable[[Diagnosis], None] | None = None,
) -> list[Hop]:
    """Push a commit that changes one marker file on the code branch, and `follow` it; same errors."""
    journey = _Journey(Doors.open(endpoints, settings), timeout, stop, on_hop, report, diagnosed=diagnosed)
    text = message or "test: smoke"
    marker = {SMOKE_FILE: f"{datetime.now(timezone.utc).isoformat()} {text}\n"}
    remote = git.as_root(endpoints, settings.project.path)
    sha = git.append(remote, settings.project.branch, text, SMOKER, marker)
    return journey.travel(sha, f"{text!r} by {SMOKER.name}")


class _Journey:
    """The state of one journey: its clock and the hops that have come."""

    def __init__(
        self,
        doors: Doors,
        timeout: float,
        stop: threading.Event,
        on_hop: Callable[[Hop], None],
        report: Callable[[str], None],
        *,
        diagnosed: Callable[[Diagnosis], None] | None = None,
    ) -> None:
        self.doors = doors
        self.project = doors.settings.project
        self._looks = Looks(doors)
        self._timeout = timeout
        self._stop, self._on_hop, self._report, self._diagnosed = stop, on_hop, report, diagnosed
        self._last = time.time()
        self._deadline = time.monotonic() + timeout
        self._past = False
        self.hops: list[Hop] = []

    @property
    def forge(self) -> Forge:
        return self.doors.forge

    def next_push(self) -> str:
        """Wait, as long as it takes, until the code branch moves.

        A push that is on its way already counts: who types `git push` and then `invoke follow` means that one.
        """
        before = self.forge.head(self.project.branch)
        if before and self._looks.under_way(before):
            return before

        def moved() -> str | Pending:
            now = self.forge.head(self.project.branch)
            return now if now and now != before else Pending(f"{self.project.branch} is at {(now or 'nothing')[:8]}")

        sha = wait_until(
            f"a push to {self.project.branch}", patient(moved), timeout=float(60 * 60 * 24),
            longest=0.25, stop=self._stop, report=self._report, hint=_HINTS["T0"],
        )  # fmt: skip
        self._last, self._deadline = time.time(), time.monotonic() + self._timeout
        return sha

    def travel(self, sha: str, about: str, *, past: bool = False) -> list[Hop]:
        """All hops of a commit."""
        self._past = past
        if past:
            row = pipeline.of_commit(self.forge, sha, self.project.branch)
            made = pipeline.created(row) if row else None
            self._last = min(made or self._last, self._last)
        self._came("T0", Seen(f"{sha[:8]} {about}", at=self._last if past else None))
        looks, failed = self._looks, lambda: self._looks.pipeline_evidence(sha)
        build = functools.partial(symptoms.of_commit, self.forge, sha, self.project.branch)
        self._wait("T1", lambda: looks.image(sha), failed, build)
        config = self._wait("T2", lambda: looks.config_commit(sha), failed, build).what
        wake = functools.partial(symptoms.of_webhook, self.doors, config)
        self._wait("T3", lambda: looks.woken(config), looks.argocd_evidence, wake)
        sync, pods = (functools.partial(gather, self.doors) for gather in (symptoms.of_sync, symptoms.of_pods))
        self._wait("T4", lambda: looks.synced(config, sha), looks.argocd_evidence, sync)
        self._wait("T5", lambda: looks.answering(sha), self.doors.application.report, pods)
        return self.hops

    def _came(self, name: str, seen: Seen) -> None:
        at = min(seen.at or time.time(), time.time())
        self.hops.append(Hop(name, _TITLES[name], max(0.0, at - self._last), seen.evidence))
        self._last = max(at, self._last)
        self._on_hop(self.hops[-1])

    def _wait(
        self, name: str, probe: Callable[[], Seen | Pending], evidence: Callable[[], list[str]], diagnose: Gather
    ) -> Seen:
        """Wait for a hop; an error names it, and carries what the systems say about it."""
        looks = 0

        def look() -> Seen | Pending:
            nonlocal looks
            looks += 1
            return probe()

        try:
            seen = wait_until(
                f"{name}: {_TITLES[name]}", patient(look), timeout=max(0.0, self._deadline - time.monotonic()),
                interval=_INTERVAL, longest=_LONGEST, stop=self._stop, hint=_HINTS[name],
                report=lambda seen: self._report(f"{name} {_TITLES[name]}: {seen}"),
                diagnose=diagnose, diagnosed=self._diagnosed,
            )  # fmt: skip
        except (CheckFailed, TimedOut) as error:
            raise self._missing(name, error, evidence) from error
        # What was there at the first look came earlier: then, and only then, the systems' clocks know better than ours.
        at = (seen.at or self._last) if self._past and looks == 1 else None
        self._came(name, Seen(seen.evidence, at, seen.what))
        return seen

    def _missing(self, name: str, error: LabError, evidence: Callable[[], list[str]]) -> LabError:
        lines = [f"{error.problem} [{error.code}]", error.evidence]
        if isinstance(error, TimedOut):
            try:
                lines = [error.evidence, *evidence()]
            except RemoteError as lost:
                lines.append(str(lost))
        kind = type(error)
        hint = "\n".join(dict.fromkeys([*error.hint.splitlines(), _HINTS[name]]))
        return kind(
            f"LAB-FOLLOW-{name}",
            f"{name} did not come: {_TITLES[name]}.",
            evidence="\n".join(line for line in lines if line),
            hint=hint,
        )
