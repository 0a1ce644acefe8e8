"""The life of a sync operation: begun, stepped, retried, ended (controller processRequestedAppOperation)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lab.emulator.argocd import project as app_project
from lab.emulator.argocd import status as app_status
from lab.emulator.argocd.cluster import Cluster
from lab.emulator.argocd.comparison import Comparison
from lab.emulator.argocd.objects import Key, age, annotations_of, hooks, key_of, now
from lab.emulator.argocd.status import COMPLETED, ERROR, FAILED, RUNNING, SUCCEEDED, TERMINATING
from lab.emulator.argocd.sync import Request, Step, Sync

APPROVED = "argocd.argoproj.io/deletion-approved"
"""Annotation of an Application: prunes that ask for confirmation are approved since this time."""
Compare = Callable[[dict[str, Any], dict[str, Any], str], Awaitable[Comparison]]
"""Compares an Application against (source, revision)."""


@dataclass
class Progress:
    """What to write, and when to go on: at once, after some seconds, or when something changes (None)."""

    state: dict[str, Any]
    history: dict[str, Any] | None = None
    """The new entry of ``status.history``, without its id."""
    again_in: float | None = None

    @property
    def completed(self) -> bool:
        """Whether the operation has ended."""
        return self.state.get("phase") in COMPLETED


def begun(app: dict[str, Any]) -> dict[str, Any]:
    """The state of the operation: the one in progress, or a new one for ``operation``."""
    if app_status.operation_running(app):
        return dict(app["status"]["operationState"])
    return {"operation": app["operation"], "phase": RUNNING, "startedAt": now()}


async def advance(
    cluster: Cluster,
    app: dict[str, Any],
    state: dict[str, Any],
    project: dict[str, Any] | None,
    compare: Compare,
    *,
    wave_delay: float = 0.0,
) -> Progress:
    """Take the operation one step further; everything that can go wrong ends in its state.

    ``wave_delay`` is the pause in seconds between waves (2 upstream, for other controllers to see the wave).
    """
    operation = state.get("operation") or {}
    if state.get("phase") == TERMINATING:
        return Progress(_ended(state, FAILED, "Operation terminated"))
    if state.get("finishedAt") and state.get("phase") == RUNNING:
        waiting = _retry_delay(state) - age(state["finishedAt"])
        if waiting > 0:
            return Progress(state, again_in=waiting)
        state = _retried(state)
        operation = state["operation"]
    sync = operation.get("sync")
    if sync is None:
        return Progress(_ended(state, ERROR, "Invalid operation request: no operation specified"))
    for name in ("manifests", "sources", "revisions"):
        if sync.get(name):
            return Progress(_ended(state, ERROR, f"not emulated: operation.sync.{name}"))
    if project is None:
        name = (app.get("spec") or {}).get("project") or "default"
        text = f'Failed to load application project: appproject.argoproj.io "{name}" not found'
        return _failed_attempt(state, ERROR, text)
    return await _step(cluster, app, state, project, compare, wave_delay=wave_delay)


async def _step(
    cluster: Cluster,
    app: dict[str, Any],
    state: dict[str, Any],
    project: dict[str, Any],
    compare: Compare,
    *,
    wave_delay: float,
) -> Progress:
    sync = state["operation"]["sync"]
    result = dict(state.get("syncResult") or {})
    source = result.get("source") or sync.get("source") or app["spec"].get("source") or {}
    revision = result.get("revision") or sync.get("revision") or source.get("targetRevision") or ""
    comparison = await compare(app, source, revision)
    result |= {"source": source, "revision": comparison.revision}
    state = {**state, "syncResult": result}
    request = Request.of(sync, confirmed=age(annotations_of(app).get(APPROVED)) <= age(state["startedAt"]))
    if problem := _obstacle(comparison, request):
        return _failed_attempt(state, ERROR, problem)
    permitted = _permission(cluster, project)
    work = Sync(cluster, app, request, permitted)
    step = work.step(comparison, result.get("resources") or [])
    while step.again and not wave_delay:
        step = work.step(comparison, step.results)
    progress = _after_step(state, step, comparison, request)
    progress.again_in = wave_delay if step.again else progress.again_in
    return progress


def _obstacle(comparison: Comparison, request: Request) -> str:
    serious = (app_status.COMPARISON_ERROR, app_status.INVALID_SPEC)
    errors = [f"{kind}: {message}" for kind, message in comparison.conditions if kind in serious]
    if errors:
        return ";".join(errors)
    shared = [message for kind, message in comparison.conditions if kind == app_status.SHARED]
    if shared and request.has("FailOnSharedResource=true"):
        return f"Shared resource found: {shared[0]}"
    if comparison.hooks and not request.only:
        hook = comparison.hooks[0]
        key = key_of(hook)
        return f"not emulated: resource hooks ({key.kind}/{key.name} is a {','.join(hooks(hook))} hook)"
    return ""


def _permission(cluster: Cluster, project: dict[str, Any]) -> Callable[[Key], str]:
    def problem(key: Key) -> str:
        namespaced = cluster.namespaced(key.group, key.kind) is not False
        return app_project.resource_problem(project, key, namespaced=namespaced)

    return problem


def _after_step(state: dict[str, Any], step: Step, comparison: Comparison, request: Request) -> Progress:
    state["syncResult"] = {**state["syncResult"], "resources": step.results}
    if step.phase == FAILED:
        return _failed_attempt(state, FAILED, step.message)
    if step.phase == RUNNING:
        return Progress({**state, "phase": RUNNING, "message": step.message})
    ended = _ended(state, SUCCEEDED, step.message)
    history = None
    if not request.dry_run and not request.only:
        history = {
            "revision": comparison.revision,
            "deployedAt": ended["finishedAt"],
            "deployStartedAt": state["startedAt"],
            "source": state["syncResult"]["source"],
            "initiatedBy": (state["operation"].get("initiatedBy") or {}),
        }
    return Progress(ended, history)


def _failed_attempt(state: dict[str, Any], phase: str, message: str) -> Progress:
    """End the operation, or set it up for another attempt when its retry limit allows one."""
    retry = state["operation"].get("retry") or {}
    limit, count = int(retry.get("limit") or 0), int(state.get("retryCount") or 0)
    if count < limit or limit < 0:
        delay = app_status.retry_delay(retry, count)
        at = time.strftime("%-I:%M%p", time.gmtime(time.time() + delay))
        text = f"{message}. Retrying attempt #{count + 1} at {at}."
        again = {**state, "phase": RUNNING, "finishedAt": now(), "retryCount": count + 1, "message": text}
        return Progress(again, again_in=delay)
    suffix = f" (retried {count} times)." if count else ""
    return Progress(_ended(state, phase, message + suffix))


def _retry_delay(state: dict[str, Any]) -> float:
    """Seconds from the end of the last attempt to the next; ``retryCount`` already counts the next one."""
    return app_status.retry_delay(state["operation"].get("retry") or {}, int(state.get("retryCount") or 1) - 1)


def _retried(state: dict[str, Any]) -> dict[str, Any]:
    operation = dict(state["operation"])
    extra = ""
    if (operation.get("retry") or {}).get("refresh"):
        extra = " with latest revisions"
        operation["sync"] = {k: v for k, v in operation["sync"].items() if k not in ("revision", "revisions")}
    message = f"Retrying operation{extra}. Attempt #{state.get('retryCount')}"
    kept = {name: value for name, value in state.items() if name not in ("finishedAt", "syncResult")}
    return {**kept, "operation": operation, "message": message}


def _ended(state: dict[str, Any], phase: str, message: str) -> dict[str, Any]:
    return {**state, "phase": phase, "message": message, "finishedAt": now()}
