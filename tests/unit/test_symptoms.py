"""The evidence that waits collect from GitLab, Argo CD and Kubernetes, and the causes that are found in it."""

from __future__ import annotations

import copy

import pytest
from world import CONFIG, EVENTS, HOOK_EVENTS, POD, SHA, P, world

from lab import symptoms
from lab.causes import diagnose
from lab.doors import Doors


@pytest.fixture
def made(tmp_path):
    with world(tmp_path) as built:
        yield built


@pytest.fixture
def doors(made):
    return Doors.open(made.endpoints, made.settings)


def codes(evidence) -> list[str]:
    return [found.code for found in diagnose(evidence)]


def pending(made, *tags: str) -> None:
    """A pipeline whose first job waits for a runner."""
    made.pipeline("pending")
    job = {"id": 1, "name": "build", "stage": "build", "status": "pending", "tag_list": list(tags)}
    made.gitlab.on("GET", f"{P}/pipelines/7/jobs", (200, [job]))


def runner(made, *tags: str, untagged: bool = True, contacted: str | None = None, paused: bool = False) -> None:
    row = {"id": 3, "tag_list": list(tags), "run_untagged": untagged, "contacted_at": contacted, "paused": paused}
    made.gitlab.on("GET", "/api/v4/runners/3", (200, row))


def test_a_healthy_lab_shows_no_cause(doors):
    assert codes(symptoms.of_commit(doors.forge, SHA, "master")) == []
    assert codes(symptoms.of_webhook(doors, CONFIG)) == []
    assert codes(symptoms.of_deployment(doors)) == []
    assert codes(symptoms.of_runner(doors.forge)) == []


def test_the_log_of_a_job_that_failed(made, doors):
    made.pipeline("failed", trace="$ git push\nremote: You are not allowed to upload code.\n")
    (found,) = diagnose(symptoms.of_commit(doors.forge, SHA, "master"))
    assert found.code == "LAB-PUSH-01"
    assert found.evidence == "job build: remote: You are not allowed to upload code."


def test_a_file_that_gitlab_does_not_accept(made, doors):
    errors = "jobs:build:services:service config contains unknown keys: privileged"
    made.gitlab.on("GET", f"{P}/pipelines/7", (200, {"id": 7, "status": "failed", "yaml_errors": errors}))
    assert codes(symptoms.of_pipeline(doors.forge, 7)) == ["LAB-CI-01"]


def test_a_commit_without_a_pipeline_shows_nothing(made, doors):
    made.gitlab.on("GET", f"{P}/pipelines", (200, []))
    assert symptoms.of_commit(doors.forge, SHA, "master") == []


def test_a_job_whose_tags_no_runner_has(made, doors):
    pending(made, "gpu", "big")
    runner(made, "docker", contacted="2126-01-01T00:00:00Z")
    (found,) = diagnose(symptoms.of_pipeline(doors.forge, 7))
    assert found.code == "LAB-RUNNER-08"
    assert found.line == "job build wants tags big, gpu, which no runner has"


def test_a_job_without_tags_that_no_runner_takes(made, doors):
    pending(made)
    runner(made, "docker", untagged=False, contacted="2126-01-01T00:00:00Z")
    assert codes(symptoms.of_pipeline(doors.forge, 7)) == ["LAB-RUNNER-08"]


@pytest.mark.parametrize("contacted", [None, "2026-01-01T00:00:00.000Z"])
def test_a_job_whose_runner_is_silent(made, doors, contacted):
    pending(made, "docker")
    runner(made, "docker", "more", contacted=contacted)
    assert codes(symptoms.of_pipeline(doors.forge, 7)) == ["LAB-RUNNER-06"]
    assert codes(symptoms.of_runner(doors.forge)) == ["LAB-RUNNER-06"]


def test_a_job_whose_only_runner_is_paused(made, doors):
    pending(made, "docker")
    runner(made, "docker", contacted="2126-01-01T00:00:00Z", paused=True)
    assert codes(symptoms.of_pipeline(doors.forge, 7)) == ["LAB-RUNNER-06"]


def test_a_job_that_will_be_taken_in_a_moment_shows_nothing(made, doors):
    pending(made, "docker")
    runner(made, "docker", contacted="2126-01-01T00:00:00Z")
    assert symptoms.of_pipeline(doors.forge, 7) == []


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        ("400", "Webhook processing failed", "LAB-HOOK-14"),
        ("400", "Unknown webhook event", "LAB-HOOK-15"),
        ("internal error", "", "LAB-HOOK-13"),
        ("307", "", "LAB-HOOK-16"),
    ],
)
def test_a_delivery_that_was_not_accepted(made, doors, status, body, code):
    made.delivery(status, body=body)
    assert codes(symptoms.of_webhook(doors, CONFIG)) == [code]
    assert codes(symptoms.of_webhook(doors)) == [code]
    assert symptoms.of_webhook(doors, SHA) == [], "that push has no delivery"


