"""Whether a document of `--json` has the fields that its schema tells."""

from __future__ import annotations

from typing import Any

from lab.console.schema import schema


def fits(document: dict[str, Any]) -> bool:
    """Whether one of the schema's shapes has this type, requires nothing more and allows nothing less."""
    return any(
        shape["properties"]["type"]["const"] == document["type"]
        and set(shape["required"]) <= set(document) <= set(shape["properties"])
        for shape in schema()["oneOf"]
    )
