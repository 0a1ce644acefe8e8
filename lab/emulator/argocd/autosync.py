"""Whether a difference leads to an automated sync (controller/appcontroller.go, autoSync)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.emulator.argocd import status as app_status
from lab.emulator.argocd.comparison import OUT_OF_SYNC, SYNCED, Comparison
from lab.emulator.argocd.objects import age


@dataclass(frozen=True)
class SelfHeal:
    """Back-off between attempts to undo a change in the cluster (contracts F.2)."""

    first: float = 2.0
    factor: float = 3.0
    cap: float = 300.0

    def delay(self, attempts: int) -> float:
        """Seconds to wait before the next attempt after ``attempts`` of them; none before the first."""
        return min(self.first * self.factor ** (attempts - 1), self.cap) if attempts > 0 else 0.0


@dataclass(frozen=True)
class Decision:
    """One of: start ``operation``, look again in ``retry_in`` seconds, report ``error``, or do nothing."""

    operation: dict[str, Any] | None = None
    retry_in: float | None = None
    error: str = ""
    log: str = ""


def decide(app: dict[str, Any], comparison: Comparison, self_heal: SelfHeal) -> Decision:
    """What automated sync does now; never the same failed revision twice, never a wipe-out."""
    policy = app_status.automated(app)
    if policy is None:
        return Decision()
    if app.get("operation"):
        return Decision(log="Skipping auto-sync: another operation is in progress")
    if comparison.status != OUT_OF_SYNC:
        return Decision(log=f"Skipping auto-sync: application status is {comparison.status}")
    prune = bool(policy.get("prune"))
    if not prune and all(r.status in (SYNCED, None) or r.prune for r in comparison.resources):
        return Decision(log="Skipping auto-sync: need to prune extra resources only but automated prune is disabled")
    operation = _operation(app, comparison.revision, prune=prune)
    attempted, phase = _attempted(app, comparison.revision)
    if attempted:
        repeated = _repeat(app, comparison, operation, phase, self_heal)
        if repeated is not None:
            return repeated
    if prune and not policy.get("allowEmpty") and all(resource.prune for resource in comparison.resources):
        message = f"Skipping sync attempt to [{comparison.revision}]: auto-sync will wipe out all resources"
        return Decision(error=message, log=message)
    return Decision(operation=operation, log=f"Initiated automated sync to '{comparison.revision}'")


def _operation(app: dict[str, Any], revision: str, *, prune: bool) -> dict[str, Any]:
    spec = app["spec"]
    sync: dict[str, Any] = {"source": spec["source"], "revision": revision}
    if prune:
        sync["prune"] = True
    if options := app_status.sync_options(app):
        sync["syncOptions"] = options
    retry = (spec.get("syncPolicy") or {}).get("retry") or {"limit": 5}
    return {"sync": sync, "initiatedBy": {"automated": True}, "retry": retry}


def _attempted(app: dict[str, Any], revision: str) -> tuple[bool, str]:
    """Whether the last operation already tried this revision of this source, and how it ended."""
    state = (app.get("status") or {}).get("operationState")
    if not state:
        return False, ""
    phase, result = str(state.get("phase", "")), state.get("syncResult")
    if result is None:
        return phase in app_status.COMPLETED, phase
    same = result.get("revision") == revision and result.get("source") == app["spec"].get("source")
    return same, phase


def _repeat(
    app: dict[str, Any], comparison: Comparison, operation: dict[str, Any], phase: str, self_heal: SelfHeal
) -> Decision | None:
    """The decision for a revision that was already tried; None to go on, with ``operation`` made a self-heal."""
    state = app["status"]["operationState"]
    tried = (state.get("syncResult") or {}).get("revision")
    revisions = f"[{tried}]" if tried else "[]"
    if phase != app_status.SUCCEEDED:
        return Decision(error=f"Failed last sync attempt to {revisions}: {state.get('message', '')}")
    if not (app_status.automated(app) or {}).get("selfHeal"):
        return Decision(log=f"Skipping auto-sync: most recent sync already to [{comparison.revision}]")
    attempts = int(((state.get("operation") or {}).get("sync") or {}).get("autoHealAttemptsCount") or 0)
    remaining = self_heal.delay(attempts) - age(state.get("finishedAt"))
    if remaining > 0:
        text = f"Skipping auto-sync: already attempted sync to {revisions} (retrying in {remaining:.1f}s)"
        return Decision(retry_in=remaining, log=text)
    operation["sync"]["autoHealAttemptsCount"] = attempts + 1
    operation["sync"]["resources"] = [
        {"kind": r.key.kind, "name": r.key.name, **({"group": r.key.group} if r.key.group else {})}
        for r in comparison.resources
        if r.status not in (SYNCED, None)
    ]
    return None
