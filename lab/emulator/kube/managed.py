"""``metadata.managedFields``: who owns which fields, kept up to date by every write.

Source: k8s.io/apimachinery pkg/util/managedfields, structured-merge-diff merge/update.go (v0.33, v4.6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.emulator.kube.fieldsets import Tree, compare, difference, dump, parsed_entry, union
from lab.emulator.kube.objects import Object, timestamp
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.shapes import shape_of

if TYPE_CHECKING:
    from lab.emulator.kube.store import Options

UNOWNED_META = ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields",
                  "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds")  # fmt: skip


def ownable(obj: Object) -> Object:
    """The object without what nobody owns: its identity and what the server sets."""
    meta = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in UNOWNED_META}
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    return {**rest, "metadata": meta} if meta else rest


def record_write(
    resource: Resource, new: Object, old: Object | None, options: Options, subresource: str | None = None
) -> None:
    """Give the fields that a write changed to its manager, and take those from everybody else."""
    given = new["metadata"].get("managedFields")
    entries = list(given if given is not None else (old or {}).get("metadata", {}).get("managedFields") or [])
    if given == [{}] or (given == [] and old):  # upstream: an empty list resets the field owners
        new["metadata"].pop("managedFields", None)
        return
    shape = shape_of(resource)
    base: Object = {}
    if old:
        base = ownable(old)
    elif resource.custom is None:
        base = {"spec": {}, "status": {}}  # plain structs are there before anybody sets them
    changed, removed = compare(shape, base, {**base, **ownable(new)} if not old else ownable(new))
    changed.pop(".", None)
    if not changed and not removed:
        if entries:
            new["metadata"]["managedFields"] = entries
        return
    kept = rewritten(entries, changed, removed, options, subresource=subresource, resource=resource)
    new["metadata"]["managedFields"] = kept


def rewritten(
    entries: list[dict[str, Any]],
    changed: Tree,
    removed: Tree,
    options: Options,
    *,
    subresource: str | None,
    resource: Resource,
) -> list[dict[str, Any]]:
    """The entries after a write by ``options.manager`` that changed and removed these fields."""
    version = resource.api_version_of(options.version or resource.version)
    mine = identity({"manager": options.manager, "operation": "Update", "apiVersion": version,
                      "subresource": subresource or ""})  # fmt: skip
    kept, own = [], None
    for entry in entries:
        tree = parsed_entry(entry)
        if identity(entry) == mine:
            own = entry
            continue
        rest = difference(difference(tree, changed), removed)
        if rest:
            kept.append(entry if rest == tree else {**entry, "fieldsV1": dump(rest)})
    before = parsed_entry(own) if own else {}
    after = difference(union(before, changed), removed)
    if after:
        kept.append(own if own and after == before else entry_of(mine, after))
    return ordered(kept)


def entry_of(identity: tuple[str, str, str, str], tree: Tree) -> dict[str, Any]:
    """A managedFields entry with the time of now."""
    manager, operation, version, subresource = identity
    entry = {"manager": manager, "operation": operation, "apiVersion": version, "time": timestamp(),
             "fieldsType": "FieldsV1", "fieldsV1": dump(tree)}  # fmt: skip
    if subresource:
        entry["subresource"] = subresource
    return entry


def identity(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    """What makes two entries one: manager, operation, version and subresource."""
    return (str(entry.get("manager") or ""), str(entry.get("operation") or ""), str(entry.get("apiVersion") or ""),
            str(entry.get("subresource") or ""))  # fmt: skip


def ordered(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Upstream's order: applied entries first, then by time, manager, version and subresource."""
    return sorted(entries, key=lambda e: (e.get("operation") != "Apply", e.get("time") or "", e.get("manager") or "",
                                          e.get("apiVersion") or "", e.get("subresource") or ""))  # fmt: skip
