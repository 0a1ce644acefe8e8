"""Deployments: replica sets per template, rolling updates, revisions, progress (pkg/controller/deployment)."""

from __future__ import annotations

import copy

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import owner_reference
from lab.emulator.workloads.cluster import DEPLOYMENTS, PODS, REPLICA_SETS, Cluster
from lab.emulator.workloads.deployment_status import deployment_status, is_complete, with_progress
from lab.emulator.workloads.objects import Obj, terminating
from lab.emulator.workloads.queue import WorkQueue
from lab.emulator.workloads.rollout import (
    HASH_LABEL,
    fence_posts,
    new_replicas,
    proportional,
    removable,
    same_template,
    template_hash,
)

COMPONENT = "deployment-controller"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION, HISTORY, DESIRED, MAXIMUM,
}  # fmt: skip


def size(replica_set: Obj) -> int:
    """Pods that the replica set is told to have."""
    return int(replica_set["spec"].get("replicas", 1))


def _counts(replica_sets: list[Obj], field: str) -> int:
    return sum(int((each.get("status") or {}).get(field, 0)) for each in replica_sets)


def _revision(obj: Obj) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _age(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("creationTimestamp", ""), obj["metadata"]["name"]


class Deployments:
    """Moves deployments from one template to the next."""

    def __init__(self, cluster: Cluster, queue: WorkQueue) -> None:
        self._cluster = cluster
        self._queue = queue

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
        if paused or self._is_scaling(deployment, sets):
            self._scale_proportionally(deployment, new, old)
        elif new is not None:
            self._roll(deployment, new, old)
        if new is not None and not paused and is_complete(deployment, new, sets):
            self._clean_up(deployment, old)
        self._write_status(deployment, sets, progress=not self._is_scaling(deployment, sets), created=bool(created))

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
            self._scale(deployment, each, 0)
        return not active and not self._runs_old_pods(old)

    def _runs_old_pods(self, old: list[Obj]) -> bool:
        pods = [pod for each in old for pod in self._cluster.owned(PODS, each)]
        return any((pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"} for pod in pods)

    def _create(self, deployment: Obj, old: list[Obj]) -> Obj | None:
        collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
        name = f"{deployment['metadata']['name']}-{template_hash(deployment['spec']['template'], collisions)}"
        replicas = self._allowed_new(deployment, 0, old)
        candidate = self._replica_set(deployment, name, replicas, max(map(_revision, old), default=0) + 1)
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

    def _replica_set(self, deployment: Obj, name: str, replicas: int, revision: int) -> Obj:
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
                "annotations": {**self._copied(deployment), **self._sizes(deployment), REVISION: str(revision)},
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

    def _sizes(self, deployment: Obj) -> dict[str, str]:
        desired = int(deployment["spec"]["replicas"])
        return {DESIRED: str(desired), MAXIMUM: str(desired + (self._budget(deployment)[0] if desired else 0))}

    def _annotated(self, deployment: Obj, new: Obj, sets: list[Obj]) -> Obj:
        """The current replica set with the highest revision (it may be an old one that a rollback took up again)."""
        highest = max((_revision(each) for each in sets if each is not new), default=0)
        annotations = dict(new["metadata"].get("annotations") or {})
        before = dict(annotations)
        annotations.update(self._copied(deployment))
        if _revision(new) <= highest:
            if _revision(new):
                history = [each for each in annotations.get(HISTORY, "").split(",") if each]
                annotations[HISTORY] = ",".join([*history, str(_revision(new))])
            annotations[REVISION] = str(highest + 1)
        minimum = int(deployment["spec"].get("minReadySeconds") or 0)
        if annotations == before and int(new["spec"].get("minReadySeconds") or 0) == minimum:
            return new
        new["metadata"]["annotations"] = annotations
        new["spec"]["minReadySeconds"] = minimum
        return self._cluster.update(REPLICA_SETS, new)

    def _with_revision(self, deployment: Obj, new: Obj | None) -> Obj:
        if new is None or _revision(deployment) == _revision(new):
            return deployment
        deployment["metadata"].setdefault("annotations", {})[REVISION] = str(_revision(new))
        return self._cluster.update(DEPLOYMENTS, deployment)

    # --- sizes

    def _budget(self, deployment: Obj) -> tuple[int, int]:
        strategy = deployment["spec"]["strategy"]
        if strategy["type"] != "RollingUpdate":
            return 0, 0
        rolling = strategy.get("rollingUpdate") or {}
        return fence_posts(
            rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%"), int(deployment["spec"]["replicas"])
        )

    def _allowed_new(self, deployment: Obj, current: int, old: list[Obj]) -> int:
        desired = int(deployment["spec"]["replicas"])
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            return desired
        total = current + sum(map(size, old))
        return new_replicas(desired, current, total, self._budget(deployment)[0])

    def _roll(self, deployment: Obj, new: Obj, old: list[Obj]) -> None:
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            if self._may_create(deployment, old):
                self._scale(deployment, new, int(deployment["spec"]["replicas"]))
            return
        if self._scale(deployment, new, self._allowed_new(deployment, size(new), old)):
            return
        self._shrink(deployment, new, [each for each in old if size(each)])

    def _shrink(self, deployment: Obj, new: Obj, old: list[Obj]) -> None:
        """Take pods from old sets: first those that are not healthy, then as many as availability permits."""
        desired = int(deployment["spec"]["replicas"])
        unavailable = self._budget(deployment)[1]
        budget = removable(
            desired=desired,
            total=sum(map(size, [new, *old])),
            new=size(new),
            new_available=_counts([new], "availableReplicas"),
            max_unavailable=unavailable,
        )
        for each in old:
            broken = min(budget, size(each) - _counts([each], "availableReplicas"))
            if broken > 0:
                self._scale(deployment, each, size(each) - broken)
                each["spec"]["replicas"] = size(each) - broken
                budget -= broken
        spare = _counts([new, *old], "availableReplicas") - (desired - unavailable)
        for each in old:
            step = min(size(each), spare)
            if step > 0:
                self._scale(deployment, each, size(each) - step)
                spare -= step

    def _is_scaling(self, deployment: Obj, sets: list[Obj]) -> bool:
        """Whether the deployment's size was changed since its active replica sets were last looked at."""
        desired = str(deployment["spec"]["replicas"])
        annotations = [each["metadata"].get("annotations") or {} for each in sets if size(each)]
        return any(each.get(DESIRED, desired) != desired for each in annotations)

    def _scale_proportionally(self, deployment: Obj, new: Obj | None, old: list[Obj]) -> None:
        desired = int(deployment["spec"]["replicas"])
        active = [each for each in [*old, *([new] if new else [])] if size(each)]
        if len(active) <= 1:
            single = active[0] if active else new or (max(old, key=_revision) if old else None)
            if single:
                self._scale(deployment, single, desired)
            return
        if new and size(new) == desired == _counts([new], "availableReplicas"):
            for each in old:
                self._scale(deployment, each, 0)
            return
        allowed = desired + self._budget(deployment)[0] if desired else 0
        for each, count in zip(active, proportional([size(each) for each in active], allowed), strict=True):
            self._scale(deployment, each, count)

    def _scale(self, deployment: Obj, replica_set: Obj, replicas: int) -> bool:
        """Set a replica set's size and the size annotations; returns whether the size changed."""
        fresh = self._cluster.find(REPLICA_SETS, replica_set["metadata"]["namespace"], replica_set["metadata"]["name"])
        if fresh is None:
            return False
        before = size(fresh)
        annotations = fresh["metadata"].get("annotations") or {}
        wanted = {**annotations, **self._sizes(deployment)}
        if before == replicas and wanted == annotations:
            return False
        fresh["metadata"]["annotations"] = wanted
        fresh["spec"]["replicas"] = replicas
        self._cluster.update(REPLICA_SETS, fresh)
        if before != replicas:
            verb = "up" if replicas > before else "down"
            self._event(
                deployment,
                f"Scaled {verb} replica set {fresh['metadata']['name']} from {before} to {replicas}",
            )
        return before != replicas

    # --- the rest

    def _clean_up(self, deployment: Obj, old: list[Obj]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        if limit is None:
            return
        idle = [
            each
            for each in sorted(old, key=_revision)
            if not size(each) and not _counts([each], "replicas") and not terminating(each)
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
