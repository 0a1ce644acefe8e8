"""What is known about each setting: its type, default and sentence, read once from the code that defines it."""

from __future__ import annotations

import ast
import functools
import inspect
import typing
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from lab import settings


@dataclass(frozen=True)
class Setting:
    """One key of lab.yaml."""

    key: str
    """Its path, ``ports.app``."""
    name: str
    """The last part of the path."""
    about: str
    hint: Any
    """Its type, as annotated."""
    default: Any

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a setting that has few; else nothing."""
        return typing.get_args(self.hint) if typing.get_origin(self.hint) is typing.Literal else ()

    @property
    def kind(self) -> Any:
        """The type without None and parameters: str, int, float, Path or Mapping."""
        parts = [part for part in typing.get_args(self.hint) if part is not type(None)]
        if self.choices or len(parts) < len(typing.get_args(self.hint)):
            return type(parts[0]) if self.choices else parts[0]
        return typing.get_origin(self.hint) or self.hint


@dataclass(frozen=True)
class Group:
    """Keys that stand together; the group without a name holds the keys at the top."""

    name: str
    about: str
    settings: tuple[Setting, ...]


@functools.cache
def groups() -> tuple[Group, ...]:
    """Every setting in its group, the top ones first, in the order of the code."""
    hints = typing.get_type_hints(settings.Settings)
    below = {item.name: hints[item.name] for item in fields(settings.Settings) if is_dataclass(hints[item.name])}
    classes = {"": settings.Settings, **below}
    return tuple(Group(name, _about(cls), _settings(cls, name)) for name, cls in classes.items())


def find(key: str) -> Setting | None:
    """The setting of that path, or None."""
    return next((setting for group in groups() for setting in group.settings if setting.key == key), None)


def _settings(cls: Any, group: str) -> tuple[Setting, ...]:
    hints, about, defaults = typing.get_type_hints(cls), _sentences()[cls.__name__], cls()
    return tuple(
        Setting(
            key=f"{group}.{item.name}" if group else item.name,
            name=item.name,
            about=about.get(item.name, ""),
            hint=hints[item.name],
            default=getattr(defaults, item.name),
        )
        for item in fields(cls)
        if not is_dataclass(hints[item.name])
    )


def _about(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


@functools.cache
def _sentences() -> dict[str, dict[str, str]]:
    """The text below each field, by class and field; Python itself forgets these."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(settings)).body:
        if isinstance(node, ast.ClassDef):
            pairs = zip(node.body, node.body[1:], strict=False)
            found[node.name] = {
                field.target.id: " ".join(text.value.value.split()).replace("``", "`")
                for field, text in pairs
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
                if isinstance(text.value.value, str)
            }
    return found
