"""The JSON Schema (draft 2020-12) of lab.yaml, for editors. It accepts what the lab accepts, key by key.

What concerns several keys, that no two ports are the same, cannot be said in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import forms
from lab.config import facts
from lab.settings import least

_TYPES: dict[Any, dict[str, Any]] = {
    str: {"type": ["string", "null"]},
    Path: {"type": ["string", "null"]},
    bool: {"type": ["boolean", "null"]},
    int: {"type": ["integer", "null"]},
    float: {"type": ["number", "null"], "exclusiveMinimum": 0},
    Mapping: {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
}
_PORT = {"maximum": 65535}
_MIRRORS = {
    "propertyNames": {"pattern": f"^(?:{forms.REGISTRY.pattern})$"},
    "additionalProperties": {"type": "string", "pattern": rf"^\s*(?:{forms.MIRROR.pattern})\s*$"},
}
_PROJECT_PATH = {"pattern": "[^/].*/.*[^/]"}


def schema() -> dict[str, Any]:
    """The schema as one document."""
    top, *below = facts.groups()
    properties = {setting.name: _setting(setting) for setting in top.settings}
    properties |= {group.name: _object(_properties(group), group.about) for group in below}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lab.yaml",
        **_object(properties, "Settings of the lab."),
    }


def _properties(group: facts.Group) -> dict[str, Any]:
    return {setting.name: _setting(setting) for setting in group.settings}


def _object(properties: dict[str, Any], about: str) -> dict[str, Any]:
    return {
        "description": about, "type": ["object", "null"], "properties": properties, "additionalProperties": False,
    }  # fmt: skip


def _setting(setting: facts.Setting) -> dict[str, Any]:
    found = {"enum": [*setting.choices, None]} if setting.choices else dict(_TYPES[setting.kind])
    if setting.kind is int:
        found |= {"minimum": least(setting.key)}
    if setting.key.startswith("ports."):
        found |= _PORT
    if setting.key == "project.path":
        found |= _PROJECT_PATH
    if setting.key in forms.FORMS:
        found |= {"pattern": f"^(?:{forms.FORMS[setting.key].pattern})$"}
    if setting.key == "mirrors":
        found |= _MIRRORS
    default = dict(setting.default) if isinstance(setting.default, Mapping) else setting.default
    return {"description": setting.about, **found, "default": default}
