"""Deployments: replica sets per template, rolling updates, revisions, progress (pkg/controller/deployment)."""

from __future__ import annotations

import copy

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import owner_reference
from lab.emulator.workloads.cluster import DEPLOYMENTS, PODS, REPLICA_SETS, Cluster
from lab.emulator.workloads.deployment_status import deployment_status, is_complete, with_progress
from lab.emulator.workloads.objects import Obj, terminating
from lab.emulator.workloads.queue import WorkQueue
from lab.emulator.workloads.rollout import HASH_LABEL, same_template, template_hash
from lab.emulator.workloads.sizes import (
    COMPONENT,
    DESIRED,
    MAXIMUM,
    REVISION,
    Sizes,
    allowed,
    counted,
    is_scaling,
    revision,
    size,
    size_annotations,
)

HISTORY = "deployment.kubernetes.io/revision-history"
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION, HISTORY, DESIRED, MAXIMUM,
}  # fmt: skip


def _age(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("creationTimestamp", ""), obj["metadata"]["name"]


class Deployments:
    """Moves deployments from one template to the next."""

    def __init__(self, cluster: Cluster, queue: WorkQueue) -> None:
        self._cluster = cluster
        self._queue = queue
        self._sizes = Sizes(cluster)

    def reconcile(self, namespace: str, name: str) -> None:
        """Take one deployment as far as it can go now; further steps follow from the changes this makes."""
        deployment = self._cluster.find(DEPLOYMENTS, namespace, name)
        if deployment is None:
            return
        sets = sorted(self._cluster.claimed(REPLICA_SETS, deployment), key=_age)
        if terminating(deployment):
            self._write_status(deployment, sets, progress=False)
            return
        paused = bool(deployment["spec"].get("paused"))
        created = None
        new = self._current(deployment, sets)
        if new is None and not paused and self._may_create(deployment, sets):
            new, created = self._create(deployment, sets), True
            if new is None:
                return
            sets = [*sets, new]
        elif new is not None:
            new = self._annotated(deployment, new, sets)
            sets = [new if each["metadata"]["uid"] == new["metadata"]["uid"] else each for each in sets]
        deployment = self._with_revision(deployment, new)
        old = [each for each in sets if new is None or each["metadata"]["uid"] != new["metadata"]["uid"]]
        if paused or is_scaling(deployment, sets):
            self._sizes.scale_proportionally(deployment, new, old)
        elif new is not None and deployment["spec"]["strategy"]["type"] != "Recreate":
            self._sizes.roll(deployment, new, old)
        elif new is not None and self._may_create(deployment, old):
            self._sizes.scale(deployment, new, int(deployment["spec"]["replicas"]))
        if new is not None and not paused and is_complete(deployment, new, sets):
            self._clean_up(deployment, old)
        self._write_status(deployment, sets, progress=not is_scaling(deployment, sets), created=bool(created))

    # --- the replica set of the current template

    def _current(self, deployment: Obj, sets: list[Obj]) -> Obj | None:
        template = deployment["spec"]["template"]
        return next((each for each in sets if same_template(each["spec"]["template"], template)), None)

    def _may_create(self, deployment: Obj, old: list[Obj]) -> bool:
        """With strategy Recreate the new replica set waits until no pod of the old ones runs."""
        if deployment["spec"]["strategy"]["type"] != "Recreate":
            return True
        active = [each for each in old if size(each)]
        for each in active:
            self._sizes.scale(deployment, each, 0)
        return not active and not self._runs_old_pods(old)

    def _runs_old_pods(self, old: list[Obj]) -> bool:
        pods = [pod for each in old for pod in self._cluster.owned(PODS, each)]
        return any((pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"} for pod in pods)

    def _create(self, deployment: Obj, old: list[Obj]) -> Obj | None:
        collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
        name = f"{deployment['metadata']['name']}-{template_hash(deployment['spec']['template'], collisions)}"
        replicas = allowed(deployment, 0, old)
        candidate = self._replica_set(deployment, name, replicas, max(map(revision, old), default=0) + 1)
        try:
            new = self._cluster.create(REPLICA_SETS, candidate)
        except StatusError as error:
            self._creation_failed(deployment, error, collisions)
            return None
        if replicas:
            self._event(deployment, f"Scaled up replica set {name} from 0 to {replicas}")
        return new

    def _creation_failed(self, deployment: Obj, error: StatusError, collisions: int) -> None:
        status = dict(deployment.get("status") or {})
        if error.reason == "AlreadyExists":
            self._cluster.put_status(DEPLOYMENTS, deployment, {**status, "collisionCount": collisions + 1})
            return
        name = deployment["metadata"]["name"]
        text = f'Failed to create new replica set for deployment "{name}": {error.message}'
        self._cluster.event(deployment, "Warning", "ReplicaSetCreateError", text, COMPONENT)
        new = {"type": "Progressing", "status": "False", "reason": "ReplicaSetCreateError", "message": error.message}
        self._cluster.put_status(DEPLOYMENTS, deployment, with_progress(status, new))
        self._queue.add_after(("deployments", deployment["metadata"]["namespace"], name), 1.0)

    def _replica_set(self, deployment: Obj, name: str, replicas: int, number: int) -> Obj:
        spec, metadata = deployment["spec"], deployment["metadata"]
        digest = name.rpartition("-")[2]
        template = copy.deepcopy(spec["template"])
        labels = template.setdefault("metadata", {}).setdefault("labels", {})
        labels[HASH_LABEL] = digest
        selector = copy.deepcopy(spec["selector"])
        selector.setdefault("matchLabels", {})[HASH_LABEL] = digest
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": dict(labels),
                "annotations": {**self._copied(deployment), **size_annotations(deployment), REVISION: str(number)},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": replicas,
                "selector": selector,
                "template": template,
                **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            },
        }

    def _copied(self, deployment: Obj) -> dict[str, str]:
        annotations = deployment["metadata"].get("annotations") or {}
        return {key: value for key, value in annotations.items() if key not in _NOT_COPIED}

    def _annotated(self, deployment: Obj, new: Obj, sets: list[Obj]) -> Obj:
        """The current replica set with the highest revision (it may be an old one that a rollback took up again)."""
        highest = max((revision(each) for each in sets if each is not new), default=0)
        annotations = dict(new["metadata"].get("annotations") or {})
        before = dict(annotations)
        annotations.update(self._copied(deployment))
        if revision(new) <= highest:
            if revision(new):
                history = [each for each in annotations.get(HISTORY, "").split(",") if each]
                annotations[HISTORY] = ",".join([*history, str(revision(new))])
            annotations[REVISION] = str(highest + 1)
        minimum = int(deployment["spec"].get("minReadySeconds") or 0)
        if annotations == before and int(new["spec"].get("minReadySeconds") or 0) == minimum:
            return new
        new["metadata"]["annotations"] = annotations
        new["spec"]["minReadySeconds"] = minimum
        return self._cluster.update(REPLICA_SETS, new)

    def _with_revision(self, deployment: Obj, new: Obj | None) -> Obj:
        if new is None or revision(deployment) == revision(new):
            return deployment
        deployment["metadata"].setdefault("annotations", {})[REVISION] = str(revision(new))
        return self._cluster.update(DEPLOYMENTS, deployment)

    # --- the rest

    def _clean_up(self, deployment: Obj, old: list[Obj]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        if limit is None:
            return
        idle = [
            each
            for each in sorted(old, key=revision)
            if not size(each) and not counted([each], "replicas") and not terminating(each)
        ]
        for each in idle[: max(0, len(idle) - int(limit))]:
            self._cluster.delete(REPLICA_SETS, each)

    def _write_status(self, deployment: Obj, sets: list[Obj], *, progress: bool, created: bool = False) -> None:
        metadata = deployment["metadata"]
        fresh = self._cluster.find(DEPLOYMENTS, metadata["namespace"], metadata["name"])
        if fresh is None:
            return
        names = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in sets]
        current = [found for key in names if (found := self._cluster.find(REPLICA_SETS, *key))]
        new = self._current(fresh, current)
        status, wait = deployment_status(fresh, new, current, progress=progress, created=created)
        if wait is not None:
            self._queue.add_after(("deployments", metadata["namespace"], metadata["name"]), wait)
        self._cluster.put_status(DEPLOYMENTS, fresh, status)

    def _event(self, deployment: Obj, message: str) -> None:
        self._cluster.event(deployment, "Normal", "ScalingReplicaSet", message, COMPONENT)
