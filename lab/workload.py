"""What Deployments and Pods say about themselves: pure functions over Kubernetes documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

Document = dict[str, Any]

_FAILING = (
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
)  # fmt: skip
_RESTARTS, _PATIENCE = 2, 60.0
"""A program that has ended this often, or a pod that has failed to start for this many seconds, is given up."""


def images(workload: Document) -> list[str]:
    """The images of a Deployment's pod template, or of a Pod."""
    spec = workload.get("spec", {})
    spec = spec.get("template", {}).get("spec", spec)
    return [str(container.get("image", "")) for container in spec.get("containers") or []]


def tag(image: str) -> str:
    """An image's tag, or "" where it has none; a registry's port is no tag."""
    name = image.partition("@")[0]
    _, colon, last = name.rpartition(":")
    return last if colon and "/" not in last else ""


def has_tag(workload: Document, wanted: str) -> bool:
    """Whether one of its images carries this tag."""
    return any(tag(image) == wanted for image in images(workload))


def not_rolled_out(deployment: Document) -> str | None:
    """Why a Deployment is not (yet) wholly on its present template, or None when it is (contracts F.6)."""
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    wanted = deployment.get("spec", {}).get("replicas", 1)
    if status.get("observedGeneration", 0) < metadata.get("generation", 1):
        return "the controller has not seen the new template"
    for field, text in (("updatedReplicas", "updated"), ("availableReplicas", "available")):
        if status.get(field, 0) < wanted:
            return f"{status.get(field, 0)} of {wanted} replicas {text}"
    if status.get("replicas", 0) > wanted:
        return f"{status['replicas'] - wanted} old replicas still there"
    return None


def progress_failed(deployment: Document) -> str | None:
    """The message of a rollout that Kubernetes has given up on, or None."""
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Progressing" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason"))
    return None


def selector(deployment: Document) -> str:
    """The label selector of a Deployment's pods."""
    labels = deployment.get("spec", {}).get("selector", {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items())


def ready(pod: Document) -> bool:
    """Whether a pod has condition Ready and is not on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def ready_since(pod: Document) -> str:
    """When a pod became Ready, as Kubernetes prints it, or ""."""
    for item in (pod.get("status") or {}).get("conditions") or []:
        if item.get("type") == "Ready" and item.get("status") == "True":
            return str(item.get("lastTransitionTime") or "")
    return ""


def trouble(pod: Document) -> str | None:
    """What keeps a pod's containers from running, or None; a plain start-up is no trouble."""
    for item in containers(pod):
        waiting = (item.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if reason in _FAILING:
            restarts = item.get("restartCount", 0)
            counted = f", restarted {restarts} times" if restarts else ""
            return f"{reason}{counted}: {waiting.get('message') or item.get('image', '')}"
    return None


def hopeless(pod: Document) -> bool:
    """Whether waiting longer for a pod in trouble is of no use; a registry that restarts deserves some patience."""
    if (trouble(pod) or "").startswith("InvalidImageName"):
        return True
    if any(item.get("restartCount", 0) >= _RESTARTS for item in containers(pod)):
        return True
    made = str(pod["metadata"].get("creationTimestamp") or "")
    if not made:
        return False
    age = datetime.now(timezone.utc) - datetime.fromisoformat(made.replace("Z", "+00:00"))
    return age.total_seconds() > _PATIENCE


def containers(pod: Document) -> list[Document]:
    """The statuses of a pod's containers, those that prepare it first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def newest(pods: Iterable[Document]) -> Document | None:
    """The pod that was made last."""
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def event_lines(events: Sequence[Document], limit: int = 6) -> list[str]:
    """The last events as one line each."""
    return [f"{event.get('type')} {event.get('reason')}: {event.get('message')}" for event in events[-limit:]]
