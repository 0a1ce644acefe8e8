"""Health of objects, and the order in which they are synced."""

from __future__ import annotations

import pytest

from lab.emulator.argocd.health import Health, aggregate, assess
from lab.emulator.argocd.ordering import Task, ordered


def obj(api, kind, *, spec=None, status=None, **meta):
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "x", "generation": 2, **meta},
        "spec": spec or {},
        "status": status or {},
    }


def deployment(spec=None, **status):
    return obj("apps/v1", "Deployment", spec={"replicas": 2, **(spec or {})}, status=status)


READY = {"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        (deployment(**READY), "Healthy", ""),
        (deployment(**{**READY, "observedGeneration": 1}), "Progressing", "observed deployment generation less"),
        (deployment(**{**READY, "updatedReplicas": 1}), "Progressing", "1 out of 2 new replicas have been updated"),
        (deployment(**{**READY, "replicas": 3}), "Progressing", "1 old replicas are pending termination"),
        (deployment(**{**READY, "availableReplicas": 1}), "Progressing", "1 of 2 updated replicas are available"),
        (deployment({"paused": True}, **READY), "Suspended", "Deployment is paused"),
        (
            deployment(**READY, conditions=[{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]),
            "Degraded",
            'Deployment "x" exceeded its progress deadline',
        ),
        (obj("apps/v1", "StatefulSet", spec={"replicas": 1}), "Progressing", "spec update to be observed"),
        (
            obj(
                "apps/v1",
                "StatefulSet",
                spec={"replicas": 1, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
                status={"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1},
            ),
            "Healthy",
            "partitioned roll out complete: 1 new pods",
        ),
        (
            obj("apps/v1", "DaemonSet", status={"observedGeneration": 2, "desiredNumberScheduled": 1}),
            "Progressing",
            "0 out of 1 new pods have been updated",
        ),
        (
            obj("apps/v1", "ReplicaSet", spec={"replicas": 1}, status={"observedGeneration": 2}),
            "Progressing",
            "0 out of 1 new replicas are available",
        ),
        (obj("v1", "Service", spec={"type": "LoadBalancer"}), "Progressing", ""),
        (obj("v1", "Service", spec={"type": "ClusterIP"}), "Healthy", ""),
        (obj("networking.k8s.io/v1", "Ingress"), "Progressing", ""),
        (
            obj("networking.k8s.io/v1", "Ingress", status={"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}),
            "Healthy",
            "",
        ),
        (obj("v1", "PersistentVolumeClaim", status={"phase": "Bound"}), "Healthy", ""),
        (obj("v1", "PersistentVolumeClaim", status={"phase": "Pending"}), "Progressing", ""),
        (obj("v1", "PersistentVolumeClaim", status={"phase": "Lost"}), "Degraded", ""),
        (obj("batch/v1", "Job"), "Progressing", ""),
        (
            obj("batch/v1", "Job", status={"conditions": [{"type": "Failed", "status": "True", "message": "no"}]}),
            "Degraded",
            "no",
        ),
        (obj("v1", "Service", deletionTimestamp="2026-11-21T04:00:00Z"), "Progressing", "Pending deletion"),
    ],
)
def test_health_of_kinds(given, status, text):
    found = assess(given)
    assert found.status == status
    assert text in found.message


def pod(phase, policy="Always", *containers, **status):
    return obj(
        "v1",
        "Pod",
        spec={"restartPolicy": policy},
        status={"phase": phase, "containerStatuses": list(containers), **status},
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            pod("Pending", "Always", {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no image"}}}),
            Health("Degraded", "no image"),
        ),
        (pod("Pending", "Always", {"state": {"waiting": {"reason": "ContainerCreating"}}}), Health("Progressing")),
        (pod("Running", conditions=[{"type": "Ready", "status": "True"}]), Health("Healthy")),
        (pod("Running", "Always", {"state": {"running": {}}}), Health("Progressing")),
        (pod("Running", "Always", {"lastState": {"terminated": {"exitCode": 1}}}), Health("Degraded")),
        (
            pod("Failed", "Never", {"name": "c", "state": {"terminated": {"exitCode": 3}}}),
            Health("Degraded", 'container "c" failed with exit code 3'),
        ),
        (pod("Succeeded", "Never"), Health("Healthy")),
    ],
)
def test_health_of_pods(given, expected):
    assert assess(given) == expected


def test_kinds_without_health():
    assert assess(obj("v1", "ConfigMap")) is None
    assert assess(obj("apps/v1beta9", "Unknown")) is None


def test_the_whole_is_as_well_as_its_worst_part_and_missing_does_not_count():
    assert aggregate([Health("Healthy"), Health("Progressing"), Health("Suspended")]) == "Progressing"
    assert aggregate([Health("Degraded"), Health("Unknown")]) == "Unknown"
    assert aggregate([Health("Missing"), Health("Healthy")]) == "Healthy"
    assert aggregate([]) == "Healthy"


def target(kind, name="x", *, wave=None, namespace="", api="v1", **more):
    annotations = {} if wave is None else {"argocd.argoproj.io/sync-wave": str(wave)}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        **more,
    }


def names(tasks):
    return [f"{task.key.kind}/{task.key.name}" for task in tasks]


def test_waves_then_kinds_then_names():
    tasks = [
        Task(target("Ingress"), None),
        Task(target("Deployment", "b", api="apps/v1"), None),
        Task(target("Deployment", "a", api="apps/v1"), None),
        Task(target("Secret"), None),
        Task(target("Widget", api="example.com/v1"), None),
        Task(target("ConfigMap", "last", wave=1), None),
        Task(target("Service", "first", wave=-1), None),
    ]
    assert names(ordered(tasks)) == [
        "Service/first", "Secret/x", "Deployment/a", "Deployment/b", "Ingress/x", "Widget/x", "ConfigMap/last",
    ]  # fmt: skip


def test_a_namespace_goes_before_what_lives_in_it_whatever_its_wave():
    tasks = ordered([Task(target("Namespace", "shop", wave=5), None), Task(target("Secret", namespace="shop"), None)])
    assert names(tasks) == ["Namespace/shop", "Secret/x"]
    assert {task.wave for task in tasks} == {0}


def test_a_definition_goes_before_its_objects():
    crd = target("CustomResourceDefinition", "widgets", api="apiextensions.k8s.io/v1", wave=3)
    crd["spec"] = {"group": "example.com", "names": {"kind": "Widget"}}
    tasks = ordered([Task(crd, None), Task(target("Widget", api="example.com/v1"), None)])
    assert names(tasks) == ["CustomResourceDefinition/widgets", "Widget/x"]


def test_prunes_run_in_reverse_order_of_waves():
    tasks = ordered([Task(None, target("Secret", "early", wave=0)), Task(None, target("Secret", "late", wave=2))])
    assert names(tasks) == ["Secret/late", "Secret/early"]
    kept = ordered([Task(None, target("Secret", "old")), Task(target("Secret", "new", wave=3), None)], prune_last=True)
    assert names(kept) == ["Secret/new", "Secret/old"]
