"""One round for one Application: go on with its operation, compare, decide about a sync, write its status."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from lab.emulator.argocd import autosync, comparison, observing, operation, project
from lab.emulator.argocd import status as app_status
from lab.emulator.argocd.cluster import NAMESPACE, Cluster
from lab.emulator.argocd.comparison import Comparison
from lab.emulator.argocd.errors import SourceError
from lab.emulator.argocd.logs import Log
from lab.emulator.argocd.objects import annotations_of, now
from lab.emulator.argocd.sources import Sources
from lab.emulator.argocd.webhook import REFRESH

WAKE, OBSERVE, RECENT, LATEST, FORCE = -1, 0, 1, 2, 3
"""How much to look at: only the operation; the health of known objects; the last revision; the newest revision;
the newest revision, with errors of the repository reported at once."""

_GRACE = 180.0
"""Seconds for which errors of the repository are not shown while polling (controller.repo.error.grace.period)."""
_COMPARED = (app_status.COMPARISON_ERROR, app_status.SHARED, app_status.REPEATED, app_status.EXCLUDED)
_SPEC = (app_status.INVALID_SPEC, app_status.UNKNOWN_ERROR)


@dataclass
class Memory:
    """What is remembered of an Application between rounds; nothing that a restart may not lose."""

    comparison: Comparison | None = None
    failing_since: float | None = None
    due: list[float] = field(default_factory=list)
    """Seconds from the end of the round until the Application has to be looked at again."""


class Reconciler:
    """Does rounds; everything it writes is a function of the cluster and of git."""

    def __init__(
        self, cluster: Cluster, sources: Sources, log: Log, self_heal: autosync.SelfHeal, *, wave_delay: float = 0.0
    ) -> None:
        self._cluster = cluster
        self._sources = sources
        self._log = log
        self._self_heal = self_heal
        self._wave_delay = wave_delay

    async def round(self, name: str, level: int, memory: Memory) -> None:
        """Look at the Application as far as ``level`` says; what is left to do later stands in ``memory.due``."""
        memory.due = []
        app = self._cluster.application(name)
        if app is None:
            return
        if app.get("operation") or app_status.operation_running(app):
            ended = await self._operate(name, app, memory)
            level = max(level, RECENT) if ended else level
            app = self._cluster.application(name)
            if app is None:
                return
        level, refresh = self._level(app, level, memory)
        if level >= RECENT:
            await self._refresh(name, app, level, memory, hard=refresh == "hard")
        elif level == OBSERVE:
            self._observe(app, memory)

    @staticmethod
    def _level(app: dict[str, Any], level: int, memory: Memory) -> tuple[int, str]:
        """The level that the Application itself asks for, and the value of its refresh annotation."""
        refresh = annotations_of(app).get(REFRESH, "")
        compared = ((app.get("status") or {}).get("sync") or {}).get("comparedTo") or {}
        spec = app.get("spec") or {}
        if refresh or compared.get("source") != spec.get("source"):
            return FORCE, refresh
        changed = compared.get("destination") != spec.get("destination")
        if changed or (compared.get("ignoreDifferences") or []) != (spec.get("ignoreDifferences") or []):
            return max(level, LATEST), refresh
        if level in (OBSERVE, RECENT) and memory.comparison is None:
            return RECENT, refresh
        return level, refresh

    async def _operate(self, name: str, app: dict[str, Any], memory: Memory) -> bool:
        """Take the operation a step further; returns whether it has ended."""
        if not app_status.operation_running(app):
            self._write_operation(name, operation.Progress(operation.begun(app)))
            self._log.info("Initialized new operation", application=name)
        state = operation.begun(app)

        async def compare(app: dict[str, Any], source: dict[str, Any], revision: str) -> Comparison:
            return await self._compare(app, source, revision)

        known = self._cluster.project((app.get("spec") or {}).get("project") or "default")
        progress = await operation.advance(self._cluster, app, state, known, compare, wave_delay=self._wave_delay)
        self._write_operation(name, progress)
        if progress.again_in is not None:
            memory.due.append(progress.again_in)
        if progress.completed:
            self._report_end(app, progress.state)
        return progress.completed

    def _write_operation(self, name: str, progress: operation.Progress) -> None:
        app = self._cluster.application(name)
        if app is None:
            return
        status = app["status"] = dict(app.get("status") or {})
        status["operationState"] = progress.state
        if progress.completed:
            app.pop("operation", None)
        if progress.history is not None:
            history = list(status.get("history") or [])
            number = int(history[-1].get("id", 0)) + 1 if history else 0
            status["history"] = app_status.trimmed_history(app, [*history, {"id": number, **progress.history}])
        self._cluster.write_application(app)

    def _report_end(self, app: dict[str, Any], state: dict[str, Any]) -> None:
        partial = ((state.get("operation") or {}).get("sync") or {}).get("resources")
        revision = (state.get("syncResult") or {}).get("revision")
        what = ("Partial sync operation" if partial else "Sync operation") + (f" to {revision}" if revision else "")
        good = state["phase"] == app_status.SUCCEEDED
        text = f"{what} succeeded" if good else f"{what} failed: {state.get('message', '')}"
        self._cluster.event(app, "Normal" if good else "Warning", "OperationCompleted", text)
        self._log.info(text, application=app["metadata"]["name"], phase=state["phase"])

    async def _compare(
        self, app: dict[str, Any], source: dict[str, Any], revision: str, *, fresh: bool = False
    ) -> Comparison:
        if problem := comparison.unsupported(self._cluster, app):
            return comparison.unreadable(self._cluster, app, revision, problem)
        try:
            rendered = await self._sources.render(app["metadata"]["name"], source, revision, fresh=fresh)
        except SourceError as error:
            return comparison.unreadable(self._cluster, app, revision, error.condition())
        return comparison.compare(self._cluster, app, rendered.objects, rendered.revision, rendered.source_type)

    async def _refresh(self, name: str, app: dict[str, Any], level: int, memory: Memory, *, hard: bool) -> None:
        spec, status = app.get("spec") or {}, app.get("status") or {}
        errors = project.spec_errors(app, self._cluster.project(spec.get("project") or "default"))
        if errors:
            self._write_invalid(name, errors)
            return
        source = spec["source"]
        known = (status.get("sync") or {}).get("revision") if level == RECENT else None
        found = await self._compare(app, source, known or source.get("targetRevision") or "", fresh=hard)
        if self._in_grace(found, memory, level):
            self._log.warning("Ignoring temporary failed attempt to compare app state against repo", application=name)
            return
        memory.comparison = found
        self._write_comparison(name, app, found, memory, reconciled=level >= LATEST)

    @staticmethod
    def _in_grace(found: Comparison, memory: Memory, level: int) -> bool:
        failed = any(kind == app_status.COMPARISON_ERROR for kind, _ in found.conditions)
        if not failed:
            memory.failing_since = None
            return False
        if level >= FORCE:
            return False
        if memory.failing_since is None:
            memory.failing_since = time.monotonic()
            return True
        return time.monotonic() - memory.failing_since <= _GRACE

    def _write_invalid(self, name: str, errors: list[str]) -> None:
        app = self._cluster.application(name)
        if app is None:
            return
        status = app["status"] = dict(app.get("status") or {})
        found = [(app_status.INVALID_SPEC, message) for message in errors]
        status["conditions"] = app_status.with_conditions(status.get("conditions") or [], found, _SPEC)
        status["sync"] = {**(status.get("sync") or {}), "status": comparison.UNKNOWN, "comparedTo": _compared_to(app)}
        status["health"] = _health(status.get("health"), "Unknown", "")
        _drop_refresh(app)
        self._cluster.write_application(app)

    def _write_comparison(
        self, name: str, compared: dict[str, Any], found: Comparison, memory: Memory, *, reconciled: bool
    ) -> None:
        app = self._cluster.application(name)
        if app is None:
            return
        before = app.get("status") or {}
        conditions = app_status.with_conditions(before.get("conditions") or [], found.conditions, _COMPARED + _SPEC)
        decision = autosync.decide({**app, "spec": compared["spec"]}, found, self._self_heal)
        error = [(app_status.SYNC_ERROR, decision.error)] if decision.error else []
        app["status"] = {
            **before,
            **self._observation(app, found),
            "sync": {"status": found.status, "revision": found.revision, "comparedTo": _compared_to(compared)},
            "conditions": app_status.with_conditions(conditions, error, [app_status.SYNC_ERROR]),
            "sourceType": found.source_type or before.get("sourceType", ""),
            "controllerNamespace": NAMESPACE,
        }
        if reconciled or not before.get("reconciledAt"):
            app["status"]["reconciledAt"] = now()
        app["status"] = {key: value for key, value in app["status"].items() if value not in ("", [], None)}
        _drop_refresh(app)
        self._report_changes(app, before)
        self._act(name, app, decision, memory)
        self._cluster.write_application(app)

    def _act(self, name: str, app: dict[str, Any], decision: autosync.Decision, memory: Memory) -> None:
        if decision.log:
            self._log.info(decision.log, application=name)
        if decision.retry_in is not None:
            memory.due.append(decision.retry_in)
        if decision.operation is not None:
            app["operation"] = decision.operation
            app["status"].pop("operationState", None)
            self._cluster.event(app, "Normal", "OperationStarted", decision.log)

    def _report_changes(self, app: dict[str, Any], before: dict[str, Any]) -> None:
        for what, field_name in (("sync", "sync"), ("health", "health")):
            old = (before.get(field_name) or {}).get("status", "")
            new = (app["status"].get(field_name) or {}).get("status", "")
            if old != new:
                text = f"Updated {what} status: {old} -> {new}"
                self._cluster.event(app, "Normal", "ResourceUpdated", text)
                self._log.info(text, application=app["metadata"]["name"])

    def _observe(self, app: dict[str, Any], memory: Memory) -> None:
        """Write the health and images that changed since the last comparison."""
        if memory.comparison is None:
            return
        memory.comparison = observing.observed(self._cluster, memory.comparison)
        before = app.get("status") or {}
        app["status"] = {**before, **self._observation(app, memory.comparison)}
        app["status"] = {key: value for key, value in app["status"].items() if value not in ("", [], None)}
        self._report_changes(app, before)
        self._cluster.write_application(app)

    def _observation(self, app: dict[str, Any], found: Comparison) -> dict[str, Any]:
        """The parts of the status that say how the live objects are."""
        inline = self._cluster.setting("argocd-cmd-params-cm", "controller.resource.health.persist") != "false"
        documents = [resource.document() for resource in found.resources]
        for document in documents if not inline else []:
            document.pop("health", None)
        return {
            "health": _health((app.get("status") or {}).get("health"), found.health.status, found.health.message),
            "resources": documents,
            "summary": observing.summary(self._cluster, app, found),
            "resourceHealthSource": "" if inline else "appTree",
        }


def _compared_to(app: dict[str, Any]) -> dict[str, Any]:
    spec = app.get("spec") or {}
    found = {name: spec.get(name) for name in ("source", "destination", "ignoreDifferences")}
    return {name: value for name, value in found.items() if value}


def _health(before: dict[str, Any] | None, status: str, message: str) -> dict[str, Any]:
    """``status.health``; lastTransitionTime stays as long as the status does."""
    old = before or {}
    since = old.get("lastTransitionTime") if old.get("status") == status else None
    found = {"status": status, "lastTransitionTime": since or now()}
    return {**found, "message": message} if message else found


def _drop_refresh(app: dict[str, Any]) -> None:
    (app["metadata"].get("annotations") or {}).pop(REFRESH, None)
