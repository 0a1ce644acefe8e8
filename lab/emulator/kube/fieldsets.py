"""Sets of field paths as trees: what managers own, and how two versions of an object differ.

A node maps path elements to nodes; the element ``.`` marks the node itself as a member. Elements are FieldsV1's:
``f:name``, ``k:{"name":"web"}``, ``v:"x"``. Source: structured-merge-diff fieldpath and typed packages (v4.6).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lab.emulator.kube.schema import ANY, Type
from lab.emulator.kube.schema.types import LIST, MAP, STRUCT

Tree = dict[str, Any]

SELF = "."
_ABSENT = object()


def leaf() -> Tree:
    """A set of one member: the node itself."""
    return {SELF: {}}


def parse(fields: Tree) -> Tree:
    """The tree of a ``fieldsV1`` document."""
    if not fields:
        return leaf()
    return {key: ({} if key == SELF else parse(value)) for key, value in fields.items()}


def dump(tree: Tree) -> Tree:
    """The ``fieldsV1`` document of a tree."""
    if set(tree) == {SELF}:
        return {}
    return {key: ({} if key == SELF else dump(tree[key])) for key in sorted(tree)}


def parsed_entry(entry: Tree) -> Tree:
    """The tree of a managedFields entry; an empty one has no member."""
    fields = entry.get("fieldsV1") or {}
    return parse(fields) if fields else {}


def union(first: Tree, second: Tree) -> Tree:
    """Members of either."""
    found = dict(first)
    for key, value in second.items():
        found[key] = union(found[key], value) if key in found else value
    return found


def difference(first: Tree, second: Tree) -> Tree:
    """Members of the first that the second lacks."""
    found: Tree = {}
    for key, value in first.items():
        other = second.get(key)
        if other is None:
            found[key] = value
        elif key != SELF and (rest := difference(value, other)):
            found[key] = rest
    return found


def intersection(first: Tree, second: Tree) -> Tree:
    """Members of both."""
    found: Tree = {}
    for key, value in first.items():
        other = second.get(key)
        if other is None:
            continue
        if key == SELF:
            found[key] = {}
        elif common := intersection(value, other):
            found[key] = common
    return found


def with_parents(tree: Tree) -> Tree:
    """The set with every node on the way to a member (upstream: EnsureNamedFieldsAreMembers)."""
    return {key: ({} if key == SELF else {**with_parents(value), SELF: {}}) for key, value in tree.items()}


def paths(tree: Tree, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every member."""
    if SELF in tree:
        yield prefix
    for key in sorted(tree):
        if key != SELF:
            yield from paths(tree[key], (*prefix, key))


