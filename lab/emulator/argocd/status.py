"""Reading and changing an Application's status document (pkg/apis/application/v1alpha1/types.go)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from lab.emulator.argocd.objects import now

COMPARISON_ERROR = "ComparisonError"
SYNC_ERROR = "SyncError"
INVALID_SPEC = "InvalidSpecError"
UNKNOWN_ERROR = "UnknownError"
SHARED = "SharedResourceWarning"
REPEATED = "RepeatedResourceWarning"
EXCLUDED = "ExcludedResourceWarning"
DELETION_ERROR = "DeletionError"

RUNNING, TERMINATING, SUCCEEDED, FAILED, ERROR = "Running", "Terminating", "Succeeded", "Failed", "Error"
COMPLETED = (SUCCEEDED, FAILED, ERROR)

Conditions = list[tuple[str, str]]
"""(type, message) pairs."""


def with_conditions(
    present: list[dict[str, Any]], found: Conditions, evaluated: Collection[str]
) -> list[dict[str, Any]]:
    """``present`` with every condition of an ``evaluated`` type replaced by those ``found``.

    A condition that stays the same keeps its lastTransitionTime.
    """
    kept = [condition for condition in present if condition.get("type") not in evaluated]
    for kind, message in found:
        same = [c for c in present if c.get("type") == kind and c.get("message") == message]
        kept.append(same[0] if same else {"type": kind, "message": message, "lastTransitionTime": now()})
    return sorted(kept, key=lambda c: (str(c.get("type")), str(c.get("message"))))


def automated(app: dict[str, Any]) -> dict[str, Any] | None:
    """``spec.syncPolicy.automated`` when automated sync is on: an empty block means on, ``enabled: false`` off."""
    block = ((app.get("spec") or {}).get("syncPolicy") or {}).get("automated")
    if not isinstance(block, dict) or block.get("enabled") is False:
        return None
    return block


def sync_options(app: dict[str, Any]) -> list[str]:
    """``spec.syncPolicy.syncOptions``."""
    return list(((app.get("spec") or {}).get("syncPolicy") or {}).get("syncOptions") or [])


def operation_running(app: dict[str, Any]) -> bool:
    """Whether an operation has begun and not ended."""
    state = (app.get("status") or {}).get("operationState") or {}
    return bool(state) and state.get("phase") not in COMPLETED


def trimmed_history(app: dict[str, Any], history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last ``revisionHistoryLimit`` entries (10 when absent)."""
    limit = (app.get("spec") or {}).get("revisionHistoryLimit")
    count = 10 if limit is None else int(limit)
    return history[-count:] if count > 0 else []


_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str, default: float) -> float:
    """A Go duration (``2m30s``; a bare number means seconds) in seconds; ``default`` when it is none."""
    if re.fullmatch(r"\d+", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return default
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def retry_delay(retry: dict[str, Any], count: int) -> float:
    """Seconds until attempt ``count`` + 1: duration x factor^count, at most maxDuration (5s, 2, 3m)."""
    backoff = retry.get("backoff") or {}
    duration = seconds(str(backoff.get("duration") or "5s"), 5.0)
    longest = seconds(str(backoff.get("maxDuration") or "3m"), 180.0)
    factor = backoff.get("factor")
    delay = duration * (2 if factor is None else float(factor)) ** count
    return min(delay, longest) if longest > 0 else delay
