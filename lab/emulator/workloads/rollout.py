"""Arithmetic of rolling updates: surge and unavailability, proportional scaling, template hashes.

Follows Kubernetes pkg/controller/deployment/util and pkg/util/hash.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import Any

_SAFE = "bcdfghjklmnpqrstvwxz2456789"
HASH_LABEL = "pod-template-hash"


def scaled(value: int | str | None, total: int, *, up: bool) -> int:
    """An int-or-percent of ``total``, rounded up or down; None counts as 0. Raises ValueError on nonsense."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: {value!r}")
    exact = int(value[:-1]) * total / 100
    return math.ceil(exact) if up else math.floor(exact)


def fence_posts(surge: int | str | None, unavailable: int | str | None, replicas: int) -> tuple[int, int]:
    """(max surge, max unavailable) in pods; at least one is positive, so that a rollout can move."""
    most = scaled(surge, replicas, up=True)
    missing = scaled(unavailable, replicas, up=False)
    if most == 0 and missing == 0:
        missing = 1
    return most, missing


def new_replicas(desired: int, new: int, total: int, surge: int) -> int:
    """Size of the new replica set in this step: it may grow as far as ``desired + surge`` pods allow in total."""
    if new >= desired:
        return desired
    room = desired + surge - total
    return new if room <= 0 else min(new + room, desired)


def removable(*, desired: int, total: int, new: int, new_available: int, max_unavailable: int) -> int:
    """How many pods of old replica sets may go now.

    Pods of the new set that are not available count against the budget, so that a broken image cannot drain the
    old set.
    """
    minimum = desired - max_unavailable
    return max(0, total - minimum - (new - new_available))


def proportional(sizes: Sequence[int], allowed: int) -> list[int]:
    """Spread ``allowed`` pods over sets of ``sizes`` in proportion; the largest takes what rounding leaves."""
    total = sum(sizes)
    if not sizes or total == 0:
        return list(sizes)
    result = [round(size * allowed / total) for size in sizes]
    largest = max(range(len(sizes)), key=lambda index: sizes[index])
    result[largest] = max(0, result[largest] + allowed - sum(result))
    return result


def without_hash(template: dict[str, Any]) -> dict[str, Any]:
    """A pod template without the label that the deployment controller added."""
    result = copy.deepcopy(template)
    labels = (result.get("metadata") or {}).get("labels") or {}
    labels.pop(HASH_LABEL, None)
    return result


def same_template(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether two pod templates are equal but for the hash label."""
    return _canonical(without_hash(left)) == _canonical(without_hash(right))


def template_hash(template: dict[str, Any], collisions: int = 0) -> str:
    """Up to ten safe characters that name a pod template: FNV-1a, encoded as upstream's rand.SafeEncodeString."""
    value = 0x811C9DC5
    for byte in (_canonical(template) + (str(collisions) if collisions else "")).encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(value))


def _canonical(template: dict[str, Any]) -> str:
    return json.dumps(_pruned(template), sort_keys=True, separators=(",", ":"))


def _pruned(value: Any) -> Any:
    """``value`` without null and empty members: a client may send ``creationTimestamp: null`` or ``labels: {}``."""
    if isinstance(value, dict):
        pruned = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if item is not None and item not in ({}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value
