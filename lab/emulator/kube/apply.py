"""Server-side apply: what a manager sets it owns, what it drops goes, what others own conflicts.

Source: k8s.io/apimachinery pkg/util/managedfields, structured-merge-diff merge/update.go (v0.33, v4.6).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.emulator.kube.errors import StatusError, bad_request
from lab.emulator.kube.fieldsets import (
    SELF,
    Tree,
    compare,
    difference,
    dump,
    element_of,
    intersection,
    leaves,
    merged,
    parsed_entry,
    paths,
    removed_from,
    shown,
    union,
    with_parents,
)
from lab.emulator.kube.managed import UNOWNED_META, entry_of, identity, ordered, ownable
from lab.emulator.kube.objects import Object, copied
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.schema import Type
from lab.emulator.kube.schema.types import LIST, MAP, SCALAR, STRUCT
from lab.emulator.kube.shapes import shape_of

if TYPE_CHECKING:
    from lab.emulator.kube.store import Options


def applied(
    resource: Resource, wanted: Object, old: Object | None, options: Options, subresource: str | None
) -> Object:
    """The object after server-side apply of ``wanted``, with its managedFields; not normalised yet.

    Raises:
        StatusError: 400 managedFields are set; 409 conflicts; 500 the configuration does not fit the kind's schema.
    """
    if (wanted.get("metadata") or {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    shape = shape_of(resource, options.version)
    _check_configuration(shape, wanted)
    entries = list((old or {}).get("metadata", {}).get("managedFields") or [])
    mine = identity(
        {
            "manager": options.manager,
            "operation": "Apply",
            "apiVersion": wanted["apiVersion"],
            "subresource": subresource,
        }
    )
    before = next((entry for entry in entries if identity(entry) == mine), None)
    others = [entry for entry in entries if identity(entry) != mine]
    config = _settable(resource, ownable(wanted), subresource)
    owned = leaves(shape, config) if config else {}
    owned.pop(SELF, None)

    base = ownable(old or {})
    joined = merged(shape, base, config)
    taken = _taken_over(others, compare(shape, base, joined)[0], force=options.force)
    joined = _without_dropped(shape, joined, before, others, owned)
    lost = union(taken, compare(shape, base, joined)[1])
    kept = [one for one in (_less(entry, lost) for entry in others) if one]
    if before and parsed_entry(before) == owned:
        kept.append(before)
    elif owned:
        kept.append(entry_of(mine, owned))
    return _assembled(wanted, old, joined, ordered(kept))


def _settable(resource: Resource, config: Object, subresource: str | None) -> Object:
    """What a request through this endpoint can set; upstream calls the rest its reset fields."""
    if subresource == "status":
        return {"status": config["status"]} if "status" in config else {}
    return {key: value for key, value in config.items() if not (resource.status and key == "status")}


def _taken_over(others: list[dict[str, Any]], changed: Tree, *, force: bool) -> Tree:
    """The fields that others own and the configuration changes; raises 409 for them unless ``force``."""
    found: Tree = {}
    conflicts: list[tuple[str, str]] = []
    for entry in others:
        common = intersection(parsed_entry(entry), changed)
        found = union(found, common)
        conflicts += [(_manager(entry), shown(path)) for path in paths(common)]
    if conflicts and not force:
        raise _conflict(conflicts)
    return found


def _manager(entry: dict[str, Any]) -> str:
    """An entry as conflicts name it (managedfields/internal/conflict.go, printManager)."""
    text = json.dumps(entry.get("manager") or "")
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    if entry.get("operation") == "Update":
        text += f" using {entry.get('apiVersion')}"
        if entry.get("time"):
            text += f" at {entry['time']}"
    return text


def _conflict(conflicts: list[tuple[str, str]]) -> StatusError:
    if len(conflicts) == 1:
        message = f"Apply failed with 1 conflict: conflict with {conflicts[0][0]}: {conflicts[0][1]}"
    else:
        lines = []
        for manager in sorted({manager for manager, _ in conflicts}):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {path}" for owner, path in conflicts if owner == manager]
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
              for manager, path in conflicts]  # fmt: skip
    return StatusError(409, "Conflict", message, {"causes": causes})


def _without_dropped(
    shape: Type, joined: Object, before: dict[str, Any] | None, others: list[dict[str, Any]], owned: Tree
) -> Object:
    """Remove what the manager applied earlier, no longer applies, and nobody else owns."""
    if not before:
        return joined
    wanted = owned
    for entry in others:
        wanted = union(wanted, parsed_entry(entry))
    dropped = difference(with_parents(parsed_entry(before)), with_parents(wanted))
    return dict(removed_from(shape, joined, dropped)) if dropped else joined


def _less(entry: dict[str, Any], lost: Tree) -> dict[str, Any] | None:
    tree = parsed_entry(entry)
    rest = difference(tree, lost)
    if rest == tree:
        return entry
    return {**entry, "fieldsV1": dump(rest)} if rest else None


def _assembled(wanted: Object, old: Object | None, joined: Object, entries: list[dict[str, Any]]) -> Object:
    given = wanted.get("metadata") or {}
    identity_of = {key: value for key, value in (old or {}).get("metadata", {}).items() if key in UNOWNED_META}
    named = {key: given[key] for key in ("name", "namespace", "uid", "resourceVersion") if given.get(key)}
    meta = {**identity_of, **named, **(joined.get("metadata") or {}), "managedFields": entries}
    rest = {key: value for key, value in joined.items() if key != "metadata"}
    return dict(copied({"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": meta, **rest}))


def _check_configuration(shape: Type, wanted: Object) -> None:
    problems: list[str] = []
    body = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind")}
    _check(shape, body, "", problems)
    if problems:
        meta = wanted.get("metadata") or {}
        place = f"{meta.get('namespace') or ''}/{meta.get('name') or ''}"
        group, _, version = wanted["apiVersion"].rpartition("/")
        version = f"{group}/{version}" if group else f"/{version}"
        text = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {one}" for one in problems)
        raise StatusError(
            500, "", f"failed to create typed patch object ({place}; {version}, Kind={wanted['kind']}): {text}"
        )


_EXPECTED = {"string": (str, "string"), "bool": (bool, "boolean"), "bytes": (str, "string"), "Time": (str, "string"),
             "MicroTime": (str, "string")}  # fmt: skip


def _check(shape: Type, value: Any, path: str, problems: list[str]) -> None:
    if value is None:
        return
    if shape.kind == STRUCT:
        if not isinstance(value, dict):
            problems.append(f"{path or '.'}: expected map, got {_seen(value)}")
            return
        for key, one in value.items():
            if key in shape.fields:
                _check(shape.fields[key].type, one, f"{path}.{key}", problems)
            elif not shape.preserve:
                problems.append(f"{path}.{key}: field not declared in schema")
    elif shape.kind == MAP and shape.item:
        if not isinstance(value, dict):
            problems.append(f"{path}: expected map, got {_seen(value)}")
            return
        for key, one in value.items():
            _check(shape.item, one, f"{path}.{key}", problems)
    elif shape.kind == LIST and shape.item:
        _check_list(shape, value, path, problems)
    elif shape.kind == SCALAR:
        _check_scalar(shape, value, path, problems)


def _check_list(shape: Type, value: Any, path: str, problems: list[str]) -> None:
    if not isinstance(value, list):
        problems.append(f"{path}: expected list, got {_seen(value)}")
        return
    seen: set[str] = set()
    for index, one in enumerate(value):
        if shape.list_kind == "map" and isinstance(one, dict) and element_of(shape, one) == "k:{}":
            problems.append(f"{path}: element {index}: associative list with keys has an element that omits key field "
                            f'"{shape.keys[0]}" (and doesn\'t have default value)')  # fmt: skip
            continue
        name = shown((element_of(shape, one),)) if shape.list_kind in ("map", "set") else f"[{index}]"
        if name in seen:
            problems.append(f"{path}: duplicate entries for key {name}")
        seen.add(name)
        if shape.item:
            _check(shape.item, one, path + name, problems)


def _check_scalar(shape: Type, value: Any, path: str, problems: list[str]) -> None:
    if shape.name in ("int32", "int64", "double"):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            problems.append(f"{path}: expected numeric (int or float), got {_seen(value)}")
    elif shape.name in _EXPECTED:
        kind, noun = _EXPECTED[shape.name]
        if not isinstance(value, kind):
            problems.append(f"{path}: expected {noun}, got {_seen(value)}")
    elif isinstance(value, (dict, list)):
        problems.append(f"{path}: expected scalar, got {_seen(value)}")


def _seen(value: Any) -> str:
    names = {bool: "boolean", int: "int", float: "float", str: "string", list: "list", dict: "map"}
    return names.get(type(value), "null")
