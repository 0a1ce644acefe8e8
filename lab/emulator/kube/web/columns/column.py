"""What a column is, and the words and times that cells are made of."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.emulator.kube.objects import Object

NONE, UNKNOWN, UNSET = "<none>", "<unknown>", "<unset>"


@dataclass(frozen=True)
class Column:
    """One column: how it is called and how its cell is read from an object."""

    name: str
    type: str
    read: Callable[[Object], Any]
    priority: int = 0
    """0 is always shown, 1 only with ``-o wide``."""
    format: str = ""
    description: str = ""


def text(name: str, read: Callable[[Object], Any], *, wide: bool = False) -> Column:
    """A column of texts."""
    return Column(name, "string", read, priority=int(wide))


def number(name: str, read: Callable[[Object], Any]) -> Column:
    """A column of integers."""
    return Column(name, "integer", read)


def seconds(stamp: Any) -> float | None:
    """A metav1.Time or MicroTime as seconds since the epoch, or None."""
    if not isinstance(stamp, str) or len(stamp) < 19:
        return None
    try:
        return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def since(stamp: Any) -> str:
    """How long ago, as ``kubectl get`` says it: ``5m``, ``3h20m``; ``<unknown>`` without a time."""
    at = seconds(stamp)
    return UNKNOWN if at is None else human(time.time() - at)


def human(duration: float) -> str:
    """A duration in at most two units (k8s.io/apimachinery pkg/util/duration.HumanDuration)."""
    whole = int(duration)
    if duration < -1:
        return "<invalid>"
    if duration < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years, left = days // 365, days % 365
    if years < 8:
        return f"{years}y{left}d" if left else f"{years}y"
    return f"{years}y"


def age(obj: Object) -> str:
    """How old an object is."""
    return since(obj["metadata"].get("creationTimestamp"))


NAME = Column("Name", "string", lambda obj: obj["metadata"]["name"], format="name")
AGE = text("Age", age)


def at(obj: Any, *keys: str, default: Any = None) -> Any:
    """The value at a path of keys; ``default`` where something on the way is missing."""
    for key in keys:
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return default if obj is None else obj


def containers(key: str, *path: str) -> Callable[[Object], str]:
    """A reader that joins one attribute of the containers in the pod spec at ``path``."""
    return lambda obj: ",".join(str(one.get(key) or "") for one in at(obj, *path, "containers", default=[]))


def label_text(labels: Mapping[str, Any] | None) -> str:
    """``a=1,b=2``, or ``<none>``."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


_OPERATORS = {"In": "in", "NotIn": "notin"}


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector in the notation of ``kubectl -l``."""
    if selector is None:
        return NONE
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or []:
        values = ",".join(sorted(one.get("values") or []))
        parts.append({"Exists": one["key"], "DoesNotExist": f"!{one['key']}"}.get(
            one["operator"], f"{one['key']} {_OPERATORS.get(one['operator'])} ({values})"))  # fmt: skip
    return ",".join(sorted(parts)) or NONE


def shortened(items: Iterable[str], most: int, *, noun: str = "more...") -> str:
    """The first few items, and how many there are beside them."""
    listed = list(items)
    if len(listed) > most:
        return f"{','.join(listed[:most])} + {len(listed) - most} {noun}"
    return ",".join(listed)
