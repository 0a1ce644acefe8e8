from __future__ import annotations

import time

import pytest
from kube_cases import changed, deployment, pod, store_in

from lab.emulator.kube.objects import timestamp
from lab.emulator.kube.resources import BUILT_IN, Resources
from lab.emulator.kube.web.columns import columns_of
from lab.emulator.kube.web.columns.column import human


def row(group, plural, obj):
    resource = Resources().get(group, plural)
    return {one.name: one.read(obj) for one in columns_of(resource, resource.version)}


def running(**status):
    return {"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}, **status}


STATES = [
    ({"phase": "Pending"}, "0/1", "Pending"),
    ({"phase": "Running", "containerStatuses": [running()]}, "1/1", "Running"),
    (
        {
            "phase": "Running",
            "containerStatuses": [running(ready=False, state={"waiting": {"reason": "CrashLoopBackOff"}})],
        },
        "0/1",
        "CrashLoopBackOff",
    ),
    (
        {
            "phase": "Pending",
            "containerStatuses": [running(ready=False, state={"waiting": {"reason": "ErrImagePull"}})],
        },
        "0/1",
        "ErrImagePull",
    ),
    (
        {
            "phase": "Succeeded",
            "containerStatuses": [running(ready=False, state={"terminated": {"reason": "Completed"}})],
        },
        "0/1",
        "Completed",
    ),
    (
        {"phase": "Failed", "containerStatuses": [running(ready=False, state={"terminated": {"exitCode": 3}})]},
        "0/1",
        "ExitCode:3",
    ),
    ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
]


@pytest.mark.parametrize(("status", "ready", "word"), STATES, ids=[one[2] for one in STATES])
def test_a_pods_state_in_a_word(status, ready, word):
    found = row("", "pods", {**pod(), "status": status})
    assert (found["Ready"], found["Status"]) == (ready, word)


def test_a_pod_that_initializes_or_ends():
    body = changed(pod(), "spec.initContainers", [{"name": "init", "image": "x"}])
    waiting = {
        "phase": "Pending",
        "initContainerStatuses": [{"name": "init", "state": {"running": {}}, "restartCount": 0}],
    }
    assert row("", "pods", {**body, "status": waiting})["Status"] == "Init:0/1"
    ending = changed(pod(), "metadata.deletionTimestamp", timestamp())
    assert row("", "pods", {**ending, "status": {"phase": "Running"}})["Status"] == "Terminating"


def test_restarts_say_when():
    ended = {"terminated": {"finishedAt": timestamp(time.time() - 65)}}
    status = {"phase": "Running", "containerStatuses": [running(restartCount=3, lastState=ended)]}
    assert row("", "pods", {**pod(), "status": status})["Restarts"] == "3 (65s ago)"


def test_deployments_and_services():
    status = {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}
    found = row("apps", "deployments", {**deployment(replicas=2), "status": status})
    assert (found["Ready"], found["Up-to-date"], found["Available"]) == ("1/2", 2, 1)
    assert (found["Containers"], found["Images"], found["Selector"]) == ("main", "nginx:1", "app=web")
    service = {
        "metadata": {"name": "s"},
        "spec": {
            "type": "NodePort",
            "clusterIP": "10.43.0.9",
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        },
    }
    found = row("", "services", service)
    assert (found["Type"], found["Cluster-IP"], found["Port(s)"]) == ("NodePort", "10.43.0.9", "80:30080/TCP,53/UDP")


def test_events_name_their_object(tmp_path):
    store = store_in(tmp_path)
    store.record_event(store.create("", "pods", pod()), "Normal", "Pulled", "done", "kubelet")
    (event,) = store.list("", "events")
    found = row("", "events", event)
    assert (found["Type"], found["Reason"], found["Object"], found["Message"]) == ("Normal", "Pulled", "pod/p", "done")
    assert found["Source"] == "kubelet, lab"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (10800, "3h"), (10860, "3h1m"), (86400, "24h"),
     (172800, "2d"), (180000, "2d2h"), (864000, "10d"), (63072000, "2y"), (-5, "<invalid>")],
)  # fmt: skip
def test_durations(seconds, text):
    assert human(seconds) == text


@pytest.mark.parametrize("resource", BUILT_IN, ids=[one.qualified for one in BUILT_IN])
def test_every_kind_prints_an_almost_empty_object(resource):
    bare = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}}
    cells = [one.read(bare) for one in columns_of(resource, resource.version)]
    assert "x" in [str(cell) for cell in cells]
