"""The tasks around lab.yaml: write it, show what holds, change a key, describe it to editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lab.config import edit, origins, scalars, schema, template
from lab.console import Cell, Console


class Configuration:
    """One lab.yaml, which may be absent or wrong."""

    def __init__(self, file: Path, environ: Mapping[str, str], console: Console) -> None:
        self._file, self._environ, self._console = file, environ, console

    def init(self, *, force: bool) -> None:
        """Write a commented lab.yaml."""
        template.init(self._file, force=force)
        self._console.line(f"{self._file} written; every setting is in it, commented out.")

    def show(self) -> None:
        """Print every setting with its origin."""
        rows = origins.values(self._file, self._environ)
        width = max(len(row.key) for row in rows)
        for row in rows:
            value = scalars.shown(row.value)
            self._console.document({"type": "setting", "key": row.key, "value": value, "origin": row.origin})
            self._console.row((Cell(row.key, width + 1), Cell(value, 29)), row.origin)

    def schema(self) -> None:
        """Print the JSON Schema of lab.yaml."""
        self._console.raw(json.dumps(schema.schema(), indent=2))

    def set(self, key: str, value: str) -> None:
        """Change one setting in lab.yaml."""
        self._console.line(edit.put(self._file, key, value, self._environ))
