"""OpenAPI v3 documents: paths as far as clients look at them, and the schemas of the kinds.

kubectl reads two things: whether a kind's PATCH takes ``fieldValidation``, and the schemas that ``explain`` prints.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

from lab.emulator.kube.resources import Resource, Resources, no_such_resource
from lab.emulator.kube.schema import Type, kind_name
from lab.emulator.kube.schema.types import LIST, MAP, SCALAR, STRUCT
from lab.emulator.kube.shapes import shape_of

EMULATED = "v1.33.5"
"""The Kubernetes version that the documents describe."""

_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"}, "bool": {"type": "boolean"}, "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"}, "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"}, "Time": {"type": "string", "format": "date-time"},
    "MicroTime": {"type": "string", "format": "date-time"},
    "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "IntOrString": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
}  # fmt: skip


class OpenApi:
    """Documents by group and version, each under a hash that clients cache it by.

    A document is made when it is first asked for and kept compressed. Its hash is taken from what it is made of, so
    that the index costs nothing.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._cache: dict[str, tuple[str, bytes]] = {}

    def index(self) -> dict[str, Any]:
        """``/openapi/v3``."""
        paths = {}
        for group, versions in self._resources.groups().items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={self.digest(group, version)}"}
        return {"paths": paths}

    def digest(self, group: str, version: str) -> str:
        """The hash of a group version's document; raises 404."""
        kinds = self._kinds(group, version)
        parts = [EMULATED, *(f"{one.plural} {json.dumps(one.custom, sort_keys=True)}" for one in kinds)]
        return hashlib.sha512("\n".join(parts).encode()).hexdigest().upper()

    def document(self, group: str, version: str) -> tuple[str, bytes]:
        """Hash and gzipped text of a group version's document; raises 404. Takes some 50 ms when it is made."""
        key, digest = f"{group}/{version}", self.digest(group, version)
        known = self._cache.get(key)
        if known and known[0] == digest:
            return known
        text = json.dumps(self._build(group, version), separators=(",", ":")).encode()
        self._cache[key] = (digest, gzip.compress(text, 3, mtime=0))
        return self._cache[key]

    def _kinds(self, group: str, version: str) -> list[Resource]:
        kinds = [one for one in self._resources if one.group == group and version in one.versions]
        if not kinds:
            raise no_such_resource()
        return kinds

    def _build(self, group: str, version: str) -> dict[str, Any]:
        schemas: dict[str, Any] = {}
        paths: dict[str, Any] = {}
        for resource in self._kinds(group, version):
            name = _root(resource, version, schemas)
            paths.update(_paths(resource, version, name))
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": EMULATED},
            "paths": paths,
            "components": {"schemas": schemas},
        }

    def second(self) -> dict[str, Any]:
        """``/openapi/v2``: the definitions of every group in one document."""
        definitions: dict[str, Any] = {}
        for group, versions in self._resources.groups().items():
            for version in versions:
                definitions.update(self._build(group, version)["components"]["schemas"])
        text = json.dumps(definitions).replace("#/components/schemas/", "#/definitions/")
        return {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": EMULATED},
            "paths": {},
            "definitions": json.loads(text),
        }


MINIMAL_V2 = b"\x0a\x032.0" + b"\x12\x15\x0a\x0aKubernetes\x12\x07v1.33.5"
"""``/openapi/v2`` in protobuf (gnostic's Document: swagger, info), without definitions: kubectl asks for it before it
applies a ``List`` and leaves kinds that are not in it to the server's own checks."""

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def _root(resource: Resource, version: str, schemas: dict[str, Any]) -> str:
    shape = shape_of(resource, version)
    if resource.custom is not None:
        name = ".".join([*reversed(resource.group.split(".")), version, resource.kind])
        source = next((one.get("schema") for one in resource.custom["versions"] if one["name"] == version), None)
        schema = dict((source or {}).get("openAPIV3Schema") or {"type": "object"})
        properties = dict(schema.get("properties") or {})
        properties.update(_identity())
        properties["metadata"] = _value(shape.fields["metadata"].type, schemas)
        schemas[name] = {**schema, "properties": properties}
    else:
        name = _name(kind_name(resource.group, version, resource.kind))
        _value(shape, schemas)
        schemas[name]["properties"] = {**_identity(), **schemas[name]["properties"]}
    schemas[name]["x-kubernetes-group-version-kind"] = [
        {"group": resource.group, "kind": resource.kind, "version": version}
    ]
    return name


def _identity() -> dict[str, Any]:
    return {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}


def _name(short: str) -> str:
    if short.startswith("meta."):
        return "io.k8s.apimachinery.pkg.apis." + short
    if short.startswith("apiextensions."):
        return "io.k8s.apiextensions-apiserver.pkg.apis." + short
    if short.startswith("apiregistration."):
        return "io.k8s.kube-aggregator.pkg.apis." + short
    return "io.k8s.api." + short


def _value(shape: Type, schemas: dict[str, Any]) -> dict[str, Any]:
    if shape.kind == SCALAR:
        return dict(_SCALARS[shape.name])
    if shape.kind == LIST and shape.item:
        found: dict[str, Any] = {"type": "array", "items": _value(shape.item, schemas)}
        found["x-kubernetes-list-type"] = shape.list_kind
        if shape.keys:
            found["x-kubernetes-list-map-keys"] = list(shape.keys)
        if shape.merge_key is not None:
            found["x-kubernetes-patch-strategy"] = "merge"
            if shape.merge_key:
                found["x-kubernetes-patch-merge-key"] = shape.merge_key
        return found
    if shape.kind == MAP and shape.item:
        return {"type": "object", "additionalProperties": _value(shape.item, schemas)}
    if shape.kind == STRUCT and shape.name:
        return {"allOf": [{"$ref": f"#/components/schemas/{_struct(shape, schemas)}"}]}
    return {"type": "object"}


def _struct(shape: Type, schemas: dict[str, Any]) -> str:
    name = _name(shape.name)
    if name not in schemas:
        schemas[name] = {"type": "object"}  # first, because shapes may contain themselves
        properties = {key: _value(field.type, schemas) for key, field in shape.fields.items()}
        required = sorted(key for key, field in shape.fields.items() if field.required)
        schemas[name]["properties"] = properties
        if required:
            schemas[name]["required"] = required
        if shape.atomic:
            schemas[name]["x-kubernetes-map-type"] = "atomic"
    return name


def _paths(resource: Resource, version: str, schema: str) -> dict[str, Any]:
    prefix = f"/apis/{resource.group}/{version}" if resource.group else f"/api/{version}"
    base = (
        f"{prefix}/namespaces/{{namespace}}/{resource.plural}" if resource.namespaced else f"{prefix}/{resource.plural}"
    )
    kind = {"group": resource.group, "kind": resource.kind, "version": version}
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}

    def operation(action: str, *, body: bool = True) -> dict[str, Any]:
        found: dict[str, Any] = {"responses": {"200": {"description": "OK", "content": content}},
                                 "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind}  # fmt: skip
        if body:
            found["parameters"] = [_parameter(name) for name in ("dryRun", "fieldManager", "fieldValidation")]
            found["requestBody"] = {"content": {"*/*": {"schema": {"type": "object"}}}}
        return found

    return {
        base: {"get": operation("list", body=False), "post": operation("post")},
        f"{base}/{{name}}": {
            "get": operation("get", body=False), "put": operation("put"), "patch": operation("patch"),
            "delete": operation("delete", body=False),
        },
    }  # fmt: skip


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