def shown(path: tuple[str, ...]) -> str:
    """A path as messages print it: ``.spec.template.spec.containers[name="web"].image``."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(json.loads(rest).items()))
            text += f"[{keys}]"
        else:
            text += f"[={rest}]"
    return text


def element_of(shape: Type, item: Any) -> str:
    """The path element of an item in a ``set`` or ``map`` list."""
    if shape.list_kind == "map" and isinstance(item, dict):
        keys = {}
        for name in shape.keys:
            value = item.get(name)
            if value is None and shape.item:
                field = shape.item.fields.get(name)
                value = field.default if field else None
            if value is not None:
                keys[name] = value
        return "k:" + json.dumps(keys, separators=(",", ":"), sort_keys=True)
    return "v:" + json.dumps(item, separators=(",", ":"), sort_keys=True)


def is_atomic(shape: Type, value: Any) -> bool:
    """Whether the value is owned as a whole."""
    if isinstance(value, dict):
        return shape.atomic
    if isinstance(value, list):
        return shape.list_kind not in ("set", "map")
    return True


def children(shape: Type, value: Any) -> dict[str, tuple[Type, Any]]:
    """The parts of a value that is not atomic: path element -> (shape, value)."""
    if isinstance(value, list):
        item = shape.item or ANY
        return {element_of(shape, one): (item, one) for one in value}
    if shape.kind == MAP:
        item = shape.item or ANY
        return {f"f:{key}": (item, one) for key, one in value.items()}
    if shape.kind == STRUCT:
        fields = shape.fields
        return {f"f:{key}": (fields[key].type if key in fields else ANY, one) for key, one in value.items()}
    return {f"f:{key}": (ANY, one) for key, one in value.items()}


def leaves(shape: Type, value: Any) -> Tree:
    """The set of an applied configuration: leaves, and list items themselves."""
    if is_atomic(shape, value):
        return leaf()
    parts = children(shape, value)
    if not parts:
        return leaf()
    found: Tree = {}
    for element, (part_shape, part) in parts.items():
        inner = leaves(part_shape, part)
        if element[0] in "kv":
            inner = {**inner, SELF: {}}
        found[element] = inner
    return found


def everything(shape: Type, value: Any, *, itself: bool = True) -> Tree:
    """The set of a whole value: leaves, list items, and maps and pointers themselves."""
    if is_atomic(shape, value):
        return leaf()
    parts = children(shape, value)
    if not parts:
        return leaf()
    found: Tree = {SELF: {}} if itself else {}
    for element, (part_shape, part) in parts.items():
        found[element] = everything(part_shape, part, itself=_marked(shape, element))
    return found


def _marked(shape: Type, element: str) -> bool:
    """Whether a part is a member itself: a plain struct inside a struct is always there and so belongs to nobody."""
    if shape.kind != STRUCT:
        return True
    field = shape.fields.get(element[2:])
    return not (field and field.type.kind == STRUCT and not field.pointer)


def _vanishes(shape: Type, element: str) -> bool:
    """Whether an empty value of this part is as good as none: an encoder leaves it out."""
    field = shape.fields.get(element[2:]) if shape.kind == STRUCT else None
    return field is not None and not field.pointer and field.type.kind in (LIST, MAP)


def compare(shape: Type, old: Any, new: Any) -> tuple[Tree, Tree]:
    """What was added or changed, and what was removed, from ``old`` to ``new``."""
    if old == new:
        return {}, {}
    if is_atomic(shape, new) or is_atomic(shape, old) or type(old) is not type(new):
        return leaf(), {}
    before, after = children(shape, old), children(shape, new)
    changed: Tree = {}
    removed: Tree = {}
    for element, (part_shape, part) in after.items():
        if element not in before:
            if part in ({}, []) and _vanishes(shape, element):
                continue
            changed[element] = everything(part_shape, part, itself=_marked(shape, element))
            continue
        inner_changed, inner_removed = compare(part_shape, before[element][1], part)
        if inner_changed:
            changed[element] = inner_changed
        if inner_removed:
            removed[element] = inner_removed
    for element, (part_shape, part) in before.items():
        if element not in after:
            removed[element] = {**everything(part_shape, part), SELF: {}}
    return changed, removed


def merged(shape: Type, old: Any, new: Any) -> Any:
    """``old`` with ``new`` laid over it: lists of kind ``set`` and ``map`` and granular maps are joined."""
    if type(old) is not type(new) or is_atomic(shape, new):
        return new
    if isinstance(new, dict):
        parts = children(shape, new)
        found = dict(old)
        for key, value in new.items():
            found[key] = merged(parts[f"f:{key}"][0], old[key], value) if key in old else value
        return found
    return _merged_list(shape, old, new)


def _merged_list(shape: Type, old: list[Any], new: list[Any]) -> list[Any]:
    """Items in the order of ``new``; those that only ``old`` has keep their place between their neighbours."""
    item = shape.item or ANY
    after = {element_of(shape, one): one for one in new}
    before = {element_of(shape, one): one for one in old}
    joined = {key: merged(item, before[key], one) if key in before else one for key, one in after.items()}
    found: list[Any] = []
    waiting = list(after)
    for key, one in before.items():
        if key not in after:
            found.append(one)
        elif key in waiting:
            upto = waiting.index(key) + 1
            found += [joined[name] for name in waiting[:upto]]
            del waiting[:upto]
    return found + [joined[name] for name in waiting]


def removed_from(shape: Type, value: Any, tree: Tree) -> Any:
    """``value`` without the members of ``tree``; containers that only lose parts stay."""
    if isinstance(value, dict):
        parts = children(shape, value)
        found = {}
        for key, one in value.items():
            inner = tree.get(f"f:{key}")
            if inner is None:
                found[key] = one
            elif SELF not in inner:
                found[key] = removed_from(parts[f"f:{key}"][0], one, inner)
        return found
    if isinstance(value, list) and shape.list_kind in ("set", "map"):
        item = shape.item or ANY
        kept = []
        for one in value:
            inner = tree.get(element_of(shape, one))
            if inner is None:
                kept.append(one)
            elif SELF not in inner:
                kept.append(removed_from(item, one, inner))
        return kept
    return value
