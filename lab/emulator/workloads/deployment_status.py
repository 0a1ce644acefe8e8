"""A deployment's status: counts, Available, Progressing with its deadline (deployment/sync.go, progress.go)."""

from __future__ import annotations

from lab.emulator.kube.objects import timestamp
from lab.emulator.workloads.objects import Obj, condition, seconds_since, with_condition
from lab.emulator.workloads.sizes import budget


def is_complete(deployment: Obj, new: Obj, sets: list[Obj]) -> bool:
    """Whether every pod is of the new template and available."""
    desired = int(deployment["spec"]["replicas"])
    status = new.get("status") or {}
    return bool(
        status.get("replicas", 0) == desired == status.get("availableReplicas", 0)
        and sum(int((each.get("status") or {}).get("replicas", 0)) for each in sets) == desired
        and status.get("observedGeneration", 0) >= new["metadata"].get("generation", 1)
    )


def with_progress(status: Obj, new: Obj) -> Obj:
    """``status`` with the Progressing condition ``new``; lastUpdateTime moves when anything in it changed."""
    old = condition({"status": status}, "Progressing")
    if old and all(old.get(key) == new[key] for key in ("status", "reason", "message")):
        return status
    return {
        **status,
        "conditions": with_condition(status.get("conditions") or [], {**new, "lastUpdateTime": timestamp()}),
    }


def deployment_status(
    deployment: Obj, new: Obj | None, sets: list[Obj], *, progress: bool, created: bool
) -> tuple[Obj, float | None]:
    """The status that follows from the replica sets, and after how many seconds the deadline wants another look.

    ``progress`` is False while the deployment is only being scaled: then Progressing stays as it is.
    """
    before = deployment.get("status") or {}
    status = _counts(deployment, new, sets)
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    status["conditions"] = _with_failure(before.get("conditions") or [], sets)
    status["conditions"] = _with_available(deployment, status)
    wait = None
    if progress:
        status, wait = _progress(deployment, before, status, new, sets, created=created)
    if not status["conditions"]:
        del status["conditions"]
    return status, wait


def _counts(deployment: Obj, new: Obj | None, sets: list[Obj]) -> Obj:
    desired = int(deployment["spec"]["replicas"])

    def total(field: str) -> int:
        return sum(int((each.get("status") or {}).get(field, 0)) for each in sets)

    available = total("availableReplicas")
    counts = {
        "replicas": total("replicas"),
        "updatedReplicas": int(((new or {}).get("status") or {}).get("replicas", 0)),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(desired, total("replicas")) - available),
    }
    generation = deployment["metadata"].get("generation", 1)
    return {"observedGeneration": generation, **{key: count for key, count in counts.items() if count}}


def _with_failure(conditions: list[Obj], sets: list[Obj]) -> list[Obj]:
    failures = [found for each in sets if (found := condition(each, "ReplicaFailure"))]
    if not failures:
        return [each for each in conditions if each["type"] != "ReplicaFailure"]
    new = {key: failures[0][key] for key in ("type", "status", "reason", "message")}
    return _with_changed(conditions, new)


def _with_available(deployment: Obj, status: Obj) -> list[Obj]:
    least = int(deployment["spec"]["replicas"]) - budget(deployment)[1]
    enough = status.get("availableReplicas", 0) >= least
    new = {
        "type": "Available",
        "status": "True" if enough else "False",
        "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    }
    return _with_changed(status["conditions"], new)


def _with_changed(conditions: list[Obj], new: Obj) -> list[Obj]:
    old = condition({"status": {"conditions": conditions}}, new["type"])
    if old and (old["status"], old.get("reason"), old.get("message")) == (new["status"], new["reason"], new["message"]):
        return conditions
    return with_condition(conditions, {**new, "lastUpdateTime": timestamp()})


def _progress(
    deployment: Obj, before: Obj, status: Obj, new: Obj | None, sets: list[Obj], *, created: bool
) -> tuple[Obj, float | None]:
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'

    def progressing(value: str, reason: str, verb: str) -> Obj:
        text = f"{subject} {verb}."
        return with_progress(status, {"type": "Progressing", "status": value, "reason": reason, "message": text})

    old = condition(deployment, "Progressing") or {}
    if deployment["spec"].get("paused"):
        return _paused(status, old), None
    if old.get("reason") == "DeploymentPaused":
        message = "Deployment is resumed"
        resumed = {"type": "Progressing", "status": "Unknown", "reason": "DeploymentResumed", "message": message}
        return with_progress(status, resumed), 0.0
    if new and is_complete(deployment, new, sets):
        return progressing("True", "NewReplicaSetAvailable", "has successfully progressed"), None
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    if deadline is None:
        return status, None
    if created:
        text = f'Created new replica set "{new["metadata"]["name"]}"' if new else ""
        made = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "message": text}
        return with_progress(status, made), float(deadline)
    if _moved(before, status):
        moved = progressing("True", "ReplicaSetUpdated", "is progressing")
        return _touched(moved), float(deadline)
    if old.get("reason") == "NewReplicaSetAvailable":  # pods of a finished rollout may come and go
        return status, None
    left = float(deadline) - seconds_since(old.get("lastUpdateTime")) if old else float(deadline)
    if left <= 0:
        return progressing("False", "ProgressDeadlineExceeded", "has timed out progressing"), None
    return status, left + 0.5


def _paused(status: Obj, old: Obj) -> Obj:
    if old.get("reason") == "ProgressDeadlineExceeded":
        return status
    message = "Deployment is paused"
    return with_progress(
        status, {"type": "Progressing", "status": "Unknown", "reason": "DeploymentPaused", "message": message}
    )


def _moved(before: Obj, after: Obj) -> bool:
    """Whether the rollout came forward: more new, ready or available pods, or fewer old ones."""
    fields = ("updatedReplicas", "readyReplicas", "availableReplicas")
    if any(after.get(field, 0) > before.get(field, 0) for field in fields):
        return True
    old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    return bool(after.get("replicas", 0) - after.get("updatedReplicas", 0) < old_before)


def _touched(status: Obj) -> Obj:
    """``status`` with a fresh lastUpdateTime on Progressing: the deadline counts from the last movement."""
    conditions = [
        {**each, "lastUpdateTime": timestamp()} if each["type"] == "Progressing" else each
        for each in status["conditions"]
    ]
    return {**status, "conditions": conditions}
