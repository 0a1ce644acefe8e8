"""Strategic merge patch: a merge patch that knows by which field a list's items are told apart.

Source: k8s.io/apimachinery pkg/util/strategicpatch/patch.go (v0.33).
"""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.errors import bad_request
from lab.emulator.kube.objects import copied
from lab.emulator.kube.schema import ANY, Type
from lab.emulator.kube.schema.types import LIST, MAP, STRUCT

_DIRECTIVE, _RETAIN = "$patch", "$retainKeys"
_DELETE_PRIMITIVES, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def apply(shape: Type, target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``target`` with ``patch`` merged into it; ``shape`` is the target's.

    Raises:
        StatusError: 400 an item lacks its merge key, or a directive is unknown.
    """
    return dict(_merge_map(shape, target, patch))


def _field_shape(shape: Type, name: str) -> Type:
    if shape.kind == STRUCT:
        field = shape.fields.get(name)
        return field.type if field else ANY
    if shape.kind == MAP and shape.item:
        return shape.item
    return ANY


def _merge_map(shape: Type, target: dict[str, Any], patch: dict[str, Any], *, retain: bool = False) -> dict[str, Any]:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return dict(copied({key: value for key, value in patch.items() if key != _DIRECTIVE}))
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type found: {directive}")
    found = dict(target)
    if _RETAIN in patch:
        if not retain and shape.kind != STRUCT:
            raise bad_request("invalid patch format of retainKeys")
        kept = set(patch[_RETAIN])
        found = {key: value for key, value in found.items() if key in kept}
    for key, value in patch.items():
        if key in (_DIRECTIVE, _RETAIN) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE_PRIMITIVES):
            name = key[len(_DELETE_PRIMITIVES) :]
            found[name] = [one for one in found.get(name) or [] if one not in value]
        else:
            _merge_key(shape, found, key, value, patch.get(_ORDER + key))
    for key, value in patch.items():
        name = key[len(_ORDER) :]
        if key.startswith(_ORDER) and name not in patch and isinstance(found.get(name), list):
            found[name] = _ordered(_field_shape(shape, name), found[name], value)
    return found


def _merge_key(shape: Type, found: dict[str, Any], key: str, value: Any, order: list[Any] | None) -> None:
    if value is None:
        found.pop(key, None)
        return
    inner = _field_shape(shape, key)
    current = found.get(key)
    if isinstance(value, dict):
        found[key] = _merge_map(inner, current if isinstance(current, dict) else {}, value, retain=inner.retain_keys)
    elif isinstance(value, list) and inner.kind == LIST and inner.merge_key is not None:
        joined = _merge_list(inner, current if isinstance(current, list) else [], value)
        found[key] = _ordered(inner, joined, order) if order is not None else joined
    else:
        found[key] = copied(value)


def _merge_list(shape: Type, target: list[Any], patch: list[Any]) -> list[Any]:
    if not shape.merge_key:
        added = [copied(one) for one in patch if one not in target]
        return [*target, *added]
    if any(isinstance(one, dict) and one.get(_DIRECTIVE) == "replace" for one in patch):
        return [copied(one) for one in patch if one.get(_DIRECTIVE) != "replace"]
    found = list(target)
    for one in patch:
        found = _merge_item(shape, found, one)
    return found


def _merge_item(shape: Type, found: list[Any], item: Any) -> list[Any]:
    key = shape.merge_key or ""
    if not isinstance(item, dict) or key not in item:
        raise bad_request(f"map: map[] does not contain declared merge key: {key}")
    matches = [index for index, one in enumerate(found) if one.get(key) == item[key]]
    if item.get(_DIRECTIVE) == "delete":
        return [one for index, one in enumerate(found) if index not in matches]
    inner = shape.item or ANY
    if not matches:
        return [*found, _merge_map(inner, {}, item, retain=shape.retain_keys)]
    index = matches[0]
    return [*found[:index], _merge_map(inner, found[index], item, retain=shape.retain_keys), *found[index + 1 :]]


def _ordered(shape: Type, items: list[Any], order: list[Any]) -> list[Any]:
    """The items in ``order``; those it does not name stay where they were relative to the item before them."""
    key = shape.merge_key

    def name(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [name(one) for one in order]
    ranked = {repr(value): index for index, value in enumerate(wanted)}
    listed = sorted((one for one in items if repr(name(one)) in ranked), key=lambda one: ranked[repr(name(one))])
    pending = iter(listed)
    return [next(pending) if repr(name(one)) in ranked else one for one in items]
