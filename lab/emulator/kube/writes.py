"""What every write checks of an object's identity, and what it cannot change."""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.errors import STALE, Cause, bad_request, conflict, invalid
from lab.emulator.kube.objects import Object, copied, metadata, name_of, suffix
from lab.emulator.kube.resources import Resource


def place(resource: Resource, obj: Object, namespace: str | None) -> None:
    """Give ``obj`` its namespace; a namespace in the object and one in the request must agree."""
    meta = metadata(obj)
    if not resource.namespaced:
        if meta.get("namespace"):
            raise bad_request("namespace may not be set for cluster-scoped resources")
        meta.pop("namespace", None)
        return
    if namespace and meta.get("namespace") and meta["namespace"] != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    meta["namespace"] = namespace or meta.get("namespace") or "default"


def name_it(resource: Resource, meta: dict[str, Any]) -> None:
    """Give a new object a generated name where it asks for one; raises 422 when it has none at all."""
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = meta["generateName"][:58] + suffix()
    if not meta.get("name"):
        cause = Cause.required("metadata.name", "name or generateName is required")
        raise invalid(resource.group, resource.kind, "", [cause])


def same_object(resource: Resource, new: Object, old: Object) -> None:
    """Refuse a write that was meant for another object or another version of it (409)."""
    meta, stored = metadata(new), old["metadata"]
    if meta.get("uid") and meta["uid"] != stored["uid"]:
        why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {stored['uid']}"
        raise conflict(resource.group, resource.plural, name_of(old), why)
    version = meta.get("resourceVersion")
    if version and version != "0" and version != stored["resourceVersion"]:
        raise conflict(resource.group, resource.plural, name_of(old), STALE)


def keep_metadata(new: Object, old: Object) -> None:
    """What a write cannot change is what it was."""
    meta, stored = metadata(new), old["metadata"]
    for name in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
                 "resourceVersion", "namespace", "generateName"):  # fmt: skip
        meta.pop(name, None)
        if name in stored:
            meta[name] = stored[name]
    meta.pop("selfLink", None)
    if "managedFields" not in meta and "managedFields" in stored:
        meta["managedFields"] = copied(stored["managedFields"])


def without_versions(obj: Object) -> Object:
    """The object as far as a change of it counts: without the times that ``managedFields`` carry."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    entries = obj["metadata"].get("managedFields") or []
    meta["managedFields"] = [{key: entry[key] for key in entry if key != "time"} for entry in entries]
    return {**obj, "metadata": meta}


def preconditions(resource: Resource, found: Object, uid: str, version: str) -> None:
    """Refuse a deletion whose conditions the stored object does not meet (409)."""
    stored = found["metadata"]
    if uid and uid != stored["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored['uid']}"
        raise conflict(resource.group, resource.plural, name_of(found), why)
    if version and version != stored["resourceVersion"]:
        why = (f"Precondition failed: ResourceVersion in precondition: {version}, "
               f"ResourceVersion in object meta: {stored['resourceVersion']}")  # fmt: skip
        raise conflict(resource.group, resource.plural, name_of(found), why)
