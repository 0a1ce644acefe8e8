r"""Protobuf bodies, as ``kubectl create`` sends them from 1.32 on, decoded with the field numbers of the shapes.

Source: k8s.io/apimachinery pkg/runtime/serializer/protobuf (``k8s\0`` and a runtime.Unknown), the kinds'
generated.proto (v0.33).
"""

from __future__ import annotations

import base64
import json
import struct as binary
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from lab.emulator.kube.errors import StatusError, bad_request
from lab.emulator.kube.objects import Object
from lab.emulator.kube.schema import Field, Type, of_resource
from lab.emulator.kube.schema.types import FREE, LIST, MAP, SCALAR, STRUCT

_MAGIC = b"k8s\x00"
_SIGN = 1 << 63

Numbers = dict[int, Any]
"""Field number -> the field, or the numbers of a message that Go inlines."""


def decode(content: bytes) -> Object:
    """The object in a protobuf body; raises 400 when it cannot be read and 415 for an unknown kind."""
    if not content.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    try:
        unknown = dict(_fields(content[len(_MAGIC) :]))
        meta = dict(_fields(unknown.get(1, b"")))
        api_version, kind = _text(meta.get(1, b"")), _text(meta.get(2, b""))
        shape = _shape(api_version, kind)
        body = _message(shape, unknown.get(2, b""))
    except (IndexError, ValueError, binary.error) as error:
        raise bad_request(f"proto: cannot parse the body: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **body}


def _shape(api_version: str, kind: str) -> Type:
    group, _, version = api_version.rpartition("/")
    found = of_resource(group, version, kind) or of_resource("meta", "v1", kind)
    if found:
        return found
    raise StatusError(415, "UnsupportedMediaType", f"not emulated: protobuf bodies of kind {kind} in {api_version}")


def _text(value: Any) -> str:
    return bytes(value).decode()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("integer overflow")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and raw value of every field: int for numbers, bytes for the rest."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value: Any
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("unexpected EOF")
            value, at = data[at : at + size], at + size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"illegal wireType {wire}")
        yield number, value


@lru_cache(maxsize=512)
def _numbers(shape: Type) -> Numbers:
    found: Numbers = {}
    for field in shape.fields.values():
        place = found
        for number in field.number[:-1]:
            place = place.setdefault(number, {})
        place[field.number[-1]] = field
    return found


def _message(shape: Type, data: bytes) -> Object:
    found: Object = {}
    _read(_numbers(shape), data, found)
    return found


def _read(numbers: Numbers, data: bytes, found: Object) -> None:
    for number, value in _fields(data):
        known = numbers.get(number)
        if isinstance(known, dict):
            _read(known, value, found)
        elif isinstance(known, Field):
            _put(known, value, found)


def _put(field: Field, value: Any, found: Object) -> None:
    shape = field.type
    if shape.kind == LIST and shape.item:
        found.setdefault(field.name, []).append(_value(shape.item, value))
    elif shape.kind == MAP and shape.item:
        entry = dict(_fields(value))
        found.setdefault(field.name, {})[_text(entry.get(1, b""))] = _map_value(shape.item, entry.get(2))
    else:
        read = _value(shape, value)
        if read is not None:
            found[field.name] = read


def _map_value(shape: Type, value: Any) -> Any:
    if shape.kind == LIST and shape.item:  # lists inside maps are messages with one repeated field
        return [_value(shape.item, one) for _, one in _fields(value or b"")]
    return _value(shape, b"" if value is None else value)


def _value(shape: Type, value: Any) -> Any:
    if shape.kind == STRUCT:
        return _message(shape, value)
    if shape.kind == FREE:
        raw = dict(_fields(value)).get(1)
        return json.loads(raw) if raw else None
    if shape.kind == SCALAR:
        return _SCALARS[shape.name](value)
    raise ValueError(f"unexpected shape {shape.kind}")


def _integer(value: int) -> int:
    return value - 2 * _SIGN if value >= _SIGN else value


def _int_or_string(value: bytes) -> Any:
    parts = dict(_fields(value))
    return _text(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))


def _quantity(value: bytes) -> str:
    return _text(dict(_fields(value)).get(1, b"0")) or "0"


def _time(value: bytes) -> str | None:
    parts = dict(_fields(value))
    if not parts.get(1):
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_integer(parts[1])))


def _micro_time(value: bytes) -> str | None:
    parts = dict(_fields(value))
    if not parts.get(1):
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(_integer(parts[1]))) + f".{parts.get(2, 0) // 1000:06d}Z"


_SCALARS: dict[str, Any] = {
    "string": _text,
    "bool": bool,
    "int32": _integer,
    "int64": _integer,
    "double": lambda value: binary.unpack("<d", value)[0],
    "bytes": lambda value: base64.b64encode(value).decode(),
    "Quantity": _quantity,
    "Time": _time,
    "MicroTime": _micro_time,
    "IntOrString": _int_or_string,
}
