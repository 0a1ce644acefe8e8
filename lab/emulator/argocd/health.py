"""Health of one object, assessed as Argo CD does it (gitops-engine pkg/health)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lab.emulator.argocd.objects import annotations_of, group_version

HEALTHY, SUSPENDED, PROGRESSING = "Healthy", "Suspended", "Progressing"
MISSING, DEGRADED, UNKNOWN = "Missing", "Degraded", "Unknown"
ORDER = (HEALTHY, SUSPENDED, PROGRESSING, MISSING, DEGRADED, UNKNOWN)
IGNORE = "argocd.argoproj.io/ignore-healthcheck"


@dataclass(frozen=True)
class Health:
    """A status of `ORDER` and a sentence why, often empty."""

    status: str
    message: str = ""

    def document(self) -> dict[str, str]:
        """The form in which it stands in ``status.resources[]``."""
        return {"status": self.status, **({"message": self.message} if self.message else {})}


def worse(left: str, right: str) -> bool:
    """Whether ``right`` is a worse status than ``left``."""
    return ORDER.index(right) > ORDER.index(left)


def assess(obj: dict[str, Any]) -> Health | None:
    """The health of a live object; None for kinds that have none (Secret, ConfigMap ...)."""
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return Health(PROGRESSING, "Pending deletion")
    check = _CHECKS.get((group_version(obj)[0], str(obj.get("kind"))))
    if check is None:
        return None
    return check(obj, obj.get("spec") or {}, obj.get("status") or {})


def ignored(obj: dict[str, Any]) -> bool:
    """Whether the object asks not to count for its Application's health."""
    return annotations_of(obj).get(IGNORE) == "true"


def aggregate(parts: Iterable[Health]) -> str:
    """The worst status of ``parts``; Healthy when there are none. Missing parts do not count."""
    found = HEALTHY
    for part in parts:
        if part.status != MISSING and worse(found, part.status):
            found = part.status
    return found


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((c for c in status.get("conditions") or [] if c.get("type") == kind), {})


def _observed(obj: dict[str, Any], status: dict[str, Any]) -> bool:
    return int((obj.get("metadata") or {}).get("generation") or 0) <= int(status.get("observedGeneration") or 0)


