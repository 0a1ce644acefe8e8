"""The notation for shapes that built-in and custom kinds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

STRUCT, LIST, MAP, SCALAR, FREE = "struct", "list", "map", "scalar", "any"


@dataclass(eq=False)
class Type:
    """The shape of a value."""

    kind: str
    """``struct``, ``list``, ``map``, ``scalar`` or ``any`` (free JSON)."""
    name: str = ""
    """Of a struct its type's name (``core.v1.PodSpec``), of a scalar its notation (``int32``, ``Quantity`` ...)."""
    item: Type | None = None
    """Shape of a list's items or a map's values."""
    load: Callable[[], Mapping[str, Field]] | None = field(default=None, repr=False)
    atomic: bool = False
    """Server-side apply owns the value as a whole."""
    list_kind: str = ""
    """How server-side apply merges a list: ``atomic``, ``set`` or ``map``."""
    keys: tuple[str, ...] = ()
    """Fields that identify an item of a ``map`` list."""
    merge_key: str | None = None
    """Strategic merge: the field that identifies an item, empty for a list of scalars, None to replace the list."""
    retain_keys: bool = False
    preserve: bool = False
    """Unknown fields are kept."""
    nullable: bool = False
    checks: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """A custom schema's value validations, in OpenAPI's words."""
    _fields: Mapping[str, Field] | None = field(default=None, repr=False)

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of a struct; empty for everything else."""
        if self._fields is None:
            self._fields = self.load() if self.load else {}
        return self._fields

    @property
    def short_name(self) -> str:
        """The Go type's name as decoding errors show it."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, eq=False)
class Field:
    """A field of a struct."""

    name: str
    type: Type
    number: tuple[int, ...] = ()
    """Protobuf's field number; two numbers for a field of an inlined message."""
    required: bool = False
    always: bool = False
    """An encoder writes the field even when it was never set."""
    pointer: bool = False
    """Zero and unset are different things."""
    default: Any = None


ANY = Type(FREE, preserve=True)
