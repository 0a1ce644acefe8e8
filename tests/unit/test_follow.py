from __future__ import annotations

import threading

import pytest
from world import CONFIG, DEPLOYMENT, HOOK_EVENTS, SHA, P, world

from lab import follow
from lab.errors import CheckFailed, Interrupted, LabError, TimedOut, UsageError
from lab.model import Hop


@pytest.fixture
def healthy(tmp_path):
    with world(tmp_path) as made:
        yield made


def travel(made, sha: str | None = SHA[:8], timeout: float = 10, **more) -> list[Hop]:
    seen: list[Hop] = []
    options = {"stop": threading.Event(), "report": lambda _text: None, "on_hop": seen.append, **more}
    hops = follow.follow(made.endpoints, made.settings, made.state, sha, timeout=timeout, **options)
    assert options["on_hop"] != seen.append or hops == seen
    return hops


def test_a_commit_that_has_arrived_is_timed_by_the_systems_clocks(healthy):
    hops = travel(healthy)
    assert [hop.id for hop in hops] == ["T0", "T1", "T2", "T3", "T4", "T5"]
    by_id = {hop.id: hop for hop in hops}
    assert by_id["T1"].seconds == pytest.approx(2.5)
    assert by_id["T2"].seconds == pytest.approx(1.5)
    assert SHA[:8] in by_id["T1"].evidence
    assert CONFIG[:8] in by_id["T2"].evidence
    assert "hichat-1" in by_id["T5"].evidence


def test_the_next_push_is_waited_for(healthy):
    heads = iter(["0" * 40, "0" * 40])
    path = f"{P}/repository/branches/master"
    healthy.gitlab.on("GET", path, lambda _request: (200, {"commit": {"id": next(heads, SHA)}}))
    assert travel(healthy, None)[0].evidence.startswith(SHA[:8])


def test_a_push_that_is_on_its_way_already_is_joined(healthy):
    """`git push` and then `invoke follow`: the branch does not move any more."""
    healthy.pipeline("running")

    def report(text: str) -> None:
        if ": pipeline 7 running" in text:
            healthy.pipeline()

    assert travel(healthy, None, report=report)[-1].id == "T5"


def test_each_hop_is_waited_for_until_it_comes(healthy):
    """The delivery comes at the third look, the new pod a little later."""
    looks = {"hook": 0, "pod": 0}
    event = {"id": 9, "response_status": "200", "request_data": {"object_kind": "push", "after": CONFIG}}

    def events(_request):
        looks["hook"] += 1
        return 200, [event] if looks["hook"] > 2 else []

    def deployment(_request):
        looks["pod"] += 1
        healthy.workload(ready=looks["pod"] > 4)
        healthy.kube.on("GET", DEPLOYMENT, deployment)
        return 200, healthy.objects.stored[DEPLOYMENT]

    healthy.gitlab.on("GET", HOOK_EVENTS, events)
    healthy.application(revision="0" * 40)
    healthy.kube.on("GET", DEPLOYMENT, deployment)
    reported: list[str] = []

    def report(text: str) -> None:
        reported.append(text)
        if ": delivered" in text:
            healthy.application()

    assert travel(healthy, report=report)[-1].id == "T5"
    assert any(text.startswith("T3 Webhook woke Argo CD: no delivery") for text in reported)
    assert any("0 of 1 replicas available" in text for text in reported)


def missing(made, kind: type[LabError] = CheckFailed, timeout: float = 10) -> LabError:
    with pytest.raises(kind) as raised:
        travel(made, timeout=timeout)
    return raised.value


def test_a_failed_build_ends_at_t1_with_the_trace(healthy):
    healthy.pipeline("failed", trace="\x1b[0KStep 3\nDockerfile:3: RUN is not emulated\n")
    error = missing(healthy)
    assert error.code == "LAB-FOLLOW-T1"
    assert "RUN is not emulated" in error.evidence
    assert error.hint


def test_a_pipeline_that_wrote_nothing_ends_at_t2_with_its_last_words(healthy):
    healthy.gitlab.on("GET", f"{P}/repository/commits", (200, []))
    healthy.pipeline(trace="Nothing to do: k8s-config already holds something newer\n")
    error = missing(healthy)
    assert error.code == "LAB-FOLLOW-T2"
    assert "already holds" in error.evidence


def test_a_refused_webhook_ends_at_t3_at_once(healthy):
    healthy.application(revision="0" * 40)
    healthy.delivery("400", body="Webhook processing failed")
    error = missing(healthy)
    assert error.code == "LAB-FOLLOW-T3"
    assert "Webhook processing failed" in error.evidence


def test_a_webhook_that_never_comes_is_named_with_argocds_view(healthy):
    healthy.application(
        revision="0" * 40, conditions=[{"type": "ComparisonError", "message": "authentication required"}]
    )
    healthy.delivery("")
    error = missing(healthy, TimedOut, timeout=0.4)
    assert error.code == "LAB-FOLLOW-T3"
    assert "authentication required" in error.evidence
    assert "no delivery" in error.evidence


def test_a_failed_sync_ends_at_t4(healthy):
    state = {"phase": "Failed", "message": "one or more objects failed to apply", "syncResult": {"revision": CONFIG}}
    healthy.application(sync="OutOfSync", operationState=state, history=[])
    error = missing(healthy)
    assert error.code == "LAB-FOLLOW-T4"
    assert "failed to apply" in error.evidence


def test_an_app_that_crashes_ends_at_t5_with_events_and_log(healthy):
    healthy.workload(ready=False, waiting="CrashLoopBackOff", restarts=3)
    error = missing(healthy)
    assert error.code == "LAB-FOLLOW-T5"
    assert "CrashLoopBackOff" in error.evidence
    assert "Back-off restarting failed container" in error.evidence
    assert "log: Traceback: boom" in error.evidence


def test_a_first_crash_is_not_the_end(healthy):
    healthy.workload(ready=False, waiting="CrashLoopBackOff", restarts=1)
    assert missing(healthy, TimedOut, timeout=0.3).code == "LAB-FOLLOW-T5"


def test_a_gitlab_that_restarts_is_waited_for(healthy):
    answers = iter([(502, "bad gateway"), (502, "bad gateway")])
    row = {"id": 7, "status": "success", "sha": SHA}
    healthy.gitlab.on("GET", f"{P}/pipelines", lambda _request: next(answers, (200, [row])))
    reported: list[str] = []
    journey = follow._Journey(
        follow.Doors.open(healthy.endpoints, healthy.settings),
        10,
        threading.Event(),
        lambda _hop: None,
        reported.append,
    )
    assert journey.travel(SHA, "x")[-1].id == "T5"
    assert any("502" in text for text in reported)


def test_stop_ends_the_wait(healthy):
    healthy.pipeline("running")
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Interrupted):  # and not TimedOut, much later
        travel(healthy, stop=stop, timeout=30)


def test_an_unknown_commit_is_a_usage_error(healthy):
    healthy.gitlab.on("GET", f"{P}/repository/commits/nope", (404, {"message": "404 Commit Not Found"}))
    with pytest.raises(UsageError):
        travel(healthy, "nope")