def _deployment(obj: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> Health:
    if spec.get("paused"):
        return Health(SUSPENDED, "Deployment is paused")
    waiting = "Waiting for rollout to finish: "
    if not _observed(obj, status):
        return Health(PROGRESSING, waiting + "observed deployment generation less than desired generation")
    if _condition(status, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return Health(DEGRADED, f'Deployment "{obj["metadata"]["name"]}" exceeded its progress deadline')
    wanted, updated = spec.get("replicas"), status.get("updatedReplicas") or 0
    replicas, available = status.get("replicas") or 0, status.get("availableReplicas") or 0
    if wanted is not None and updated < wanted:
        return Health(PROGRESSING, f"{waiting}{updated} out of {wanted} new replicas have been updated...")
    if replicas > updated:
        return Health(PROGRESSING, f"{waiting}{replicas - updated} old replicas are pending termination...")
    if available < updated:
        return Health(PROGRESSING, f"{waiting}{available} of {updated} updated replicas are available...")
    return Health(HEALTHY)


def _stateful_set(obj: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> Health:
    if not status.get("observedGeneration") or not _observed(obj, status):
        return Health(PROGRESSING, "Waiting for statefulset spec update to be observed...")
    wanted, ready, updated = spec.get("replicas"), status.get("readyReplicas") or 0, status.get("updatedReplicas") or 0
    if wanted is not None and ready < wanted:
        return Health(PROGRESSING, f"Waiting for {wanted - ready} pods to be ready...")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        partition = strategy["rollingUpdate"].get("partition")
        if wanted is not None and partition is not None and updated < wanted - partition:
            return Health(
                PROGRESSING,
                f"Waiting for partitioned roll out to finish: {updated} out of {wanted - partition} "
                "new pods have been updated...",
            )
        return Health(HEALTHY, f"partitioned roll out complete: {updated} new pods have been updated...")
    if strategy.get("type") == "OnDelete":
        return Health(HEALTHY, f"statefulset has {ready} ready pods")
    target, current = status.get("updateRevision") or "", status.get("currentRevision") or ""
    if target != current:
        return Health(
            PROGRESSING, f"waiting for statefulset rolling update to complete {updated} pods at revision {target}..."
        )
    count = status.get("currentReplicas") or 0
    return Health(HEALTHY, f"statefulset rolling update complete {count} pods at revision {current}...")


def _daemon_set(obj: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> Health:
    name = obj["metadata"]["name"]
    if not _observed(obj, status):
        return Health(
            PROGRESSING,
            "Waiting for rollout to finish: observed daemon set generation less than desired generation",
        )
    updated, wanted = status.get("updatedNumberScheduled") or 0, status.get("desiredNumberScheduled") or 0
    available = status.get("numberAvailable") or 0
    if (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
        return Health(HEALTHY, f"daemon set {updated} out of {wanted} new pods have been updated")
    waiting = f'Waiting for daemon set "{name}" rollout to finish: '
    if updated < wanted:
        return Health(PROGRESSING, f"{waiting}{updated} out of {wanted} new pods have been updated...")
    if available < wanted:
        return Health(PROGRESSING, f"{waiting}{available} of {wanted} updated pods are available...")
    return Health(HEALTHY)


def _replica_set(obj: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> Health:
    waiting = "Waiting for rollout to finish: "
    if not _observed(obj, status):
        return Health(PROGRESSING, waiting + "observed replica set generation less than desired generation")
    failure = _condition(status, "ReplicaFailure")
    if failure.get("status") == "True":
        return Health(DEGRADED, str(failure.get("message", "")))
    wanted, available = spec.get("replicas"), status.get("availableReplicas") or 0
    if wanted is not None and available < wanted:
        return Health(PROGRESSING, f"{waiting}{available} out of {wanted} new replicas are available...")
    return Health(HEALTHY)


def _pod(_obj: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> Health:
    containers = status.get("containerStatuses") or []
    policy, message = spec.get("restartPolicy", "Always"), str(status.get("message") or "")
    waiting = [(c.get("state") or {}).get("waiting") or {} for c in containers]
    stuck = [w for w in waiting if _is_stuck(str(w.get("reason") or ""))]
    if policy == "Always" and stuck:
        return Health(DEGRADED, ", ".join(str(w.get("message") or "") for w in stuck))
    phase = status.get("phase")
    if phase == "Succeeded":
        return Health(HEALTHY, message)
    if phase == "Failed":
        ended = [_failure(c) for c in [*(status.get("initContainerStatuses") or []), *containers]]
        return Health(DEGRADED, message or next(filter(None, ended), ""))
    if phase == "Running" and policy == "Always":
        if _condition(status, "Ready").get("status") == "True":
            return Health(HEALTHY, message)
        if any((c.get("lastState") or {}).get("terminated") for c in containers):
            return Health(DEGRADED, message)
    return Health(PROGRESSING if phase in ("Pending", "Running") else UNKNOWN, message)


def _is_stuck(reason: str) -> bool:
    return reason.startswith("Err") or reason.endswith(("Error", "BackOff"))


def _failure(container: dict[str, Any]) -> str:
    ended = (container.get("state") or {}).get("terminated") or {}
    if ended.get("message") or ended.get("reason") == "OOMKilled":
        return str(ended.get("message") or ended["reason"])
    code = ended.get("exitCode") or 0
    return f'container "{container.get("name")}" failed with exit code {code}' if code else ""


def _service(_obj: dict[str, Any], spec: dict[str, Any], status: dict[str, Any]) -> Health:
    if spec.get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress"):
        return Health(PROGRESSING)
    return Health(HEALTHY)


def _ingress(_obj: dict[str, Any], _spec: dict[str, Any], status: dict[str, Any]) -> Health:
    return Health(HEALTHY if (status.get("loadBalancer") or {}).get("ingress") else PROGRESSING)


def _claim(_obj: dict[str, Any], _spec: dict[str, Any], status: dict[str, Any]) -> Health:
    phases = {"Lost": DEGRADED, "Pending": PROGRESSING, "Bound": HEALTHY}
    return Health(phases.get(str(status.get("phase")), UNKNOWN))


def _job(_obj: dict[str, Any], _spec: dict[str, Any], status: dict[str, Any]) -> Health:
    by_type = {c.get("type"): c for c in status.get("conditions") or []}
    if "Failed" in by_type:
        return Health(DEGRADED, str(by_type["Failed"].get("message") or ""))
    suspended = by_type.get("Suspended") or {}
    if suspended.get("status") == "True":
        return Health(SUSPENDED, str(suspended.get("message") or ""))
    complete = by_type.get("Complete") or suspended
    return Health(HEALTHY if complete else PROGRESSING, str(complete.get("message") or ""))


_HPA_FAILURES = {
    ("AbleToScale", "FailedGetScale"), ("AbleToScale", "FailedUpdateScale"),
    ("ScalingActive", "FailedGetResourceMetric"), ("ScalingActive", "FailedGetObjectMetric"),
    ("ScalingActive", "FailedGetPodsMetric"), ("ScalingActive", "FailedGetExternalMetric"),
    ("ScalingActive", "FailedComputeMetricsReplicas"), ("ScalingActive", "InvalidSelector"),
}  # fmt: skip


def _autoscaler(_obj: dict[str, Any], _spec: dict[str, Any], status: dict[str, Any]) -> Health:
    conditions = status.get("conditions") or []
    for condition in conditions:
        if (condition.get("type"), condition.get("reason")) in _HPA_FAILURES:
            return Health(DEGRADED, str(condition.get("message") or ""))
    for condition in conditions:
        if condition.get("type") in ("AbleToScale", "ScalingLimited") and condition.get("status") == "True":
            return Health(HEALTHY, str(condition.get("message") or ""))
    return Health(PROGRESSING, "Waiting to Autoscale")


def _application(_obj: dict[str, Any], _spec: dict[str, Any], status: dict[str, Any]) -> Health | None:
    health = status.get("health") or {}
    return Health(str(health["status"]), str(health.get("message") or "")) if health.get("status") else None


_Check = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], "Health | None"]
_CHECKS: dict[tuple[str, str], _Check] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("batch", "Job"): _job,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("argoproj.io", "Application"): _application,
}
