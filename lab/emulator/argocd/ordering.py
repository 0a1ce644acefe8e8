"""The order of a sync: waves, kinds and names (gitops-engine pkg/sync/sync_tasks.go)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.emulator.argocd.objects import Key, key_of, option, wave

KINDS = (
    "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy", "PodDisruptionBudget",
    "ServiceAccount", "Secret", "SecretList", "ConfigMap", "StorageClass", "PersistentVolume",
    "PersistentVolumeClaim", "CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding",
    "ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList", "Service", "DaemonSet", "Pod",
    "ReplicationController", "ReplicaSet", "Deployment", "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob",
    "IngressClass", "Ingress", "APIService",
)  # fmt: skip


@dataclass
class Task:
    """One object to apply (``target`` is set) or to prune (only ``live`` is)."""

    target: dict[str, Any] | None
    live: dict[str, Any] | None
    wave: int = 0

    @property
    def object(self) -> dict[str, Any]:
        """What the task is about: the target, else the live object."""
        found = self.target or self.live
        if found is None:
            raise ValueError("a task needs an object")
        return found

    @property
    def key(self) -> Key:
        """The key of the object."""
        return key_of(self.object)

    @property
    def prune(self) -> bool:
        """Whether the task removes its object."""
        return self.target is None


def rank(kind: str) -> int:
    """Position of a kind within a wave; kinds that are not listed come last."""
    return KINDS.index(kind) - len(KINDS) if kind in KINDS else 0


def ordered(tasks: list[Task], *, prune_last: bool = False) -> list[Task]:
    """``tasks`` in the order of a sync, their waves set.

    Prunes run in the reverse order of the waves of creation; with PruneLast after everything else. A namespace and a
    CustomResourceDefinition go before the first object that needs them, whatever their wave.
    """
    for task in tasks:
        task.wave = wave(task.object)
    _reverse_prunes(tasks)
    last = max((task.wave for task in tasks), default=0) + 1
    for task in tasks:
        if task.prune and (prune_last or option(task.live, "PruneLast") == "true"):
            task.wave = last
    found = sorted(tasks, key=lambda task: (task.wave, rank(task.key.kind), task.key.name))
    return _dependencies_first(found)


def _reverse_prunes(tasks: list[Task]) -> None:
    waves = sorted({task.wave for task in tasks if task.prune})
    mirrored = dict(zip(waves, reversed(waves), strict=True))
    for task in tasks:
        if task.prune:
            task.wave = mirrored[task.wave]


def _provides(obj: dict[str, Any]) -> tuple[str, str] | None:
    key = key_of(obj)
    if key.group == "" and key.kind == "Namespace":
        return "namespace", key.name
    if key.kind == "CustomResourceDefinition":
        spec = obj.get("spec") or {}
        return "kind", f"{spec.get('group')}/{(spec.get('names') or {}).get('kind')}"
    return None


def _dependencies_first(tasks: list[Task]) -> list[Task]:
    found: list[Task] = []
    first: dict[tuple[str, str], Task] = {}
    for task in tasks:
        provided = _provides(task.object) if task.target else None
        if provided and provided in first:
            task.wave = first[provided].wave
            found.insert(next(i for i, other in enumerate(found) if other is first[provided]), task)
            continue
        found.append(task)
        if task.target:
            key = task.key
            for need in (("namespace", key.namespace), ("kind", f"{key.group}/{key.kind}")):
                first.setdefault(need, task)
    return found
