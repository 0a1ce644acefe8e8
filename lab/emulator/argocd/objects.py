"""Small readings of Kubernetes objects that every part of Argo CD needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
COMPARE_OPTIONS = "argocd.argoproj.io/compare-options"
SYNC_WAVE = "argocd.argoproj.io/sync-wave"
HOOK = "argocd.argoproj.io/hook"
HELM_HOOK = "helm.sh/hook"


@dataclass(frozen=True, order=True)
class Key:
    """Names one object in the cluster; ``namespace`` is empty for cluster-scoped ones."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}/{self.kind}/{self.namespace}/{self.name}"


def group_version(obj: dict[str, Any]) -> tuple[str, str]:
    """API group (empty for the core group) and version of ``obj``."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    return group, version


def key_of(obj: dict[str, Any]) -> Key:
    """The key of ``obj`` as it stands."""
    metadata = obj.get("metadata") or {}
    return Key(
        group_version(obj)[0], str(obj.get("kind", "")), metadata.get("namespace") or "", metadata.get("name") or ""
    )


def annotations_of(obj: dict[str, Any] | None) -> dict[str, str]:
    """The annotations of ``obj``, empty when it has none."""
    return ((obj or {}).get("metadata") or {}).get("annotations") or {}


def options(obj: dict[str, Any] | None, annotation: str) -> list[str]:
    """The comma-separated values of ``annotation``."""
    return [part.strip() for part in str(annotations_of(obj).get(annotation, "")).split(",") if part.strip()]


def option(obj: dict[str, Any] | None, name: str) -> str | None:
    """The value of ``name=value`` among the sync options of ``obj``, or None."""
    return value_of(options(obj, SYNC_OPTIONS), name)


def value_of(given: list[str], name: str) -> str | None:
    """The value of ``name=value`` in a list of options, or None."""
    return next((item.split("=", 1)[1] for item in given if item.startswith(f"{name}=")), None)


def wave(obj: dict[str, Any]) -> int:
    """The sync wave of ``obj``; 0 when absent or not a number."""
    try:
        return int(annotations_of(obj).get(SYNC_WAVE, 0))
    except ValueError:
        return 0


def hooks(obj: dict[str, Any]) -> list[str]:
    """The hook types of ``obj`` (``PreSync`` ...); empty for an ordinary resource and for a sole ``Skip``."""
    found = options(obj, HOOK) or options(obj, HELM_HOOK)
    return [] if found == ["Skip"] else found


def skipped(obj: dict[str, Any]) -> bool:
    """Whether the object is marked ``hook: Skip``: never applied, never compared."""
    return options(obj, HOOK) == ["Skip"]


def images(obj: dict[str, Any]) -> list[str]:
    """The images of the containers that ``obj`` or its pod template names."""
    spec = obj.get("spec") or {}
    job = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    places = (spec, (spec.get("template") or {}).get("spec"), job.get("spec"))
    return [
        str(container["image"])
        for place in places
        if isinstance(place, dict)
        for container in place.get("containers") or []
        if isinstance(container, dict) and container.get("image")
    ]


def now() -> str:
    """The time as Kubernetes prints it, whole seconds in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(timestamp: str | None) -> float:
    """Seconds since ``timestamp``; infinite when there is none."""
    if not timestamp:
        return float("inf")
    moment = datetime.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return (datetime.now(timezone.utc) - moment).total_seconds()
