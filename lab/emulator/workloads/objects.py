"""Small readings of Kubernetes objects that every controller needs: owners, conditions, time, selectors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from lab.emulator.kube.objects import timestamp
from lab.emulator.kube.selectors import label_selector

Obj = dict[str, Any]


def seconds_since(text: str | None) -> float:
    """Seconds from an API timestamp until now; infinite when there is none."""
    if not text:
        return float("inf")
    return (dt.datetime.now(dt.timezone.utc) - parse_time(text)).total_seconds()


def parse_time(text: str) -> dt.datetime:
    """A timestamp of the API, with or without fractions of a second."""
    form = "%Y-%m-%dT%H:%M:%S.%f%z" if "." in text else "%Y-%m-%dT%H:%M:%S%z"
    return dt.datetime.strptime(text.replace("Z", "+0000"), form)  # noqa: DTZ007 - both forms have %z


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference of the object's managing controller, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    """Whether ``owner`` manages ``obj``."""
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def terminating(obj: Obj) -> bool:
    """Whether the object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether one node selector requirement (In, NotIn, Exists, DoesNotExist, Gt, Lt) holds for ``labels``."""
    value = labels.get(expression["key"])
    if expression["operator"] not in {"Gt", "Lt"}:
        return label_selector({"matchExpressions": [expression]})(labels)
    try:
        left, right = int(value or ""), int(expression["values"][0])
    except (ValueError, LookupError):
        return False
    return left > right if expression["operator"] == "Gt" else left < right


def condition(obj: Obj, kind: str) -> Obj | None:
    """The status condition of type ``kind``, or None."""
    for each in (obj.get("status") or {}).get("conditions") or ():
        if each["type"] == kind:
            return dict(each)
    return None


def holds(obj: Obj, kind: str) -> bool:
    """Whether the status condition ``kind`` is True."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def with_condition(conditions: Iterable[Obj], new: Obj) -> list[Obj]:
    """``conditions`` with ``new`` in place of the one of its type; lastTransitionTime moves only with the status."""
    result = [dict(each) for each in conditions]
    for index, each in enumerate(result):
        if each["type"] == new["type"]:
            moved = each.get("status") != new["status"]
            time = timestamp() if moved else each.get("lastTransitionTime") or timestamp()
            result[index] = {**new, "lastTransitionTime": time}
            return result
    return [*result, {**new, "lastTransitionTime": new.get("lastTransitionTime") or timestamp()}]


def pod_is_active(pod: Obj) -> bool:
    """Whether a controller counts the pod: not finished and not being deleted."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in {"Succeeded", "Failed"} and not terminating(pod)


def pod_is_ready(pod: Obj) -> bool:
    """Whether the pod's Ready condition is True."""
    return holds(pod, "Ready")


def available_in(pod: Obj, min_ready_seconds: int) -> float | None:
    """Seconds until a ready pod counts as available: 0 when it does already, None when it is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return None
    return max(0.0, min_ready_seconds - seconds_since(ready.get("lastTransitionTime"))) if min_ready_seconds else 0.0
