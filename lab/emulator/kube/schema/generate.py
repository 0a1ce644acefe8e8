"""Makes ``types.txt`` from Kubernetes' published sources (Apache-2.0).

Run by hand when the emulated version moves:

    python -m lab.emulator.kube.schema.generate FOLDER

``FOLDER`` holds the Go modules k8s.io/kubernetes, k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver
of one version, as ``go mod download`` unpacks them. The OpenAPI documents give types, list kinds and merge keys;
the Go structs give what the documents lack: which empty fields vanish, and protobuf's field numbers.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUPS = (
    "api__v1", "apis__admissionregistration.k8s.io__v1", "apis__apiextensions.k8s.io__v1",
    "apis__apiregistration.k8s.io__v1", "apis__apps__v1", "apis__authentication.k8s.io__v1",
    "apis__authorization.k8s.io__v1", "apis__autoscaling__v1", "apis__autoscaling__v2", "apis__batch__v1",
    "apis__certificates.k8s.io__v1", "apis__coordination.k8s.io__v1", "apis__discovery.k8s.io__v1",
    "apis__networking.k8s.io__v1",
    "apis__node.k8s.io__v1", "apis__policy__v1", "apis__rbac.authorization.k8s.io__v1", "apis__scheduling.k8s.io__v1",
    "apis__storage.k8s.io__v1",
)  # fmt: skip
_PREFIX = re.compile(r"^io\.k8s\.(?:api|apimachinery\.pkg\.apis|apiextensions-apiserver\.pkg\.apis|kube-aggregator"
                     r"\.pkg\.apis)\.")  # fmt: skip
_SCALARS = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "Time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "MicroTime",
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "IntOrString",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "any",
}
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\t(?:(\w+) +)?([\w.*\[\]]+) +`(.*)`", re.MULTILINE)


@dataclass(frozen=True)
class GoField:
    """A field of a Go struct as its tags describe it."""

    number: str
    """Protobuf's number; ``2.7`` is field 7 of an inlined struct with number 2."""
    omitted: bool
    """An empty value vanishes."""
    pointer: bool


def short(name: str) -> str:
    """``io.k8s.api.core.v1.Pod`` -> ``core.v1.Pod``."""
    return _PREFIX.sub("", name)


def go_structs(folder: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Structs below ``folder`` as ``core/v1.PodSpec`` -> JSON name (or ``inline:Type``) -> (Go type, tags)."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for path in sorted(folder.rglob("types*.go")):
        package = "/".join(path.parent.parts[-2:])
        for name, body in _STRUCT.findall(path.read_text()):
            fields = found.setdefault(f"{package}.{name}", {})
            for _, kind, tags in _FIELD.findall(body):
                tag = re.search(r'json:"([^"]*)"', tags)
                if tag:
                    json_name = tag[1].split(",")[0]
                    fields[json_name or f"inline:{kind}"] = (kind, tags)
    return found


def flattened(
    structs: dict[str, dict[str, tuple[str, str]]], name: str, prefix: str = ""
) -> Iterator[tuple[str, GoField]]:
    """The fields of a struct with those of its inlined structs."""
    for json_name, (kind, tags) in structs.get(name, {}).items():
        number = re.search(r'protobuf:"\w+,(\d+)', tags)
        shown = prefix + (number[1] if number else "0")
        if json_name.startswith("inline:"):
            if "TypeMeta" not in kind:
                package = name.rpartition(".")[0]
                yield from flattened(structs, f"{package}.{kind.lstrip('*')}", f"{shown}.")
            continue
        yield json_name, GoField(shown, "omitempty" in tags or "omitzero" in tags, kind.startswith("*"))


def type_of(schema: dict[str, Any], refs: set[str]) -> str:
    """A property's type in the notation of ``types.txt``."""
    reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("allOf", ())), None)
    if reference:
        name = reference.rpartition("/")[2]
        if name in _SCALARS:
            return _SCALARS[name]
        refs.add(name)
        return short(name)
    kind = schema.get("type")
    if kind == "array":
        return "[]" + type_of(schema["items"], refs)
    if kind == "object":
        values = schema.get("additionalProperties")
        return "map:" + type_of(values, refs) if values else "any"
    if kind == "string":
        return "bytes" if schema.get("format") == "byte" else "string"
    if kind == "integer":
        return str(schema.get("format") or "int64")
    return {"boolean": "bool", "number": "double"}.get(str(kind), "any")


def flags(schema: dict[str, Any], required: bool, go: GoField | None) -> list[str]:
    """What else is known about a property."""
    found = ["required"] * required
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map":
        found.append("map=" + ",".join(schema["x-kubernetes-list-map-keys"]))
    elif kind:
        found.append(kind)
    if schema.get("x-kubernetes-map-type") == "atomic":
        found.append("atomic")
    strategies = str(schema.get("x-kubernetes-patch-strategy", "")).split(",")
    if "merge" in strategies:
        found.append("merge=" + schema.get("x-kubernetes-patch-merge-key", ""))
    if "retainKeys" in strategies:
        found.append("retainKeys")
    if schema.get("default") not in (None, "", 0, {}, False):
        found.append("default=" + json.dumps(schema["default"], separators=(",", ":")))
    if go and not go.omitted and not go.pointer:
        found.append("always")
    elif go and go.pointer:
        found.append("pointer")
    return found


def main(folder: Path) -> None:
    """Write both files beside this one."""
    schemas: dict[str, Any] = {}
    (kubernetes,) = folder.glob("kubernetes@*")
    for group in GROUPS:
        document = json.loads((kubernetes / f"api/openapi-spec/v3/{group}_openapi.json").read_text())
        schemas.update(document["components"]["schemas"])
    structs: dict[str, dict[str, tuple[str, str]]] = {}
    for module in (
        "api@*",
        "apimachinery@*/pkg/apis/meta",
        "apiextensions-apiserver@*/pkg/apis",
        "kube-aggregator@*/pkg/apis",
    ):
        for path in folder.glob(module):
            structs.update(go_structs(path))
    lines: list[str] = []
    seen: set[str] = set()
    queue = sorted(
        name
        for name, schema in schemas.items()
        if "x-kubernetes-group-version-kind" in schema and not name.endswith("List") and "meta.v1" not in name
    )
    queue += [f"io.k8s.apimachinery.pkg.apis.meta.v1.{name}" for name in ("DeleteOptions", "Status", "ListMeta")]
    while queue:
        name = queue.pop(0)
        if name in seen or name not in schemas:
            continue
        seen.add(name)
        refs: set[str] = set()
        lines += block(name, schemas[name], structs, refs)
        queue += sorted(refs - seen)
    here = Path(__file__).parent
    (here / "types.txt").write_text("\n".join(lines) + "\n")


def block(
    name: str, schema: dict[str, Any], structs: dict[str, dict[str, tuple[str, str]]], refs: set[str]
) -> list[str]:
    """The lines of one type."""
    group, version, kind = name.split(".")[-3:]
    go = dict(flattened(structs, f"{group}/{version}.{kind}"))
    atomic = " atomic" if schema.get("x-kubernetes-map-type") == "atomic" else ""
    lines = ["", f"= {short(name)}{atomic}"]
    required = set(schema.get("required", ()))
    for field, value in schema.get("properties", {}).items():
        if field in ("apiVersion", "kind") and "x-kubernetes-group-version-kind" in schema and field not in go:
            continue
        known = go.get(field)
        parts = [field, known.number if known else "0", type_of(value, refs)]
        lines.append(" ".join(parts + flags(value, field in required, known)))
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1]))
