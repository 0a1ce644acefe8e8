from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lab import argocd, pipeline, workload
from lab.settings import Settings
from lab.waiting import Pending

Document = dict[str, Any]
SHA, OLD = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("127.0.0.1:5050/root/hichat:1a2b3c4d", "1a2b3c4d"),
        ("127.0.0.1:5050/root/hichat", ""),
        ("hichat:latest", "latest"),
        ("h:5050/a/b:t@sha256:00", "t"),
    ],
)
def test_a_port_is_no_tag(image, tag):
    assert workload.tag(image) == tag


def deployment(**status: int) -> Document:
    full = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, **status}
    return {"metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": full}


def test_rolled_out_only_when_all_numbers_agree():
    assert workload.not_rolled_out(deployment()) is None
    assert "not seen" in workload.not_rolled_out(deployment(observedGeneration=1))
    assert "updated" in workload.not_rolled_out(deployment(updatedReplicas=0))
    assert "available" in workload.not_rolled_out(deployment(availableReplicas=0))
    assert "old" in workload.not_rolled_out(deployment(replicas=2))


def pod(reason: str = "", restarts: int = 0, ready: bool = False, **metadata: str) -> Document:
    state = {"waiting": {"reason": reason, "message": "why"}} if reason else {"running": {}}
    return {
        "metadata": {"name": "p", **metadata},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"state": state, "restartCount": restarts, "image": "i"}],
        },
    }


def test_trouble_names_reason_and_restarts_but_not_a_plain_start():
    assert workload.trouble(pod("ContainerCreating")) is None
    assert workload.trouble(pod("ImagePullBackOff")) == "ImagePullBackOff: why"
    assert workload.trouble(pod("CrashLoopBackOff", 3)) == "CrashLoopBackOff, restarted 3 times: why"


def test_hopeless_is_what_time_does_not_mend():
    assert workload.hopeless(pod("InvalidImageName"))
    assert workload.hopeless(pod("CrashLoopBackOff", 2))
    assert not workload.hopeless(pod("CrashLoopBackOff", 1))
    now = datetime.now(timezone.utc)
    for age, wanted in ((5, False), (100, True)):
        made = (now - timedelta(seconds=age)).isoformat().replace("+00:00", "Z")
        assert workload.hopeless(pod("ImagePullBackOff", creationTimestamp=made)) is wanted


def start_of(app: str, available: int | None = None, **status: int) -> Document:
    """A Deployment of one pod: available since so many seconds, or still starting."""
    full = deployment(**({"availableReplicas": 0, **status} if available is None else status))
    if available is not None:
        full["status"]["conditions"] = [{"type": "Available", "status": "True", "lastTransitionTime": ago(available)}]
    full["spec"]["selector"] = {"matchLabels": {"app": app}}
    return full


def crashing(app: str, ended: int, restarts: int = 5, **metadata: str) -> Document:
    """A pod of that Deployment whose program has ended so many seconds ago."""
    made = pod("CrashLoopBackOff", restarts, creationTimestamp=ago(ended), **metadata)
    made["metadata"]["labels"] = {"app": app, "pod-template-hash": "1"}
    made["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": ago(ended)}}
    return made


def ago(seconds: int) -> str:
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def test_a_dependency_that_ends_again_and_again_is_stuck():
    lost = crashing("db", ended=1)
    assert workload.stuck([start_of("web", available=60), start_of("db")], [lost]) is lost
    assert workload.stuck([start_of("db")], [crashing("db", ended=1), crashing("db", ended=90)])["metadata"]