def test_a_hook_that_gitlab_has_switched_off(made, doors):
    row = {"id": 5, "url": made.endpoints.webhook, "alert_status": "temporarily_disabled", "disabled_until": "soon"}
    made.gitlab.on("GET", f"{P}/hooks", (200, [row]))
    assert codes(symptoms.of_webhook(doors)) == ["LAB-HOOK-17"]


def pushed(made, web_url: str, ref: str = "refs/heads/k8s-config") -> None:
    data = {
        "object_kind": "push",
        "after": CONFIG,
        "ref": ref,
        "project": {"web_url": web_url, "default_branch": "master"},
    }
    event = {"id": 9, "response_status": "200", "response_body": "", "request_data": data}
    made.gitlab.on("GET", HOOK_EVENTS, (200, [event]))


@pytest.mark.parametrize(
    "web_url",
    [
        "http://gitlab.lab.test:8929/root/hichat",
        "http://GitLab.Lab.test/root/hichat",
        "https://gitlab.lab.test/root/hichat",
    ],
)
def test_a_push_that_argocd_matches_shows_nothing(made, doors, web_url):
    pushed(made, web_url)
    assert symptoms.of_webhook(doors, CONFIG) == []


@pytest.mark.parametrize(
    ("web_url", "ref"),
    [
        ("http://172.18.0.5/root/hichat", "refs/heads/k8s-config"),
        ("http://gitlab.lab.test:8929/root/other", "refs/heads/k8s-config"),
        ("http://gitlab.lab.test:8929/root/hichat", "refs/heads/master"),
    ],
)
def test_a_push_that_argocd_took_but_does_not_match(made, doors, web_url, ref):
    pushed(made, web_url, ref)
    assert codes(symptoms.of_webhook(doors, CONFIG)) == ["LAB-HOOK-18"]


def test_what_argocd_complains_about(made, doors):
    condition = {"type": "ComparisonError", "message": "k8z: app path does not exist"}
    made.application(conditions=[condition])
    assert codes(symptoms.of_sync(doors)) == ["LAB-SYNC-08"]


def events(made, *rows: dict) -> None:
    made.kube.on("GET", EVENTS, (200, {"kind": "List", "items": list(rows)}))


def test_a_container_that_waits(made, doors):
    events(made)
    made.workload(ready=False, waiting="ImagePullBackOff")
    (found,) = diagnose(symptoms.of_pods(doors))
    assert found.code == "LAB-REG-13"
    assert found.where == "pod hichat-1"


def test_the_events_of_a_pod_tell_more_than_its_state(made, doors):
    text = "toomanyrequests: You have reached your unauthenticated pull rate limit"
    events(made, {"type": "Warning", "reason": "Failed", "message": text})
    made.workload(ready=False, waiting="ImagePullBackOff")
    assert codes(symptoms.of_pods(doors)) == ["LAB-REG-08"]


def test_events_of_a_ready_pod_are_history(made, doors):
    events(made, {"type": "Warning", "reason": "Failed", "message": "toomanyrequests: later it worked"})
    assert symptoms.of_pods(doors) == []


@pytest.mark.parametrize(("count", "found"), [(None, []), (4, []), (5, ["LAB-POD-03"])])
def test_a_probe_that_fails_while_a_program_starts_is_no_cause(made, doors, count, found):
    event = {"type": "Warning", "reason": "Unhealthy", "message": "Readiness probe failed: 503", "count": count}
    events(made, event)
    made.workload(ready=False)
    assert codes(symptoms.of_pods(doors)) == found


def test_normal_events_are_no_evidence(made, doors):
    events(made, {"type": "Normal", "reason": "Pulling", "message": "CrashLoopBackOff is only a word here"})
    made.workload(ready=False)
    assert codes(symptoms.of_pods(doors)) == []


def test_only_a_job_that_has_failed_has_the_last_word(made, doors):
    text = "denied: requested access to the resource is denied"
    made.pipeline("running", trace=text)
    (running,) = symptoms.of_pipeline(doors.forge, 7)
    made.pipeline("failed", trace=text)
    (failed,) = symptoms.of_pipeline(doors.forge, 7)
    assert (running.final, failed.final) == (False, True)


def test_a_job_that_may_fail_is_no_evidence(made, doors):
    made.pipeline("running", trace="denied: requested access to the resource is denied")
    jobs = [{"id": 1, "name": "build", "stage": "build", "status": "failed", "allow_failure": True}]
    made.gitlab.on("GET", f"{P}/pipelines/7/jobs", (200, jobs))
    assert [item.kind for item in symptoms.of_pipeline(doors.forge, 7)] == []


def test_pods_of_an_older_template_are_history(made, doors):
    events(made)
    made.workload(ready=False, waiting="ImagePullBackOff")
    old = copy.deepcopy(made.objects.stored[POD])
    old["spec"]["containers"][0]["image"] = "gitlab.lab.test:5050/root/hichat:0000000"
    made.objects.put(POD, old)
    assert symptoms.of_pods(doors) == []
