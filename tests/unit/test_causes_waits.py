"""Waits that look for known causes: rarely, once each, at once where nothing heals, and never harmed by looking."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from lab import plan, waiting
from lab.causes import Evidence, find, with_remedy
from lab.causes.watch import Watch
from lab.errors import CheckFailed, LabError, MachineError, TimedOut, UsageError
from lab.main import main
from lab.waiting import Pending, wait_until

FULL = Evidence("docker", "write: no space left on device", "Docker")
WEAK = Evidence("gitlab", "Password must not contain commonly used combinations of words and letters", "lab-gitlab")
TAKEN = Evidence("docker", "Bind for 127.0.0.1:5050 failed: port is already allocated")
QUIET = Evidence("gitlab", "gitlab Reconfigured!")


@pytest.fixture
def soon(monkeypatch):
    """The first look comes a moment after the wait began."""
    monkeypatch.setattr(Watch.__init__, "__kwdefaults__", {"first": 0.01})


def never() -> Pending:
    return Pending("not yet")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def settled(watch: Watch) -> None:
    """Until the look that was started has ended."""
    for thread in threading.enumerate():
        if thread.name == "diagnosis":
            thread.join(5)
    watch.look()


@pytest.mark.usefixtures("soon")
def test_a_cause_that_cannot_heal_ends_the_wait_at_once():
    began = time.monotonic()
    with pytest.raises(CheckFailed) as caught:
        wait_until("GitLab to boot", never, timeout=60, diagnose=lambda: [WEAK])
    assert time.monotonic() - began < 10
    error = caught.value
    assert error.code == "LAB-BOOT-01"
    assert error.problem == "GitLab refuses the root password as too weak and does not start."
    assert "lab-gitlab: Password must not contain" in error.evidence
    assert "Waiting longer for GitLab to boot would not help; last seen: not yet" in error.evidence
    assert "invoke explain LAB-BOOT-01" in error.hint


@pytest.mark.usefixtures("soon")
def test_where_the_machine_is_at_fault_the_exit_code_says_so():
    with pytest.raises(MachineError) as caught:
        wait_until("the container", never, timeout=60, diagnose=lambda: [TAKEN])
    assert caught.value.exit_code == 3
    assert caught.value.code == "LAB-PORT-01"


@pytest.mark.usefixtures("soon")
def test_a_cause_that_may_heal_is_told_once_and_the_wait_goes_on():
    told: list[str] = []
    looked = threading.Event()

    def gather() -> list[Evidence]:
        looked.set()
        return [FULL, FULL]

    def probe() -> str | Pending:
        return "there" if told and looked.is_set() else Pending("not yet")

    answer = wait_until("it", probe, timeout=30, diagnose=gather, diagnosed=lambda found: told.append(found.code))
    assert answer == "there"
    assert told == ["LAB-HOST-03"]


def test_a_wait_that_ends_soon_never_asks():
    asked: list[int] = []
    answers = iter([Pending("a"), Pending("b"), "there"])

    def gather() -> list[Evidence]:
        asked.append(1)
        return []

    assert wait_until("it", lambda: next(answers), timeout=10, interval=0.001, diagnose=gather) == "there"
    assert asked == []


def test_a_time_out_carries_the_causes_with_their_remedies():
    told: list[str] = []
    with pytest.raises(TimedOut) as caught:
        wait_until(
            "it", never, timeout=0, hint="invoke status", diagnose=lambda: [FULL, QUIET],
            diagnosed=lambda found: told.append(found.code),
        )  # fmt: skip
    error = caught.value
    assert error.code == "LAB-TIME-01"
    assert error.evidence.splitlines() == [
        "last seen: not yet",
        "LAB-HOST-03: The disk is full. (Docker: write: no space left on device)",
    ]
    assert error.hint.splitlines() == [
        "Free disk space and run invoke up again. (invoke explain LAB-HOST-03)",
        "invoke status",
    ]
    assert told == ["LAB-HOST-03"], "what is normal is not told"


def broken() -> list[Evidence]:
    raise LabError("LAB-X-01", "GitLab does not answer.")


def nonsense() -> list[Evidence]:
    return [Evidence("no such kind", "x")]


@pytest.mark.parametrize("gather", [broken, nonsense, lambda: 1 / 0])
def test_evidence_that_cannot_be_had_does_not_harm_the_wait(gather):
    with pytest.raises(TimedOut) as caught:
        wait_until("it", never, timeout=0, diagnose=gather)
    assert caught.value.evidence == "last seen: not yet"


def test_what_came_before_an_outage_counts():
    def gather() -> Iterator[Evidence]:
        yield FULL
        raise LabError("LAB-KUBE-02", "Kubernetes does not answer.")

    with pytest.raises(TimedOut) as caught:
        wait_until("it", never, timeout=0, diagnose=gather)
    assert "LAB-HOST-03" in caught.value.evidence


def test_evidence_that_never_comes_delays_the_end_by_no_more_than_its_bound(monkeypatch):
    monkeypatch.setattr(waiting, "_LAST_LOOK", 0.05)
    release = threading.Event()

    def gather() -> list[Evidence]:
        release.wait(30)
        return []

    began = time.monotonic()
    try:
        with pytest.raises(TimedOut):
            wait_until("it", never, timeout=0, diagnose=gather)
        assert time.monotonic() - began < 5
    finally:
        release.set()


def test_looks_are_rare_and_grow_rarer():
    clock, asked = Clock(), []

    def gather() -> list[Evidence]:
        asked.append(clock.now)
        return []

    watch = Watch(gather, None, clock)
    for tenth in range(600):
        clock.now = tenth / 10
        watch.look()
        settled(watch)
    assert asked[0] == pytest.approx(1, abs=0.2)
    assert len(asked) < 10
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert max(pauses) < 16


def test_one_look_at_a_time():
    clock, running, release = Clock(), [], threading.Event()

    def gather() -> list[Evidence]:
        running.append(1)
        release.wait(10)
        return []

    watch = Watch(gather, None, clock)
    for second in range(100):
        clock.now = float(second)
        watch.look()
    release.set()
    settled(watch)
    assert len(running) == 1


def test_a_plan_tells_a_cause_as_an_event():
    events: list[plan.Event] = []

    def act(context: plan.StepContext) -> str:
        return context.wait("it", never, timeout=0, diagnose=lambda: [FULL])

    step = plan.Step("step", "Something", lambda _context: plan.Needed("it is not there"), act)
    plan.run([step], on_event=events.append)
    (event,) = [event for event in events if event.kind == "diagnosis"]
    assert event.step.name == "step"
    assert event.detail.startswith("LAB-HOST-03: The disk is full. → Free disk space")


def test_an_error_from_anywhere_gets_the_remedy_of_what_its_text_shows():
    error = LabError(
        "LAB-CMD-03", "`docker run` ended with code 125.", evidence=TAKEN.text, hint="Its words are above."
    )
    lines = with_remedy(error).hint.splitlines()
    assert lines[0] == "Its words are above."
    assert lines[1].startswith("LAB-PORT-01: A port that the lab needs is taken. →")
    assert "invoke explain LAB-PORT-01" in lines[1]


def test_an_error_of_no_known_cause_leads_to_its_own_entry():
    pull = LabError("LAB-IMAGE-14", "x has no y.", evidence="manifest unknown", hint="Check images: in lab.yaml.")
    assert with_remedy(pull).hint == "Check images: in lab.yaml.\ninvoke explain LAB-IMAGE-14"
    assert with_remedy(LabError("LAB-GIT-02", "`git fetch` failed.")).hint == "invoke explain LAB-GIT-02"


def test_a_remedy_is_not_told_twice():
    with pytest.raises(TimedOut) as caught:
        wait_until("it", never, timeout=0, diagnose=lambda: [FULL])
    before = caught.value.hint
    assert with_remedy(caught.value).hint == before
    assert with_remedy(with_remedy(LabError("LAB-CMD-03", "x", evidence=TAKEN.text))).hint.count("LAB-PORT-01:") == 1


def test_a_mistake_on_the_command_line_explains_itself():
    assert with_remedy(UsageError("LAB-FLAG-02", "--timeout takes seconds.", hint="such as 60")).hint == "such as 60"


def test_the_remedy_is_printed_with_the_error(tmp_path, capsys):
    def broken_off(_lab: object) -> None:
        raise LabError("LAB-CMD-03", "`docker run` ended with code 125.", evidence=TAKEN.text, hint="Read it.")

    assert main(broken_off, {"LAB_HOME": str(tmp_path)}) == 1
    printed = capsys.readouterr().err
    cause = find("LAB-PORT-01")
    assert cause
    assert "  → Read it.\n" in printed
    assert f"  → LAB-PORT-01: {cause.title.en} → {cause.remedy.en.splitlines()[0]}" in printed


@pytest.mark.usefixtures("soon")
def test_what_a_running_job_says_does_not_end_the_wait_but_its_failure_does():
    text = "denied: requested access to the resource is denied"
    told: list[str] = []
    ended = threading.Event()

    def gather() -> list[Evidence]:
        return [Evidence("trace", text, "job build", final=ended.is_set())]

    def probe() -> Pending:
        if told:
            ended.set()
        return Pending("not yet")

    with pytest.raises(CheckFailed) as caught:
        wait_until(
            "it", probe, timeout=60, longest=0.05, diagnose=gather, diagnosed=lambda found: told.append(found.code)
        )
    assert caught.value.code == "LAB-REG-07"
    assert ended.is_set(), "while the job ran, the wait went on"
    assert told == ["LAB-REG-07"], "told once"
