"""What a new object of a built-in kind begins with, above all its status.

Source: the registries' strategies (pkg/registry/*/*/strategy.go, v1.33).
"""

from __future__ import annotations

from collections.abc import Callable

from lab.emulator.kube.kinds import pod_defaults
from lab.emulator.kube.objects import Object, uid_of


def apply(group: str, plural: str, obj: Object) -> None:
    """Fill in what the server sets once, when the object is created."""
    begin = _BEGINNINGS.get((group, plural))
    if begin:
        begin(obj)


def _new_pod(obj: Object) -> None:
    obj["status"] = {"phase": "Pending", "qosClass": pod_defaults.quality(obj["spec"])}


def _new_namespace(obj: Object) -> None:
    obj["spec"] = {"finalizers": ["kubernetes"]}
    obj["status"] = {"phase": "Active"}


def _pending(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}


def _load_balanced(obj: Object) -> None:
    obj["status"] = {"loadBalancer": {}}


def _empty_status(obj: Object) -> None:
    obj["status"] = {}


def _new_set(obj: Object) -> None:
    obj["status"] = {"replicas": 0}


def _new_daemon_set(obj: Object) -> None:
    obj["status"] = {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    }


def _new_stateful_set(obj: Object) -> None:
    obj["status"] = {"replicas": 0, "availableReplicas": 0}


def _new_autoscaler(obj: Object) -> None:
    obj["status"] = {"desiredReplicas": 0, "currentMetrics": None}


def _new_budget(obj: Object) -> None:
    obj["status"] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}


def _new_job(obj: Object) -> None:
    """The selector and labels by which a job finds its pods (pkg/registry/batch/job/strategy.go)."""
    obj["status"] = {}
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    uid, name = uid_of(obj), obj["metadata"]["name"]
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    labels.update({"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
                   "controller-uid": uid, "job-name": name})  # fmt: skip
    spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


_BEGINNINGS: dict[tuple[str, str], Callable[[Object], None]] = {
    ("", "pods"): _new_pod,
    ("", "namespaces"): _new_namespace,
    ("", "services"): _load_balanced,
    ("", "persistentvolumeclaims"): _pending,
    ("", "persistentvolumes"): _pending,
    ("", "replicationcontrollers"): _new_set,
    ("", "resourcequotas"): _empty_status,
    ("apps", "deployments"): _empty_status,
    ("apps", "replicasets"): _new_set,
    ("apps", "statefulsets"): _new_stateful_set,
    ("apps", "daemonsets"): _new_daemon_set,
    ("batch", "jobs"): _new_job,
    ("batch", "cronjobs"): _empty_status,
    ("networking.k8s.io", "ingresses"): _load_balanced,
    ("autoscaling", "horizontalpodautoscalers"): _new_autoscaler,
    ("policy", "poddisruptionbudgets"): _new_budget,
}
