"""Back to the start: Application, namespace and project are removed, so that the plan makes them anew."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from lab import argocd
from lab.cluster import APPLICATION, NAMESPACE, Kind
from lab.doors import Doors
from lab.forge import Forge
from lab.model import Endpoints
from lab.plan import StepContext
from lab.settings import Settings
from lab.state import State
from lab.waiting import Pending

Document = dict[str, Any]
_DIE_WITH_PROJECT = ("config-branch-token", "deploy-token", "runner-token")
_FACTS = (*_DIE_WITH_PROJECT, "webhook", "webhook-proof")


def reset(
    endpoints: Endpoints, settings: Settings, state: State, *, stop: threading.Event, report: Callable[[str], None]
) -> None:
    """Remove what a project's life has left; GitLab, runner, cluster and Argo CD themselves stay.

    Raises:
        TimedOut: something did not go away.
    """
    doors, context = Doors.open(endpoints, settings), StepContext(stop, report)
    report("removing the Application and what it made")
    _remove(doors, context, APPLICATION, settings.project.name, argocd.NAMESPACE)
    report(f"removing namespace {settings.project.namespace}")
    _remove(doors, context, NAMESPACE, settings.project.namespace, None)
    report(f"removing project {settings.project.path}")
    _remove_project(doors.forge, context, settings.timeouts.sync)
    for name in _DIE_WITH_PROJECT:
        state.drop_secret(name)
    for name in _FACTS:
        state.put_fact(name, None)


def _remove(doors: Doors, context: StepContext, kind: Kind, name: str, namespace: str | None) -> None:
    if not doors.cluster.delete(kind, name, namespace):
        return

    def gone() -> bool | Pending:
        left = doors.cluster.get(kind, name, namespace)
        if left is None:
            return True
        waiting = ", ".join(left["metadata"].get("finalizers") or left.get("spec", {}).get("finalizers") or [])
        return Pending(f"{kind[1]} {name} is still there ({waiting or 'no finalizer'})")

    context.wait(
        f"{kind[1]} {name} to go", gone, timeout=doors.settings.timeouts.sync,
        hint=f"kubectl describe {kind[1].lower()} {name}",
    )  # fmt: skip


def _remove_project(forge: Forge, context: StepContext, timeout: float) -> None:
    """Delete at once and for good, whatever GitLab's version does (contracts B.6)."""
    found = forge.project()
    if found is None:
        return
    _remove_tags(forge)
    path = f"/projects/{found['id']}"
    forge.remove(path)
    marked = forge.find(path)
    if marked and marked.get("marked_for_deletion_on"):
        # Since 18.0 the first request only schedules, under a new name; the second one needs that name.
        forge.purge(path, marked["path_with_namespace"])

    def gone() -> bool | Pending:
        left = forge.find(path)
        return Pending(f"project {left['path_with_namespace']} is still there") if left else True

    context.wait("the project to go", gone, timeout=timeout, hint="Admin, Projects shows what holds it.")


def _remove_tags(forge: Forge) -> None:
    """A registry without a metadata database refuses to let a project with image tags go."""
    for repository in forge.rows(forge.at("registry", "repositories")):
        tags = forge.at("registry", "repositories", repository["id"], "tags")
        for tag in forge.rows(tags):
            forge.remove(f"{tags}/{tag['name']}")
