"""Reads one YAML document the way GitLab does: aliases, merge keys and ``!reference`` tags.

Errors carry libyaml's text in the form GitLab prints it,
``(<unknown>): did not find expected key while parsing a block mapping at line 3 column 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigError(Exception):
    """A configuration that GitLab would refuse; ``errors`` are its texts, the first one is the pipeline's."""

    def __init__(self, *errors: str) -> None:
        super().__init__("\n".join(errors))
        self.errors = list(errors)


@dataclass(frozen=True)
class Reference:
    """``!reference [job, key, ...]``: the place whose value is wanted."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        return "!reference [" + ", ".join(f'"{part}"' for part in self.path) + "]"


class _Loader(_Base):  # type: ignore[misc]
    """Safe types only; dates stay text, as GitLab's loader does not build them."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the loader's own way to configure it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }


def _reference(loader: Any, node: Any) -> Reference:
    if not isinstance(node, yaml.SequenceNode):
        raise ConfigError("!reference tag must be an array of strings")
    return Reference(tuple(str(part) for part in loader.construct_sequence(node)))


_Loader.add_constructor("!reference", _reference)


def load(text: str) -> dict[str, Any]:
    """The document's mapping with all keys as text.

    Raises:
        ConfigError: it is no YAML, or no mapping.
    """
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from the safe loader
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_text(error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"Invalid configuration format: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError("Invalid configuration format")
    return {str(key): value for key, value in _text_keys(document).items()}


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _text_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text_keys(item) for item in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    return "" if key is None else str(key)


def _text(error: yaml.MarkedYAMLError) -> str:
    mark = error.context_mark or error.problem_mark
    place = f" at line {mark.line + 1} column {mark.column + 1}" if mark else ""
    return "(<unknown>): " + " ".join(part for part in (error.problem, error.context) if part) + place
