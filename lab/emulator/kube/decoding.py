"""From what a client sent to an object of its kind: types checked, unknown fields found, empty ones normalised.

What a real server does by decoding JSON into Go structs and encoding those again. Built-in kinds fail with the
decoder's texts (400), custom ones with their schema's (422, see `custom_validation`).
"""

from __future__ import annotations

import base64
import binascii
import calendar
import re
import time
from collections.abc import Callable
from typing import Any, Protocol

from lab.emulator.kube import quantity
from lab.emulator.kube.custom_validation import prune
from lab.emulator.kube.errors import StatusError, bad_request
from lab.emulator.kube.objects import Object, copied
from lab.emulator.kube.resources import Resource
from lab.emulator.kube.schema import Field, Type, of_resource, struct
from lab.emulator.kube.schema.types import LIST, MAP, SCALAR, STRUCT

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")
_RANGES = {"int32": 2**31, "int64": 2**63}


class Validation(Protocol):
    """What `decode` needs to know about a request."""

    @property
    def validation(self) -> str:
        """``Ignore``, ``Warn`` or ``Strict``."""

    @property
    def version(self) -> str:
        """Version that the request speaks; empty for the stored one."""

    @property
    def warnings(self) -> list[str]:
        """Where warnings go."""


def decode(resource: Resource, obj: Any, options: Validation) -> Object:
    """A normalised copy of ``obj`` in the version that ``resource`` is stored in.

    Raises:
        StatusError: 400, ``obj`` is no such object, or has unknown fields and validation is strict.
    """
    if not isinstance(obj, dict):
        raise bad_request(f"{_subject(resource, options)}: json: cannot unmarshal {_kind_of(obj)} into Go value of "
                          f"type {resource.version}.{resource.kind}")  # fmt: skip
    version = options.version or str(obj.get("apiVersion") or "").rpartition("/")[2] or resource.version
    _check_kind(resource, obj, version)
    unknown: list[str] = []
    new = _body(resource, obj, version, unknown, options)
    if unknown and options.validation == "Strict":
        listed = ", ".join(unknown)
        raise bad_request(f"{_subject(resource, options)}: strict decoding error: {listed}")
    if options.validation == "Warn":
        options.warnings.extend(unknown)
    return {"apiVersion": resource.api_version, "kind": resource.kind, **new}


def configuration(resource: Resource, obj: Any, options: Validation) -> Object:
    """A copy of ``obj`` as server-side apply takes it: of the right kind, otherwise as it was sent."""
    if not isinstance(obj, dict):
        raise bad_request("error decoding YAML: the body is not an object")
    _check_kind(resource, obj, options.version or str(obj.get("apiVersion") or "").rpartition("/")[2])
    return dict(copied(obj))


def _body(resource: Resource, obj: Object, version: str, unknown: list[str], options: Validation) -> Object:
    decoder = _Decoder(resource, options, unknown)
    if resource.custom is not None:
        found = prune(resource, version, {key: value for key, value in obj.items() if key != "metadata"}, unknown)
        meta = obj.get("metadata")
        if meta is not None and not isinstance(meta, dict):
            raise bad_request(f"{_subject(resource, options)}: metadata must be an object")
        found["metadata"] = decoder.struct(struct("meta.v1.ObjectMeta"), meta or {}, "metadata.", "metadata.")
        return found
    shape = of_resource(resource.group, version, resource.kind)
    if shape is None:
        raise StatusError(500, "InternalError", f"no shape for {resource.qualified}/{version}")
    body = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    return dict(decoder.struct(shape, body, "", ""))


def _subject(resource: Resource, options: Validation) -> str:
    version = options.version or resource.version
    return f'{resource.kind} in version "{version}" cannot be handled as a {resource.kind}'


def _check_kind(resource: Resource, obj: Object, version: str) -> None:
    kind = obj.get("kind")
    if kind and kind != resource.kind:
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): "
                          f"couldn't get version/kind; json parse error")  # fmt: skip
    api_version = obj.get("apiVersion")
    if version not in resource.versions or (api_version and api_version != resource.api_version_of(version)):
        expected = resource.api_version_of(version if version in resource.versions else resource.version)
        raise bad_request(f"the API version in the data ({api_version}) does not match the expected API version "
                          f"({expected})")  # fmt: skip


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {str: "string", int: "number", float: "number", list: "array", dict: "object"}.get(type(value), "null")


