"""The JSON Schema (draft 2020-12) of what `--json` prints: one document on each line.

`python -m lab.console.schema` prints it. A reader should pass over documents of a type, and steps with an event, that
it does not know: a later version may have more.
"""

from __future__ import annotations

import json

from lab.console.shapes import DOCUMENTS, Schema, described


def schema() -> Schema:
    """The schema of one line."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of --json",
        "oneOf": [
            _shape(kind, about, fields) for kind, shapes in DOCUMENTS.items() for about, fields in shapes
        ],
    }  # fmt: skip


def _shape(kind: str, about: str, fields: Schema) -> Schema:
    return {"description": about, **described({"type": {"const": kind}, **fields})}


def _main() -> None:
    from lab.console import Console  # noqa: PLC0415 - only this way of use prints

    Console().raw(json.dumps(schema(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    _main()
