"""Custom resources against their definition's schema: pruning, defaults and value checks.

Source: k8s.io/apiextensions-apiserver pkg/apiserver/schema/{pruning,defaulting}, pkg/apiserver/validation (v0.33).
Validation rules in CEL are not evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.objects import Object, copied
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.schema import ANY, Type
from lab.emulator.kube.schema.custom import root
from lab.emulator.kube.schema.types import LIST, MAP, SCALAR, STRUCT

_shapes: dict[tuple[str, str, str], tuple[Mapping[str, Any], Type]] = {}


def shape_of(resource: Resource, version: str) -> Type:
    """The shape of a custom kind's objects in ``version``; free JSON where the definition has no schema."""
    assert resource.custom is not None  # noqa: S101 - for the type checker; callers have looked
    key = (resource.group, resource.plural, version)
    known = _shapes.get(key)
    if known and known[0] is resource.custom:
        return known[1]
    schema = next((v.get("schema") for v in resource.custom["versions"] if v["name"] == version), None)
    openapi = (schema or {}).get("openAPIV3Schema") or {"x-kubernetes-preserve-unknown-fields": True, "type": "object"}
    if resource.custom.get("preserveUnknownFields"):
        openapi = {**openapi, "x-kubernetes-preserve-unknown-fields": True}
    shape = root(openapi)
    _shapes[key] = (resource.custom, shape)
    return shape


def prune(resource: Resource, version: str, obj: Object, unknown: list[str]) -> Object:
    """A copy without the fields that the schema does not know, with its defaults; ``unknown`` gets their names."""
    found = _pruned(shape_of(resource, version), obj, "", unknown)
    for name in ("apiVersion", "kind"):
        found.pop(name, None)
    return dict(found)


