"""Built-in kinds in a version other than the stored one: HorizontalPodAutoscaler v1 and v2.

Source: pkg/apis/autoscaling/v1/conversion.go (v1.33).
"""

from __future__ import annotations

import json
from typing import Any

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import Object, copied
from lab.emulator.kube.resources import Resource

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"


def served(resource: Resource, obj: Object, version: str) -> Object:
    """A stored object as ``version`` shows it."""
    _known(resource, version)
    found = copied(obj)
    spec, status = found.get("spec") or {}, found.get("status") or {}
    found["apiVersion"] = resource.api_version_of(version)
    others = []
    for metric in spec.pop("metrics", None) or []:
        target = (metric.get("resource") or {}).get("target") or {}
        if (metric.get("resource") or {}).get("name") == "cpu" and "averageUtilization" in target:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            others.append(metric)
    if others:
        annotations = found["metadata"].setdefault("annotations", {})
        annotations[_METRICS] = json.dumps(others, separators=(",", ":"))
    spec.pop("behavior", None)
    status.pop("currentMetrics", None)
    status.pop("conditions", None)
    status.setdefault("currentReplicas", 0)
    return dict(found)


def stored(resource: Resource, obj: Object, version: str) -> Object:
    """An object that a client sent in ``version``, in the stored one."""
    _known(resource, version)
    found: Any = copied(obj)
    found["apiVersion"] = resource.api_version
    spec = found.get("spec") or {}
    annotations = (found.get("metadata") or {}).get("annotations") or {}
    metrics = json.loads(annotations.pop(_METRICS, "[]"))
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        target = {"type": "Utilization", "averageUtilization": utilization}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    return dict(found)


def _known(resource: Resource, version: str) -> None:
    if (resource.group, version) != ("autoscaling", "v1"):
        raise StatusError(501, "NotImplemented", f"not emulated: {resource.qualified} in version {version}")
