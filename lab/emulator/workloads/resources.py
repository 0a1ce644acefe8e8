"""A pod's quality-of-service class, and resources as the downward API shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lab.emulator.kube.quantity import value
from lab.emulator.workloads.objects import Obj


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos)."""
    containers = [*spec["containers"], *(spec.get("initContainers") or ())]
    wanted = [(each.get("resources") or {}) for each in containers]
    if not any(each.get(side) for each in wanted for side in ("requests", "limits")):
        return "BestEffort"
    for each in wanted:
        limits = each.get("limits") or {}
        requests = {**limits, **(each.get("requests") or {})}
        for name in ("cpu", "memory"):
            if name not in limits or value(requests[name]) != value(limits[name]):
                return "Burstable"
    return "Guaranteed"


def resource_field(pod: Obj, container: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """``limits.memory`` and the like, divided and rounded up; what is not set is the node's whole (here 0)."""
    name = reference.get("containerName")
    subject = next((each for each in pod["spec"]["containers"] if each["name"] == name), container)
    side, _, resource = reference["resource"].partition(".")
    values = (subject.get("resources") or {}).get(side) or {}
    divisor = value(reference.get("divisor") or "0") or 1
    return str(math.ceil(value(values.get(resource, "0")) / divisor))