def test_what_may_still_come_is_not_stuck():
    """Made here and not when tests are collected: ages are told by the clock."""
    for why, deployments, pods in (
        ("it serves", [start_of("web", available=60)], [crashing("web", ended=1)]),
        ("its database still starts", [start_of("web"), start_of("db")], [crashing("web", ended=1), pod()]),
        ("the database came only now", [start_of("web"), start_of("db", available=5)], [crashing("web", ended=30)]),
        ("once is no habit", [start_of("db")], [crashing("db", ended=1, restarts=1)]),
        ("it is on its way out", [start_of("db")], [crashing("db", ended=1, deletionTimestamp="now")]),
        ("the pod is of an older template", [start_of("db", observedGeneration=1)], [crashing("db", ended=1)]),
        ("the new pod does not exist yet", [start_of("db", updatedReplicas=0)], [crashing("db", ended=1)]),
        ("it is somebody else's pod", [start_of("db")], [crashing("other", ended=1)]),
        ("there is nothing", [], []),
    ):
        assert workload.stuck(deployments, pods) is None, why


def test_a_pod_on_its_way_out_is_not_ready():
    assert workload.ready(pod(ready=True))
    assert not workload.ready(pod(ready=True, deletionTimestamp="now"))


def app(revision: str = SHA, sync: str = "Synced", health: str = "Healthy", phase: str = "Succeeded") -> Document:
    operation = {"phase": phase, "message": "boom", "syncResult": {"revision": revision}}
    return {
        "metadata": {"name": "hichat"},
        "status": {
            "sync": {"status": sync, "revision": revision}, "health": {"status": health}, "operationState": operation,
            "history": [{"revision": OLD}, {"revision": revision}],
        },
    }  # fmt: skip


def test_synced_needs_revision_status_and_a_finished_operation():
    assert argocd.synced(app(), SHA) == app()
    for wrong in (app(revision=OLD), app(sync="OutOfSync"), app(phase="Running"), None):
        assert isinstance(argocd.synced(wrong, SHA), Pending)
    bare = app()
    del bare["status"]["operationState"]
    assert isinstance(argocd.synced(bare, SHA), Pending)


def test_a_failed_sync_is_told():
    seen = argocd.synced(app(sync="OutOfSync", phase="Failed"), SHA)
    assert "last sync Failed: boom" in seen.observation


def test_deployed_lists_newest_first_without_doubles():
    assert argocd.deployed(app()) == [SHA, OLD]


def test_templates_render_to_the_right_letters(tmp_path):
    from test_forge import endpoints

    points, settings = endpoints("http://127.0.0.1:1", tmp_path), Settings()
    wanted = argocd.application(points, settings)
    secret = argocd.repository(points, settings, "deployer", "p-w")
    assert (
        wanted["spec"]["source"]["repoURL"] == argocd.secret_value(secret, "url") == argocd.repo_url(points, settings)
    )
    assert wanted["spec"]["source"]["directory"]["exclude"].startswith("{argocd-application.yaml,")
    assert wanted["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}


def test_difference_ignores_more_and_never_shows_values():
    live = {"data": {"a": "eA==", "b": "eQ=="}, "kind": "Secret"}
    assert argocd.difference({"data": {"a": "eA=="}}, live) is None
    assert argocd.difference({"data": {"a": "c2VjcmV0"}}, live) == "data.a differs"
    assert argocd.difference({"data": {"z": "c2VjcmV0"}}, live) == "data.z is missing"
    assert argocd.difference({"data": {}}, None) == "the object is missing"


def test_a_trace_loses_colours_and_marks():
    trace = "section_start:1:build[collapsed=true]\r\x1b[0K\x1b[36;1mBuild\x1b[0;m\n\nERROR: exit code 1\n"
    assert pipeline.tail(trace) == "Build\nERROR: exit code 1"


def test_tags_have_eight_characters_and_a_slug():
    assert pipeline.tags("0123456789abcdef", "Feature/X_y") == ("01234567", "feature-x-y", "latest")


def test_a_job_that_nobody_takes_is_named():
    assert "waits for a runner" in pipeline.stuck([{"name": "build", "status": "pending", "tag_list": ["gpu"]}])
    assert pipeline.stuck([{"name": "a", "status": "running"}, {"name": "b", "status": "pending"}]) is None
