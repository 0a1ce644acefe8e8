"""Reads ``types.txt``; a struct is parsed when it is first needed.

A block is ``= NAME [atomic]`` and lines ``FIELD NUMBER TYPE FLAG...``; types are scalars, names of blocks,
``[]T`` and ``map:T``. Flags: ``required``, ``always`` (written even when empty), ``pointer``, ``default=JSON``,
for server-side apply ``atomic``, ``set``, ``map=KEY,...``, for strategic merge ``merge=KEY``, ``retainKeys``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lab.emulator.kube.schema.types import ANY, LIST, MAP, SCALAR, STRUCT, Field, Type

_SCALARS = ("string", "bool", "int32", "int64", "double", "bytes", "Time", "MicroTime", "Quantity", "IntOrString")
_SCALAR_TYPES = {name: Type(SCALAR, name) for name in _SCALARS}
_PACKAGES = {
    "": "core",
    "networking.k8s.io": "networking",
    "discovery.k8s.io": "discovery",
    "rbac.authorization.k8s.io": "rbac",
    "coordination.k8s.io": "coordination",
    "certificates.k8s.io": "certificates",
    "node.k8s.io": "node",
    "storage.k8s.io": "storage",
    "scheduling.k8s.io": "scheduling",
    "admissionregistration.k8s.io": "admissionregistration",
    "apiextensions.k8s.io": "apiextensions",
    "apiregistration.k8s.io": "apiregistration",
    "authentication.k8s.io": "authentication",
    "authorization.k8s.io": "authorization",
}


@cache
def _blocks() -> dict[str, str]:
    text = (Path(__file__).parent / "types.txt").read_text()
    found = {}
    for block in text.split("\n= "):
        head, _, _ = block.partition("\n")
        if head:
            found[head.split()[0]] = block
    return found


@cache
def struct(name: str) -> Type:
    """The shape named ``name`` (``core.v1.PodSpec``); raises KeyError when there is none."""
    head = _blocks()[name].partition("\n")[0]
    return Type(STRUCT, name, atomic=" atomic" in head, load=lambda: _fields(name))


def kind_name(group: str, version: str, kind: str) -> str:
    """The name of a built-in kind's shape: ``apps.v1.Deployment``."""
    return f"{_PACKAGES.get(group, group)}.{version}.{kind}"


def of_resource(group: str, version: str, kind: str) -> Type | None:
    """The shape of a built-in kind, or None when the file lacks it."""
    name = kind_name(group, version, kind)
    return struct(name) if name in _blocks() else None


def _fields(name: str) -> Mapping[str, Field]:
    lines = _blocks()[name].split("\n")[1:]
    return {field.name: field for field in map(_field, filter(None, lines))}


def _field(line: str) -> Field:
    name, number, notation, *flags = line.split(" ")
    given = dict(flag.partition("=")[::2] for flag in flags)
    kind = _type(notation, given)
    pointer = "pointer" in given
    # Go's omitempty has no effect on structs: they are written as {} (Time as null).
    plain_struct = not pointer and (kind.kind == STRUCT or kind.name in ("Time", "MicroTime"))
    return Field(
        name,
        kind,
        number=tuple(int(part) for part in number.split(".")),
        required="required" in given,
        always="always" in given or plain_struct,
        pointer=pointer,
        default=json.loads(given["default"]) if "default" in given else None,
    )


def _type(notation: str, flags: Mapping[str, str]) -> Type:
    if notation.startswith("[]"):
        list_kind = "set" if "set" in flags else "map" if "map" in flags else "atomic"
        return Type(
            LIST,
            item=_type(notation[2:], {}),
            list_kind=list_kind,
            keys=tuple(flags["map"].split(",")) if "map" in flags else (),
            merge_key=flags.get("merge"),
            retain_keys="retainKeys" in flags,
        )
    if notation.startswith("map:"):
        return Type(MAP, item=_type(notation[4:], {}), atomic="atomic" in flags)
    if notation == "any":
        return ANY
    if notation in _SCALAR_TYPES:
        return _SCALAR_TYPES[notation]
    found = struct(notation)
    if "atomic" in flags or "retainKeys" in flags:
        return Type(STRUCT, found.name, atomic=found.atomic or "atomic" in flags,
                    retain_keys="retainKeys" in flags, load=lambda: found.fields)  # fmt: skip
    return found
