"""The part of Go templates that scripts use with ``--format``: field paths, ``json``, ``index``, ``join``."""

from __future__ import annotations

import json
import re
from typing import Any

from lab.emulator.docker.errors import DockerError, NotEmulatedError

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_PATH = re.compile(r"\.(?:[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)?\Z")
_INDEX = re.compile(r'index\s+(\.\S*)\s+(?:(\d+)|"([^"]*)")\Z')
_JOIN = re.compile(r'join\s+(\.\S*)\s+"([^"]*)"\Z')


def render(template: str, document: Any) -> str:
    """Render ``template`` (or the word ``json``) over ``document``.

    Raises:
        NotEmulatedError: the template uses more than is known here.
        DockerError: it names something that the document does not have.
    """
    if template == "json":
        return json.dumps(document, separators=(",", ":"))
    return _ACTION.sub(lambda match: _action(match[1], document), template)


def _action(text: str, document: Any) -> str:
    if text.startswith("json "):
        return json.dumps(_field(text[5:].strip(), document), separators=(",", ":"))
    if match := _INDEX.match(text):
        found = _field(match[1], document)
        try:
            return _text(found[int(match[2])] if match[2] else (found or {}).get(match[3], ""))
        except IndexError as error:
            raise DockerError(f"template parsing error: index out of range: {match[2]}") from error
    if match := _JOIN.match(text):
        return match[2].join(map(str, _field(match[1], document)))
    return _text(_field(text, document))


def _field(path: str, document: Any) -> Any:
    if not _PATH.match(path):
        raise NotEmulatedError(f"template action {{{{{path}}}}}")
    for name in path.split(".")[1:]:
        if name:
            if not isinstance(document, dict) or name not in document:
                raise DockerError(f'template parsing error: template: :1:2: map has no entry for key "{name}"')
            document = document[name]
    return document


def _text(value: Any) -> str:
    """A value as Go's ``fmt`` prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(map(_text, value)) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_text(value[key])}" for key in sorted(value)) + "]"
    return "<nil>" if value is None else str(value)
