"""Columns of custom resources: ``additionalPrinterColumns`` with their JSONPaths."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from lab.emulator.kube.objects import Object
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.web.columns.column import AGE, NAME, Column, since

_STEP = re.compile(
    r"\.?(?:\['([^']+)'\]|\[\?\(@\.([\w.]+)\s*==\s*[\"']([^\"']*)[\"']\)\]|\[(\d+|\*)\]|((?:[^.\[\\]|\\.)+))"
)


def custom_columns(resource: Resource, version: str) -> tuple[Column, ...]:
    """Name, what the definition lists, and the age when it lists nothing."""
    versions = (resource.custom or {}).get("versions") or []
    listed = next((one.get("additionalPrinterColumns") for one in versions if one["name"] == version), None)
    if not listed:
        return NAME, AGE
    return (NAME, *(_column(one) for one in listed))


def _column(definition: Object) -> Column:
    kind = definition["type"]
    return Column(
        definition["name"],
        kind,
        _reader(definition["jsonPath"], kind),
        priority=int(definition.get("priority") or 0),
        format=str(definition.get("format") or ""),
        description=str(definition.get("description") or ""),
    )


def _reader(path: str, kind: str) -> Callable[[Object], Any]:
    steps = [match.groups() for match in _STEP.finditer(path.strip().strip("{}"))]

    def read(obj: Object) -> Any:
        found: list[Any] = [obj]
        for step in steps:
            found = [value for one in found for value in _follow(one, step)]
        return _cell(found, kind)

    return read


def _follow(value: Any, step: tuple[str, ...]) -> list[Any]:
    quoted, key, wanted, index, plain = step
    if key:
        items = value if isinstance(value, list) else []
        return [one for one in items if isinstance(one, dict) and str(one.get(key)) == wanted]
    if index:
        items = value if isinstance(value, list) else []
        return items if index == "*" else items[int(index) : int(index) + 1]
    name = quoted or (plain or "").replace("\\.", ".")
    return [value[name]] if isinstance(value, dict) and name in value else []


def _cell(found: list[Any], kind: str) -> Any:
    if not found:
        return None
    value = found[0]
    if kind == "date":
        return since(value) if value else None
    if kind in ("integer", "number"):
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if len(found) > 1:
        return " ".join(_shown(one) for one in found)
    return _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"))
    return str(value)