class _Decoder:
    """Decodes one document; paths are for messages and are built only when something is wrong."""

    def __init__(self, resource: Resource, options: Validation, unknown: list[str]) -> None:
        self._resource, self._options, self._unknown = resource, options, unknown

    def struct(self, shape: Type, value: Object, path: str, indexed: str) -> Object:
        """A struct: known fields in order of the shape; ``path`` is Go's, ``indexed`` has list indexes."""
        known = shape.fields
        for name in value:
            if name not in known:
                self._unknown.append(f'unknown field "{indexed}{name}"')
        found: Object = {}
        for name, field in known.items():
            given = value.get(name)
            if given is None:
                if field.always and (zero := _zero(field)) is not None:
                    found[name] = zero
                continue
            decoded = self._value(field.type, given, shape, f"{path}{name}", f"{indexed}{name}")
            if field.pointer or field.always or decoded or field.type.name == "IntOrString":
                found[name] = decoded
        return found

    def _value(self, shape: Type, value: Any, parent: Type, path: str, indexed: str) -> Any:
        if shape.kind == SCALAR:
            return self._scalar(shape, value, parent, path)
        if shape.kind == STRUCT:
            if not isinstance(value, dict):
                self._mismatch(value, parent, path, shape)
            return self.struct(shape, value, f"{path}.", f"{indexed}.")
        if shape.kind == LIST and shape.item:
            if not isinstance(value, list):
                self._mismatch(value, parent, path, shape)
            return [self._item(shape.item, item, parent, path, f"{indexed}[{i}]") for i, item in enumerate(value)]
        if shape.kind == MAP and shape.item:
            if not isinstance(value, dict):
                self._mismatch(value, parent, path, shape)
            return {key: self._item(shape.item, item, parent, path, f"{indexed}.{key}") for key, item in value.items()}
        return copied(value)

    def _item(self, shape: Type, value: Any, parent: Type, path: str, indexed: str) -> Any:
        if value is None:
            zero = _zero(Field("", shape, always=True))
            return zero if zero is not None else _EMPTY.get(shape.kind, "")
        return self._value(shape, value, parent, path, indexed)

    def _mismatch(self, value: Any, parent: Type, path: str, shape: Type) -> None:
        shown = _kind_of(value)
        if shown == "number" and shape.name in _RANGES:
            shown = f"number {value}"
        raise bad_request(f"{_subject(self._resource, self._options)}: json: cannot unmarshal {shown} into Go struct "
                          f"field {parent.short_name}.{path} of type {_go_type(shape)}")  # fmt: skip

    def _scalar(self, shape: Type, value: Any, parent: Type, path: str) -> Any:
        kind = shape.name
        if kind == "string":
            if not isinstance(value, str):
                self._mismatch(value, parent, path, shape)
            return value
        if kind in _RANGES:
            return self._integer(shape, value, parent, path)
        if kind == "bool":
            if not isinstance(value, bool):
                self._mismatch(value, parent, path, shape)
            return value
        if kind == "IntOrString":
            if isinstance(value, bool) or not isinstance(value, (int, str)):
                self._mismatch(value, parent, path, shape)
            return value
        try:
            return _SPECIAL[kind](value)
        except ValueError as error:
            raise bad_request(f"{_subject(self._resource, self._options)}: {error}") from None

    def _integer(self, shape: Type, value: Any, parent: Type, path: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not -_RANGES[shape.name] <= value < _RANGES[shape.name]
        ):
            self._mismatch(value, parent, path, shape)
        return int(value)


_EMPTY: dict[str, Any] = {LIST: [], MAP: {}, STRUCT: {}}


def _zero(field: Field) -> Any:
    """What Go writes for a field that was never set; None where that is ``null`` or nothing."""
    if field.type.kind == STRUCT:
        found = {}
        for name, inner in field.type.fields.items():
            if inner.always and (zero := _zero(inner)) is not None:
                found[name] = zero
        return found
    if field.type.kind == LIST and field.required:
        return []  # Go writes null here, which the typed clients of other languages refuse
    return {"string": "", "int32": 0, "int64": 0, "bool": False, "double": 0}.get(field.type.name)


def _go_type(shape: Type) -> str:
    if shape.kind == LIST and shape.item:
        return "[]" + _go_type(shape.item)
    if shape.kind == MAP and shape.item:
        return "map[string]" + _go_type(shape.item)
    if shape.kind == STRUCT:
        return ".".join(shape.name.split(".")[-2:])
    return {"IntOrString": "intstr.IntOrString", "bytes": "[]uint8", "double": "float64"}.get(shape.name, shape.name)


def _quantity(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(quantity.PROBLEM)  # noqa: TRY004 - caught as a decoding error
    return quantity.canonical(str(value))


def _bytes(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"json: cannot unmarshal {_kind_of(value)} into Go value of type []uint8")  # noqa: TRY004
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except binascii.Error:
        where = next((i for i, c in enumerate(value) if not (c.isalnum() or c in "+/=\r\n")), len(value) // 4 * 4)
        raise ValueError(f"illegal base64 data at input byte {where}") from None
    return "".join(value.split())


def _time(value: Any) -> str:
    seconds, _ = _instant(value)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _micro_time(value: Any) -> str:
    seconds, fraction = _instant(value)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{(fraction + '000000')[:6]}Z"


def _instant(value: Any) -> tuple[int, str]:
    """Seconds since the epoch and the digits after the point."""
    match = _RFC3339.match(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}" as "2006"')
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    if match[3] != "Z":
        sign = -1 if match[3][0] == "-" else 1
        seconds -= sign * (int(match[3][1:3]) * 3600 + int(match[3][4:6]) * 60)
    return seconds, (match[2] or ".")[1:]


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"json: cannot unmarshal {_kind_of(value)} into Go value of type float64")  # noqa: TRY004
    return value


_SPECIAL: dict[str, Callable[[Any], Any]] = {
    "Quantity": _quantity,
    "bytes": _bytes,
    "Time": _time,
    "MicroTime": _micro_time,
    "double": _double,
}
