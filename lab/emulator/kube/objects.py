"""Objects as plain JSON documents: copies, times, names and the parts every kind has."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # k8s.io/apimachinery pkg/util/rand: no vowels, no words


def copied(value: Any) -> Any:
    """A deep copy of a JSON value; three times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copied(item) if isinstance(item, (dict, list)) else item for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) if isinstance(item, (dict, list)) else item for item in value]
    return value


def timestamp(at: float | None = None) -> str:
    """``at`` (seconds since the epoch, default now) as metav1.Time prints it: ``2026-11-21T04:22:01Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def new_uid() -> str:
    """A fresh uid."""
    return str(uuid.uuid4())


def suffix(length: int = 5) -> str:
    """Random letters as generated names end in."""
    return "".join(secrets.choice(_NAME_LETTERS) for _ in range(length))


def metadata(obj: Object) -> dict[str, Any]:
    """The object's metadata; an empty one is put in where it is missing."""
    found = obj.get("metadata")
    if not isinstance(found, dict):
        found = obj["metadata"] = {}
    return found


def name_of(obj: Mapping[str, Any]) -> str:
    """The object's name, or an empty string."""
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace_of(obj: Mapping[str, Any]) -> str:
    """The object's namespace, or an empty string."""
    return str((obj.get("metadata") or {}).get("namespace") or "")


def uid_of(obj: Object) -> str:
    """The object's uid, or an empty string."""
    return str((obj.get("metadata") or {}).get("uid") or "")


def deleting(obj: Object) -> bool:
    """Whether the object's deletion was asked for."""
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def reference(obj: Object) -> dict[str, Any]:
    """An ObjectReference to ``obj``, as Events carry it."""
    meta = obj.get("metadata") or {}
    found = {
        "kind": obj.get("kind"),
        "namespace": meta.get("namespace"),
        "name": meta.get("name"),
        "uid": meta.get("uid"),
        "apiVersion": obj.get("apiVersion"),
        "resourceVersion": meta.get("resourceVersion"),
    }
    return {key: value for key, value in found.items() if value}


def owner_reference(owner: Object, *, controller: bool = True) -> dict[str, Any]:
    """An OwnerReference to ``owner`` as a controller sets it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": controller,
        "blockOwnerDeletion": True,
    }
