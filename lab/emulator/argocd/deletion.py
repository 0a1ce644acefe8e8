"""What happens when an Application is deleted (controller finalizeApplicationDeletion)."""

from __future__ import annotations

from typing import Any

from lab.emulator.argocd import status as app_status
from lab.emulator.argocd.cluster import Cluster
from lab.emulator.argocd.logs import Log
from lab.emulator.argocd.objects import option, value_of, wave

CASCADE = "resources-finalizer.argocd.argoproj.io"
BACKGROUND = f"{CASCADE}/background"
FOREGROUND = f"{CASCADE}/foreground"
_CASCADES = (CASCADE, BACKGROUND, FOREGROUND, "foreground-finalizer.argocd.argoproj.io")
_HOOKS = ("pre-delete-finalizer.argocd.argoproj.io", "post-delete-finalizer.argocd.argoproj.io")


def step(cluster: Cluster, app: dict[str, Any], journal: Log) -> bool:
    """Go on with a deletion; returns whether it has to be looked at again.

    Objects go in reverse order of their waves, each wave when the one before is gone. What is marked
    ``Delete=false``, a CustomResourceDefinition, and what is not tracked stays.
    """
    finalizers = list(app["metadata"].get("finalizers") or [])
    name = app["metadata"]["name"]
    if any(item in _CASCADES for item in finalizers):
        remaining = [obj for obj in cluster.managed(name).values() if _goes(app, obj)]
        if remaining:
            _delete(cluster, remaining, background=BACKGROUND in finalizers)
            remaining = [obj for obj in cluster.managed(name).values() if _goes(app, obj)]
        if remaining:
            journal.info(f"{len(remaining)} objects remaining for deletion", application=name)
            return True
        journal.info("Successfully deleted resources", application=name)
    left = [item for item in finalizers if item not in _CASCADES]
    hooks = [item for item in left if item.startswith(_HOOKS)]
    if hooks:
        text = f"not emulated: {hooks[0]}; remove this finalizer to finish the deletion"
        app["status"] = dict(app.get("status") or {})
        present = app["status"].get("conditions") or []
        found = [(app_status.DELETION_ERROR, text)]
        app["status"]["conditions"] = app_status.with_conditions(present, found, [app_status.DELETION_ERROR])
    app["metadata"]["finalizers"] = left
    cluster.write_application(app)
    return False


def _delete(cluster: Cluster, objects: list[dict[str, Any]], *, background: bool) -> None:
    if any(obj["metadata"].get("deletionTimestamp") for obj in objects):
        return
    last = max(map(wave, objects))
    for obj in objects:
        if wave(obj) == last:
            cluster.delete(obj, "Background" if background else "Foreground")


def _goes(app: dict[str, Any], obj: dict[str, Any]) -> bool:
    choice = option(obj, "Delete") or value_of(app_status.sync_options(app), "Delete")
    kept = (obj["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == "keep"
    return obj.get("kind") != "CustomResourceDefinition" and choice != "false" and not kept
