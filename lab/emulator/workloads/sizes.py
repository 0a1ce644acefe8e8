"""The sizes of a deployment's replica sets: rolling steps, proportional scaling (deployment/rolling.go, sync.go)."""

from __future__ import annotations

from lab.emulator.workloads.cluster import REPLICA_SETS, Cluster
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.rollout import fence_posts, new_replicas, proportional, removable

COMPONENT = "deployment-controller"
DESIRED = "deployment.kubernetes.io/desired-replicas"
REVISION = "deployment.kubernetes.io/revision"
MAXIMUM = "deployment.kubernetes.io/max-replicas"


def size(replica_set: Obj) -> int:
    """Pods that the replica set is told to have."""
    return int(replica_set["spec"].get("replicas", 1))


def counted(replica_sets: list[Obj], field: str) -> int:
    """The sum of a status field."""
    return sum(int((each.get("status") or {}).get(field, 0)) for each in replica_sets)


def revision(obj: Obj) -> int:
    """The number of a revision, 0 when there is none yet."""
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def budget(deployment: Obj) -> tuple[int, int]:
    """(max surge, max unavailable) in pods; both 0 with another strategy than RollingUpdate."""
    strategy = deployment["spec"]["strategy"]
    if strategy["type"] != "RollingUpdate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    return fence_posts(
        rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%"), int(deployment["spec"]["replicas"])
    )


def size_annotations(deployment: Obj) -> dict[str, str]:
    """What the deployment's sizes were when a replica set was last looked at."""
    desired = int(deployment["spec"]["replicas"])
    return {DESIRED: str(desired), MAXIMUM: str(desired + (budget(deployment)[0] if desired else 0))}


def allowed(deployment: Obj, current: int, old: list[Obj]) -> int:
    """How large the new replica set may be now."""
    desired = int(deployment["spec"]["replicas"])
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        return desired
    return new_replicas(desired, current, current + sum(map(size, old)), budget(deployment)[0])


def is_scaling(deployment: Obj, sets: list[Obj]) -> bool:
    """Whether the deployment's size was changed since its active replica sets were last looked at."""
    desired = str(deployment["spec"]["replicas"])
    annotations = [each["metadata"].get("annotations") or {} for each in sets if size(each)]
    return any(each.get(DESIRED, desired) != desired for each in annotations)


class Sizes:
    """Sets the sizes of replica sets."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def roll(self, deployment: Obj, new: Obj, old: list[Obj]) -> None:
        """The next step of a rolling update: the new set grows, else the old ones shrink."""
        if not self.scale(deployment, new, allowed(deployment, size(new), old)):
            self._shrink(deployment, new, [each for each in old if size(each)])

    def _shrink(self, deployment: Obj, new: Obj, old: list[Obj]) -> None:
        """Take pods from old sets: first those that are not healthy, then as many as availability permits."""
        desired = int(deployment["spec"]["replicas"])
        unavailable = budget(deployment)[1]
        left = removable(
            desired=desired,
            total=sum(map(size, [new, *old])),
            new=size(new),
            new_available=counted([new], "availableReplicas"),
            max_unavailable=unavailable,
        )
        if not left:
            return
        sizes = {each["metadata"]["uid"]: size(each) for each in old}
        for each in old:
            broken = min(left, size(each) - counted([each], "availableReplicas"))
            if broken > 0:
                sizes[each["metadata"]["uid"]] -= broken
                left -= broken
        spare = counted([new, *old], "availableReplicas") - (desired - unavailable)
        for each in old:
            step = min(sizes[each["metadata"]["uid"]], spare)
            if step > 0:
                sizes[each["metadata"]["uid"]] -= step
                spare -= step
        for each in old:
            self.scale(deployment, each, sizes[each["metadata"]["uid"]])

    def scale_proportionally(self, deployment: Obj, new: Obj | None, old: list[Obj]) -> None:
        """Spread a new size of the deployment over its replica sets."""
        desired = int(deployment["spec"]["replicas"])
        active = [each for each in [*old, *([new] if new else [])] if size(each)]
        if len(active) <= 1:
            single = active[0] if active else new or (max(old, key=revision) if old else None)
            if single:
                self.scale(deployment, single, desired)
            return
        if new and size(new) == desired == counted([new], "availableReplicas"):
            for each in old:
                self.scale(deployment, each, 0)
            return
        most = desired + budget(deployment)[0] if desired else 0
        for each, count in zip(active, proportional([size(each) for each in active], most), strict=True):
            self.scale(deployment, each, count)

    def scale(self, deployment: Obj, replica_set: Obj, replicas: int) -> bool:
        """Set a replica set's size and the size annotations; returns whether the size changed."""
        fresh = self._cluster.find(REPLICA_SETS, replica_set["metadata"]["namespace"], replica_set["metadata"]["name"])
        if fresh is None:
            return False
        before = size(fresh)
        annotations = fresh["metadata"].get("annotations") or {}
        wanted = {**annotations, **size_annotations(deployment)}
        if before == replicas and wanted == annotations:
            return False
        fresh["metadata"]["annotations"] = wanted
        fresh["spec"]["replicas"] = replicas
        self._cluster.update(REPLICA_SETS, fresh)
        if before != replicas:
            verb = "up" if replicas > before else "down"
            text = f"Scaled {verb} replica set {fresh['metadata']['name']} from {before} to {replicas}"
            self._cluster.event(deployment, "Normal", "ScalingReplicaSet", text, COMPONENT)
        return before != replicas
