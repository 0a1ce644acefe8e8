"""One step of a sync operation: apply and prune the next wave (gitops-engine pkg/sync/sync_context.go)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.emulator.argocd import health, ordering
from lab.emulator.argocd.cluster import Cluster
from lab.emulator.argocd.comparison import SYNCED, Comparison, Resource, respecting
from lab.emulator.argocd.objects import Key, group_version, images, option, skipped, value_of
from lab.emulator.argocd.ordering import Task
from lab.emulator.argocd.status import FAILED, RUNNING, SUCCEEDED
from lab.emulator.argocd.tracking import owner

_PHASES = {"Synced": RUNNING, "SyncFailed": FAILED, "Pruned": SUCCEEDED, "PruneSkipped": SUCCEEDED}


@dataclass
class Step:
    """Where an operation stands after a step."""

    phase: str
    message: str
    results: list[dict[str, Any]] = field(default_factory=list)
    """``syncResult.resources``: one entry per task that has begun."""
    again: bool = False
    """Whether the next step can follow at once."""


@dataclass(frozen=True)
class Request:
    """What a sync operation was asked to do (``operation.sync``)."""

    prune: bool = False
    dry_run: bool = False
    force: bool = False
    options: tuple[str, ...] = ()
    only: tuple[dict[str, Any], ...] = ()
    confirmed: bool = False
    """Whether somebody has approved the prunes that ask for it."""

    @classmethod
    def of(cls, operation: dict[str, Any], *, confirmed: bool = False) -> Request:
        """Read it from ``operation.sync``."""
        strategy = operation.get("syncStrategy") or {}
        chosen = strategy.get("apply") or strategy.get("hook") or {}
        return cls(
            prune=bool(operation.get("prune")),
            dry_run=bool(operation.get("dryRun")),
            force=bool(chosen.get("force")),
            options=tuple(str(item) for item in operation.get("syncOptions") or []),
            only=tuple(operation.get("resources") or []),
            confirmed=confirmed,
        )

    def has(self, wanted: str) -> bool:
        """Whether ``wanted`` (``Name=value``) is among the options."""
        return wanted in self.options

    def includes(self, key: Key) -> bool:
        """Whether the object is part of the request; all are when none is named."""
        return not self.only or any(
            item.get("name") == key.name
            and item.get("kind") == key.kind
            and (item.get("group") or "") == key.group
            and item.get("namespace") in (None, "", key.namespace)
            for item in self.only
        )


class Sync:
    """Carries out a request, one wave at a time; ``permitted`` tells why an object may not be synced."""

    def __init__(
        self, cluster: Cluster, app: dict[str, Any], request: Request, permitted: Callable[[Key], str]
    ) -> None:
        self._cluster = cluster
        self._app = app
        self._name: str = app["metadata"]["name"]
        self._request = request
        self._permitted = permitted
        self._namespace = ((app.get("spec") or {}).get("destination") or {}).get("namespace") or ""

    def step(self, comparison: Comparison, results: Sequence[dict[str, Any]]) -> Step:
        """Do what can be done now, given the ``results`` of the steps before."""
        tasks = self._tasks(comparison)
        done = {_key(result): dict(result) for result in results}
        if problems := self._invalid(tasks, done):
            message = "one or more synchronization tasks are not valid: " + "; ".join(sorted(set(problems)))
            return Step(FAILED, message, list(done.values()))
        self._observe(tasks, done)
        several = len({task.wave for task in tasks}) > 1
        running = [task for task in tasks if several and done.get(task.key, {}).get("hookPhase") == RUNNING]
        if running:
            return Step(RUNNING, _waiting(running, "healthy state of"), list(done.values()))
        failed = [done[t.key] for t in tasks if done.get(t.key, {}).get("hookPhase") == FAILED]
        if failed:
            return _failure("one or more synchronization tasks completed unsuccessfully", failed, done)
        pending = [task for task in tasks if task.key not in done]
        if not pending:
            return Step(SUCCEEDED, "successfully synced (no more tasks)", list(done.values()))
        return self._run(pending, done)

    def _run(self, pending: list[Task], done: dict[Key, dict[str, Any]]) -> Step:
        batch = [task for task in pending if task.wave == pending[0].wave]
        waits = [task for task in batch if task.prune and option(task.live, "Prune") == "confirm"]
        if waits and not self._request.confirmed:
            return Step(RUNNING, _waiting(waits, "pruning confirmation of"), list(done.values()))
        for task in sorted(batch, key=lambda task: not task.prune):
            code, message = self._prune(task) if task.prune else self._apply(task)
            phase = SUCCEEDED if self._request.dry_run and code == "Synced" else _PHASES[code]
            done[task.key] = _result(task, code, message, phase)
        failed = [done[task.key] for task in batch if done[task.key]["status"] == "SyncFailed"]
        if failed:
            return _failure("one or more objects failed to apply", failed, done)
        if len(batch) == len(pending):
            return Step(SUCCEEDED, "successfully synced (all tasks run)", list(done.values()))
        return Step(RUNNING, _waiting(batch, "healthy state of"), list(done.values()), again=True)

    def _tasks(self, comparison: Comparison) -> list[Task]:
        chosen = [resource for resource in comparison.resources if self._concerns(resource)]
        tasks = [Task(resource.target, resource.live) for resource in chosen]
        if self._request.has("CreateNamespace=true") and (namespace := self._namespace_wanted(comparison)):
            tasks.append(Task(namespace, self._cluster.get(Key("", "Namespace", "", self._namespace))))
        return ordering.ordered(tasks, prune_last=self._request.has("PruneLast=true"))

    def _concerns(self, resource: Resource) -> bool:
        if resource.target is not None and skipped(resource.target):
            return False
        if resource.target is None and owner(resource.live or {}) != self._name:
            return False
        only_differing = self._request.has("ApplyOutOfSyncOnly=true") and resource.status == SYNCED
        return self._request.includes(resource.key) and not only_differing

    def _namespace_wanted(self, comparison: Comparison) -> dict[str, Any] | None:
        """The destination namespace when nothing else makes it. It is not tracked, so it is never pruned."""
        key = Key("", "Namespace", "", self._namespace)
        described = any(resource.key == key and resource.target for resource in comparison.resources)
        managed = ((self._app.get("spec") or {}).get("syncPolicy") or {}).get("managedNamespaceMetadata") or {}
        if not self._namespace or described or (self._cluster.get(key) is not None and not managed):
            return None
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace, **managed}}

    def _invalid(self, tasks: list[Task], done: dict[Key, dict[str, Any]]) -> list[str]:
        problems = []
        for task in tasks:
            problem = self._permitted(task.key) if self._known(task, tasks) else self._unknown(task)
            if problem and not (task.prune and task.key in done):
                done[task.key] = _result(task, "SyncFailed", problem, "")
                problems.append(problem)
        return problems

    def _known(self, task: Task, tasks: list[Task]) -> bool:
        key = task.key
        if self._cluster.namespaced(key.group, key.kind) is not None:
            return True
        return any(
            other.key.kind == "CustomResourceDefinition"
            and other.object.get("spec", {}).get("names", {}).get("kind") == key.kind
            for other in tasks
        )

    @staticmethod
    def _unknown(task: Task) -> str:
        key = task.key
        return (
            f"The Kubernetes API could not find {key.group}/{key.kind} for requested resource "
            f'{key.namespace}/{key.name}. Make sure the "{key.kind}" CRD is installed on the destination cluster.'
        )

    def _observe(self, tasks: list[Task], done: dict[Key, dict[str, Any]]) -> None:
        """Move what is running to its end, as its live object's health says."""
        for task in tasks:
            result = done.get(task.key)
            if result is None or result.get("hookPhase") != RUNNING:
                continue
            live = self._cluster.get(task.key)
            if live is None:
                key = task.key
                text = f"Resource {key.group}/{key.kind}/{key.name} is missing, it might have been deleted"
                result |= {"status": "SyncFailed", "hookPhase": FAILED, "message": text}
                continue
            found = health.assess(live)
            if found is None:
                result["hookPhase"] = SUCCEEDED
            elif found.status in (health.HEALTHY, health.DEGRADED):
                result["hookPhase"] = SUCCEEDED if found.status == health.HEALTHY else FAILED
                result["message"] = found.message or result.get("message", "")

    def _apply(self, task: Task) -> tuple[str, str]:
        target = task.target or {}
        if self._request.has("RespectIgnoreDifferences=true") and task.live is not None:
            target = respecting(target, task.live, (self._app.get("spec") or {}).get("ignoreDifferences") or [])
        replace = self._request.has("Replace=true") or option(target, "Replace") == "true"
        serverside = self._request.has("ServerSideApply=true") or option(target, "ServerSideApply") == "true"
        return self._cluster.apply(
            target,
            replace=replace,
            server_side=serverside,
            force=self._request.force or option(target, "Force") == "true",
            validate=not self._request.has("Validate=false"),
            dry_run=self._request.dry_run,
        )

    def _prune(self, task: Task) -> tuple[str, str]:
        if not self._request.prune:
            return "PruneSkipped", "ignored (requires pruning)"
        choice = option(task.live, "Prune") or value_of(list(self._request.options), "Prune")
        if choice == "false":
            return "PruneSkipped", "ignored (no prune)"
        if self._request.dry_run:
            return "Pruned", "pruned (dry run)"
        policy = value_of(list(self._request.options), "PrunePropagationPolicy") or "foreground"
        problem = self._cluster.delete(task.live or {}, policy.capitalize())
        return ("SyncFailed", problem) if problem else ("Pruned", "pruned")


def _key(result: dict[str, Any]) -> Key:
    return Key(
        result.get("group") or "", result.get("kind") or "", result.get("namespace") or "", result.get("name") or ""
    )


def _result(task: Task, code: str, message: str, phase: str) -> dict[str, Any]:
    key, obj = task.key, task.object
    found = {
        "group": key.group, "version": group_version(obj)[1], "kind": key.kind, "namespace": key.namespace,
        "name": key.name, "status": code, "message": message, "hookPhase": phase, "syncPhase": "Sync",
    }  # fmt: skip
    return found | ({"images": images(obj)} if images(obj) else {})


def _waiting(tasks: list[Task], what: str) -> str:
    key = tasks[0].key
    more = f" and {len(tasks) - 1} more resources" if len(tasks) > 1 else ""
    return f"waiting for {what} {key.group}/{key.kind}/{key.name}{more}"


def _failure(message: str, failed: list[dict[str, Any]], done: dict[Key, dict[str, Any]]) -> Step:
    reasons = list(dict.fromkeys(str(result.get("message", "")) for result in failed))
    return Step(FAILED, f"{message}, reason: {','.join(reasons)}", list(done.values()))
