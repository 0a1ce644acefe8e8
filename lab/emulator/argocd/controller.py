"""The application controller: which Application is looked at, and when (controller/appcontroller.go)."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import Any

from lab.emulator.argocd import deletion, health, observing
from lab.emulator.argocd.cluster import GROUP, NAMESPACE, Cluster
from lab.emulator.argocd.logs import Log
from lab.emulator.argocd.objects import annotations_of
from lab.emulator.argocd.operation import APPROVED
from lab.emulator.argocd.reconciler import FORCE, LATEST, OBSERVE, RECENT, WAKE, Memory, Reconciler
from lab.emulator.argocd.sources import Sources
from lab.emulator.argocd.status import seconds
from lab.emulator.argocd.tracking import owner
from lab.emulator.argocd.webhook import REFRESH
from lab.emulator.component import Tasks
from lab.emulator.kube.store import Change

log = logging.getLogger(__name__)

SKIP = "argocd.argoproj.io/skip-reconcile"
_AFTER_FAILURE = 5.0
_WHILE_DELETING = 1.0
"""Seconds after which a deletion is looked at again should no event say that an object is gone."""


@dataclass
class _Work:
    """The queue of one Application: rounds that are asked for while one runs become one."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    level: int = WAKE
    poll_at: float = 0.0
    due_at: float | None = None
    memory: Memory = field(default_factory=Memory)
    task: asyncio.Task[Any] | None = None


class Controller:
    """Gives every Application a task that rests until something concerns it."""

    def __init__(self, cluster: Cluster, sources: Sources, reconciler: Reconciler, log: Log) -> None:
        self._cluster = cluster
        self._sources = sources
        self._reconciler = reconciler
        self._log = log
        self._tasks = Tasks()
        self._work: dict[str, _Work] = {}
        self._period, self._jitter = 120.0, 60.0

    def start(self) -> None:
        """Look at every Application once, then at changes. The polling interval is read now and only now."""
        self._period = seconds(self._cluster.setting("argocd-cm", "timeout.reconciliation") or "120s", 120.0)
        self._jitter = seconds(self._cluster.setting("argocd-cm", "timeout.reconciliation.jitter") or "60s", 60.0)
        self._cluster.start(self._changed)
        for app in self._cluster.applications():
            self.request(app["metadata"]["name"], LATEST)

    async def stop(self) -> None:
        """End every task."""
        self._cluster.stop()
        await self._tasks.cancel()

    def request(self, name: str, level: int = FORCE) -> None:
        """Have the Application looked at soon, at least as closely as ``level`` says."""
        work = self._work.get(name)
        if work is None:
            work = self._work[name] = _Work()
            work.task = self._tasks.spawn(self._run(name, work), f"argocd {name}")
        work.level = max(work.level, level)
        work.wake.set()

    async def _run(self, name: str, work: _Work) -> None:
        loop = asyncio.get_running_loop()
        work.poll_at = self._next_poll(loop.time())
        while True:
            due = min(at for at in (work.poll_at, work.due_at) if at is not None)
            # Not asyncio.wait_for: before Python 3.12 it swallows a cancellation that comes together with the event.
            timer = loop.call_at(due, work.wake.set) if due < float("inf") else None
            await work.wake.wait()
            if timer is not None:
                timer.cancel()
            level, work.level = work.level, WAKE
            work.wake.clear()
            time = loop.time()
            if time >= work.poll_at:
                level = max(level, LATEST)
            if work.due_at is not None and time >= work.due_at:
                level = max(level, RECENT)
            if level >= RECENT:  # a closer look finds anew what it has to wait for
                work.due_at = None
            if level >= LATEST:
                work.poll_at = self._next_poll(time)
            if not await self._round(name, work, level):
                return

    async def _round(self, name: str, work: _Work, level: int) -> bool:
        """One round; returns False when the Application is gone."""
        loop = asyncio.get_running_loop()
        app = self._cluster.application(name)
        if app is None:
            self._work.pop(name, None)
            self._sources.forget(name)
            return False
        try:
            if app["metadata"].get("deletionTimestamp"):
                again = deletion.step(self._cluster, app, self._log)
                work.due_at = loop.time() + _WHILE_DELETING if again else None
            elif annotations_of(app).get(SKIP) != "true":
                await self._reconciler.round(name, level, work.memory)
                due = [loop.time() + after for after in work.memory.due]
                work.due_at = min([*due, *([work.due_at] if work.due_at is not None else [])], default=None)
        except Exception:  # one broken Application must not end its task for good
            log.exception("application %s", name)
            work.due_at = loop.time() + _AFTER_FAILURE
        return True

    def _next_poll(self, time: float) -> float:
        """When to ask git again; never with a period of 0."""
        if self._period <= 0:
            return float("inf")
        return time + self._period + random.uniform(0, self._jitter)  # noqa: S311 - spreads load, hides nothing

    def _changed(self, change: Change) -> None:
        resource, obj = change.resource, change.object
        if resource.group == GROUP and obj["metadata"].get("namespace") == NAMESPACE:
            if resource.kind == "Application":
                self._application_changed(change)
            elif resource.kind == "AppProject":
                self._project_changed(obj["metadata"]["name"])
        for name in {owner(obj), owner(change.old or {})} - {None}:
            if name in self._work and (level := _level(change)) is not None:
                self.request(str(name), level)
        if owner(obj) is None and resource.kind in ("ReplicaSet", "Pod") and change.type != "MODIFIED":
            name = observing.application_of(self._cluster, obj)
            if name in self._work:
                self.request(str(name), OBSERVE)

    def _application_changed(self, change: Change) -> None:
        name, new, old = change.object["metadata"]["name"], change.object, change.old or {}
        if change.type == "DELETED":
            if name in self._work:
                self.request(name, WAKE)
            return
        if change.type == "ADDED" or new.get("spec") != old.get("spec"):
            self.request(name, RECENT)
        elif _operation_asked(new, old):
            self.request(name, WAKE)
        elif annotations_of(new).get(REFRESH) not in (None, "", annotations_of(old).get(REFRESH)):
            self.request(name, FORCE)
        elif any(annotations_of(new).get(key) != annotations_of(old).get(key) for key in (SKIP, APPROVED)):
            self.request(name, RECENT)
        elif new["metadata"].get("deletionTimestamp") != (old.get("metadata") or {}).get("deletionTimestamp"):
            self.request(name, WAKE)

    def _project_changed(self, project: str) -> None:
        for app in self._cluster.applications():
            if ((app.get("spec") or {}).get("project") or "default") == project:
                self.request(app["metadata"]["name"], RECENT)


def _operation_asked(new: dict[str, Any], old: dict[str, Any]) -> bool:
    started = new.get("operation") and new.get("operation") != old.get("operation")
    return bool(started) or (_terminating(new) and not _terminating(old))


def _terminating(app: dict[str, Any]) -> bool:
    return ((app.get("status") or {}).get("operationState") or {}).get("phase") == "Terminating"


def _level(change: Change) -> int | None:
    """How closely a change of a managed object has to be looked at; None when it says nothing new."""
    if change.old is None or change.type != "MODIFIED":
        return RECENT
    if _asked(change.object) != _asked(change.old):
        return RECENT
    return OBSERVE if health.assess(change.object) != health.assess(change.old) else None


def _asked(obj: dict[str, Any]) -> dict[str, Any]:
    """The object without its status and without what the server counts."""
    server = ("managedFields", "resourceVersion", "generation")
    kept = {name: value for name, value in obj.items() if name not in ("status", "metadata")}
    return {**kept, "metadata": {name: value for name, value in obj["metadata"].items() if name not in server}}
