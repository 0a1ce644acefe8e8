"""What Deployments and Pods say about themselves: pure functions over Kubernetes documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

Document = dict[str, Any]

_FAILING = (
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
)  # fmt: skip
_RESTARTS, _PATIENCE = 2, 60.0
"""A program that has ended this often, or a pod that has failed to start for this many seconds, is given up."""
_NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SETTLED = timedelta(seconds=10)
"""So long after a neighbour has become available a program may still end for want of it."""


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
    return (datetime.now(timezone.utc) - _moment(made)).total_seconds() > _PATIENCE


def stuck(deployments: Sequence[Document], pods: Sequence[Document]) -> Document | None:
    """A pod that keeps a namespace from being rolled out and will not come up by waiting longer, or None.

    None also while another Deployment still starts, and until a program has ended once more since the last one did: it
    may end again and again until its database answers.
    """
    waiting = [item for item in deployments if not_rolled_out(item)]
    since = max((_available_since(item) for item in deployments if item not in waiting), default=_NEVER)
    newest_pods = [newest(pod for pod in pods if _belongs(pod, item)) for item in waiting]
    if not all(map(_seen, waiting)) or not all(pod and _given_up(pod, since) for pod in newest_pods):
        return None
    return next(iter(newest_pods), None)


def _seen(deployment: Document) -> bool:
    """Whether pods of the present template were made, so that the newest pod is one of them."""
    status = deployment.get("status") or {}
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
        and status.get("updatedReplicas", 0)
    )


def _belongs(pod: Document, deployment: Document) -> bool:
    labels = pod["metadata"].get("labels") or {}
    wanted = deployment.get("spec", {}).get("selector", {}).get("matchLabels") or {}
    return bool(wanted) and wanted.items() <= labels.items() and not pod["metadata"].get("deletionTimestamp")


def _given_up(pod: Document, since: datetime) -> bool:
    if not trouble(pod) or not hopeless(pod):
        return False
    ends = [(item.get("lastState") or {}).get("terminated") or {} for item in containers(pod)]
    ended = max((str(end.get("finishedAt") or "") for end in ends), default="")
    return not ended or _moment(ended) > since + _SETTLED


def _available_since(deployment: Document) -> datetime:
    for item in (deployment.get("status") or {}).get("conditions") or []:
        if item.get("type") == "Available" and item.get("status") == "True" and item.get("lastTransitionTime"):
            return _moment(str(item["lastTransitionTime"]))
    return _NEVER


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


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
