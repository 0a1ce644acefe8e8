"""Each setting with where its value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import settings
from lab.config import facts


@dataclass(frozen=True)
class Value:
    """One setting as it holds now."""

    key: str
    value: Any
    origin: str
    """``default``, ``lab.yaml line 3`` or ``environment variable LAB_PORTS_APP``."""


def values(path: Path, environ: Mapping[str, str]) -> list[Value]:
    """Every setting, in the order of the code.

    Raises:
        UsageError: the file or a variable is wrong.
    """
    loaded = settings.load(path, environ)
    lines = dict(_lines(_root(path), ""))
    found = []
    for key in list(settings.keys()):
        value: Any = loaded
        for part in key.split("."):
            value = getattr(value, part)
        origin = f"{path.name} line {lines[key]}" if key in lines else "default"
        if settings.variable(key) in environ:
            origin = f"environment variable {settings.variable(key)}"
        found.append(Value(key, value, origin))
    return found


def _root(path: Path) -> yaml.Node | None:
    if not path.exists():
        return None
    return yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)


def _lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    """The line of each key that has a value; a key that is given twice counts where it stands last."""
    if not isinstance(node, yaml.MappingNode):
        return
    yaml.SafeLoader("").flatten_mapping(node)  # puts what `<<` brings in its place, with the lines it came from
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        if value.tag != "tag:yaml.org,2002:null":
            yield path, key.start_mark.line + 1
        if facts.find(path) is None:
            yield from _lines(value, f"{path}.")
