"""Whether a document of `--json` is as its schema tells."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from lab.console.schema import schema

_VALIDATOR = Draft202012Validator(schema())


def fits(document: dict[str, Any]) -> bool:
    """Whether one of the schema's shapes, and only one, is that of the document."""
    return _VALIDATOR.is_valid(document)