def _pruned(shape: Type, value: Any, path: str, unknown: list[str]) -> Any:
    if shape.kind == STRUCT and isinstance(value, dict):
        return _pruned_struct(shape, value, path, unknown)
    if shape.kind == LIST and isinstance(value, list) and shape.item:
        return [_pruned(shape.item, item, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
    if shape.kind == MAP and isinstance(value, dict) and shape.item:
        return {key: _pruned(shape.item, item, f"{path}.{key}", unknown) for key, item in value.items()}
    return copied(value)


def _pruned_struct(shape: Type, value: Object, path: str, unknown: list[str]) -> Object:
    found: Object = {}
    prefix = f"{path}." if path else ""
    for name, item in value.items():
        field = shape.fields.get(name)
        if field:
            if item is None and not field.type.nullable:
                continue  # upstream drops the null; a default, if there is one, takes its place below
            found[name] = _pruned(field.type, item, prefix + name, unknown)
        elif shape.preserve:
            found[name] = copied(item)
        else:
            unknown.append(f'unknown field "{prefix}{name}"')
    for name, field in shape.fields.items():
        if name not in found and field.default is not None:
            found[name] = _pruned(field.type, field.default, prefix + name, unknown)
    return found


def check(resource: Resource, obj: Object) -> list[Cause]:
    """What the schema finds wrong with ``obj``."""
    causes: list[Cause] = []
    shape = shape_of(resource, resource.version)
    for name, field in shape.fields.items():
        if name in ("apiVersion", "kind", "metadata"):
            continue
        if name in obj:
            _check(field.type, obj[name], name, causes)
        elif field.required:
            causes.append(Cause.required(name))
    return causes


_NAMES = {"bool": "boolean", "int64": "integer", "double": "number", "string": "string"}


def _type_name(shape: Type) -> str:
    if shape.kind == SCALAR:
        return _NAMES.get(shape.name, shape.name)
    return {LIST: "array", STRUCT: "object", MAP: "object"}.get(shape.kind, "any")


def _fits(shape: Type, value: Any) -> bool:
    if shape is ANY or shape.kind == "any":
        return True
    if value is None:
        return shape.nullable
    kind = _type_name(shape)
    if kind == "IntOrString":
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    if kind in ("integer", "number"):
        whole = isinstance(value, int) or (isinstance(value, float) and (kind == "number" or value.is_integer()))
        return whole and not isinstance(value, bool)
    return isinstance(value, {"boolean": bool, "string": str, "array": list}.get(kind, dict))


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _check(shape: Type, value: Any, path: str, causes: list[Cause]) -> None:
    if not _fits(shape, value):
        given = _json_type(value)
        causes.append(Cause(path, f'Invalid value: "{given}": {path} in body must be of type {_type_name(shape)}: '
                                  f'"{given}"', "FieldValueTypeInvalid"))  # fmt: skip
        return
    _check_value(shape.checks, value, path, causes)
    if shape.kind == STRUCT and isinstance(value, dict):
        for name, field in shape.fields.items():
            if name in value:
                _check(field.type, value[name], f"{path}.{name}", causes)
            elif field.required:
                causes.append(Cause.required(f"{path}.{name}"))
    elif shape.kind == LIST and shape.item and isinstance(value, list):
        for index, item in enumerate(value):
            _check(shape.item, item, f"{path}[{index}]", causes)
        _check_keys(shape, value, path, causes)
    elif shape.kind == MAP and shape.item and isinstance(value, dict):
        for key, item in value.items():
            _check(shape.item, item, f"{path}.{key}", causes)


def _check_keys(shape: Type, value: list[Any], path: str, causes: list[Cause]) -> None:
    seen: list[Any] = []
    for index, item in enumerate(value):
        if shape.list_kind == "map" and isinstance(item, dict):
            key: Any = {name: item.get(name) for name in shape.keys}
        elif shape.list_kind == "set":
            key = item
        else:
            return
        if key in seen:
            causes.append(Cause.duplicate(f"{path}[{index}]", key))
        seen.append(key)


def _check_value(checks: Mapping[str, Any], value: Any, path: str, causes: list[Cause]) -> None:
    if "enum" in checks and value not in checks["enum"]:
        causes.append(Cause.unsupported(path, value, [str(one) for one in checks["enum"]]))
    if isinstance(value, str):
        if "pattern" in checks and not re.search(checks["pattern"], value):
            causes.append(Cause.invalid(path, value, f"{path} in body should match '{checks['pattern']}'"))
        _bounds(checks, len(value), value, path, causes, noun="Length", unit="chars long")
    elif isinstance(value, list):
        _bounds(checks, len(value), len(value), path, causes, noun="Items", unit="items")
    elif isinstance(value, dict):
        _bounds(checks, len(value), len(value), path, causes, noun="Properties", unit="properties")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _number(checks, value, path, causes)


def _bounds(
    checks: Mapping[str, Any], size: int, shown: Any, path: str, causes: list[Cause], *, noun: str, unit: str
) -> None:
    low, high = checks.get(f"min{noun}"), checks.get(f"max{noun}")
    verb = "should be" if noun == "Length" else "should have"
    if low is not None and size < low:
        causes.append(Cause.invalid(path, shown, f"{path} in body {verb} at least {low} {unit}"))
    if high is not None and size > high:
        causes.append(Cause(path, f"Too long: may not be more than {high} {unit}" if noun == "Length" else
                            f"Too many: {size}: must have at most {high} {unit}",
                            "FieldValueTooLong" if noun == "Length" else "FieldValueTooMany"))  # fmt: skip


def _number(checks: Mapping[str, Any], value: float, path: str, causes: list[Cause]) -> None:
    low, high = checks.get("minimum"), checks.get("maximum")
    if low is not None and (value < low or (value == low and checks.get("exclusiveMinimum"))):
        word = "greater than" if checks.get("exclusiveMinimum") else "greater than or equal to"
        causes.append(Cause.invalid(path, value, f"{path} in body should be {word} {json.dumps(low)}"))
    if high is not None and (value > high or (value == high and checks.get("exclusiveMaximum"))):
        word = "less than" if checks.get("exclusiveMaximum") else "less than or equal to"
        causes.append(Cause.invalid(path, value, f"{path} in body should be {word} {json.dumps(high)}"))
