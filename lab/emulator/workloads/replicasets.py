"""ReplicaSets: as many active pods as the spec says (pkg/controller/replicaset)."""

from __future__ import annotations

import copy
from typing import Any

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import owner_reference, timestamp
from lab.emulator.workloads.cluster import PODS, REPLICA_SETS, Cluster
from lab.emulator.workloads.objects import (
    Obj,
    available_in,
    condition,
    pod_is_active,
    pod_is_ready,
    seconds_since,
    terminating,
    with_condition,
)
from lab.emulator.workloads.queue import WorkQueue

COMPONENT = "replicaset-controller"


def pod_from_template(template: Obj, owner: Obj, **metadata: Any) -> Obj:
    """A pod as a controller makes it: the template's labels, annotations and spec, managed by ``owner``."""
    given = template.get("metadata") or {}
    meta: Obj = {"namespace": owner["metadata"]["namespace"], **metadata, "ownerReferences": [owner_reference(owner)]}
    for key in ("labels", "annotations", "finalizers"):
        if given.get(key):
            meta[key] = copy.deepcopy(given[key])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": copy.deepcopy(template["spec"])}


class ReplicaSets:
    """Creates and deletes the pods of replica sets."""

    def __init__(self, cluster: Cluster, queue: WorkQueue) -> None:
        self._cluster = cluster
        self._queue = queue

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring one replica set's pods and status in line with its spec."""
        owner = self._cluster.find(REPLICA_SETS, namespace, name)
        if owner is None:
            return
        pods = self._cluster.claimed(PODS, owner)
        failure = None
        if not terminating(owner):
            failure = self._scale(owner, [pod for pod in pods if pod_is_active(pod)])
        self._status(owner, failure)

    def _scale(self, owner: Obj, pods: list[Obj]) -> StatusError | None:
        missing = int(owner["spec"].get("replicas", 1)) - len(pods)
        for pod in sorted(pods, key=_deletion_rank)[: max(0, -missing)]:
            self._cluster.delete(PODS, pod)
            self._cluster.event(
                owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}", COMPONENT
            )
        for _ in range(missing):
            try:
                made = self._cluster.create(
                    PODS,
                    pod_from_template(owner["spec"]["template"], owner, generateName=owner["metadata"]["name"] + "-"),
                )
            except StatusError as error:
                self._cluster.event(owner, "Warning", "FailedCreate", f"Error creating: {error.message}", COMPONENT)
                self._queue.add_after(("replicasets", owner["metadata"]["namespace"], owner["metadata"]["name"]), 1.0)
                return error
            self._cluster.event(
                owner, "Normal", "SuccessfulCreate", f"Created pod: {made['metadata']['name']}", COMPONENT
            )
        return None

    def _status(self, owner: Obj, failure: StatusError | None) -> None:
        namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
        fresh = self._cluster.find(REPLICA_SETS, namespace, name)
        if fresh is None:
            return
        pods = [pod for pod in self._cluster.owned(PODS, fresh) if pod_is_active(pod)]
        waits = [available_in(pod, int(fresh["spec"].get("minReadySeconds") or 0)) for pod in pods]
        soon = [wait for wait in waits if wait]
        if soon:
            self._queue.add_after(("replicasets", namespace, name), min(soon))
        labels = ((fresh["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
        counts = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(labels <= (pod["metadata"].get("labels") or {}).items() for pod in pods),
            "readyReplicas": sum(map(pod_is_ready, pods)),
            "availableReplicas": sum(wait == 0 for wait in waits),
        }
        status: Obj = {"replicas": counts["replicas"], **{key: count for key, count in counts.items() if count}}
        status["observedGeneration"] = fresh["metadata"].get("generation", 1)
        conditions = _conditions(fresh, failure)
        if conditions:
            status["conditions"] = conditions
        self._cluster.put_status(REPLICA_SETS, fresh, status)


def _conditions(owner: Obj, failure: StatusError | None) -> list[Obj]:
    before = (owner.get("status") or {}).get("conditions") or []
    if failure is None:
        return [each for each in before if each["type"] != "ReplicaFailure"]
    new = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": failure.message}
    old = condition(owner, "ReplicaFailure")
    return list(before) if old and old.get("message") == failure.message else with_condition(before, new)


def _deletion_rank(pod: Obj) -> tuple[Any, ...]:
    """Order in which pods of a too large set go (controller.ActivePodsWithRanks): the least useful first."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    ready = condition(pod, "Ready")
    cost = (metadata.get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
    restarts = max((each.get("restartCount", 0) for each in status.get("containerStatuses") or ()), default=0)
    return (
        bool(pod["spec"].get("nodeName")),
        {"Pending": 0, "Unknown": 1}.get(status.get("phase", ""), 2),
        pod_is_ready(pod),
        int(cost) if cost.lstrip("-").isdigit() else 0,
        seconds_since(ready.get("lastTransitionTime")) if ready and ready["status"] == "True" else 0,
        -restarts,
        seconds_since(metadata.get("creationTimestamp", timestamp())),
    )
