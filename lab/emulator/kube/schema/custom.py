"""Shapes of custom resources, from the ``openAPIV3Schema`` of their definition.

Source: k8s.io/apiextensions-apiserver pkg/apiserver/schema (structural schemas), v0.33.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.emulator.kube.schema.builtin import struct
from lab.emulator.kube.schema.types import ANY, FREE, LIST, MAP, SCALAR, STRUCT, Field, Type

_CHECKS = ("enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
           "minItems", "maxItems", "minProperties", "maxProperties", "multipleOf", "uniqueItems", "required",
           "anyOf", "allOf", "oneOf", "not", "format", "x-kubernetes-validations")  # fmt: skip


def root(schema: Mapping[str, Any]) -> Type:
    """The shape of whole objects: as `from_openapi`, with the fields that every object has."""
    found = from_openapi(schema)
    string = Type(SCALAR, "string")
    common = {
        "apiVersion": Field("apiVersion", string),
        "kind": Field("kind", string),
        "metadata": Field("metadata", struct("meta.v1.ObjectMeta"), always=True),
    }
    fields = {**found.fields, **common}
    return Type(STRUCT, found.name, load=lambda: fields, preserve=found.preserve, checks=found.checks)


def from_openapi(schema: Mapping[str, Any]) -> Type:
    """The shape that an OpenAPI v3 schema describes."""
    if schema.get("x-kubernetes-int-or-string"):
        return Type(SCALAR, "IntOrString", nullable=bool(schema.get("nullable")), checks=_checks(schema))
    kind = schema.get("type")
    if kind == "object" or (not kind and ("properties" in schema or "additionalProperties" in schema)):
        return _object(schema)
    if kind == "array":
        list_kind = str(schema.get("x-kubernetes-list-type") or "atomic")
        return Type(LIST, item=from_openapi(schema.get("items") or {}), list_kind=list_kind,
                    keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
                    nullable=bool(schema.get("nullable")), checks=_checks(schema))  # fmt: skip
    if kind in ("string", "boolean", "integer", "number"):
        name = {"boolean": "bool", "integer": "int64", "number": "double"}.get(str(kind), "string")
        return Type(SCALAR, name, nullable=bool(schema.get("nullable")), checks=_checks(schema))
    return ANY if not _checks(schema) else Type(FREE, preserve=True, checks=_checks(schema))


def _checks(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: schema[key] for key in _CHECKS if key in schema}


def _object(schema: Mapping[str, Any]) -> Type:
    nullable = bool(schema.get("nullable"))
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    values = schema.get("additionalProperties")
    if values:
        item = ANY if values is True else from_openapi(values)
        return Type(MAP, item=item, atomic=atomic, nullable=nullable, checks=_checks(schema))
    required = set(schema.get("required") or ())
    fields = {
        name: Field(name, from_openapi(one), required=name in required, pointer=True, default=one.get("default"))
        for name, one in (schema.get("properties") or {}).items()
    }
    preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource"))
    return Type(STRUCT, load=lambda: fields, atomic=atomic, preserve=preserve, nullable=nullable,
                checks=_checks(schema))  # fmt: skip
