"""Argo CD's log: one file in logfmt, as ``kubectl logs deploy/argocd-server`` shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lab.emulator.argocd.objects import now

_LIMIT = 4 * 1024 * 1024
_BARE = re.compile(r"^[\w@%+=:,./-]+$")


class Log:
    """Appends lines to ``path``; the file before is kept as ``.1`` when it grows too large."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def info(self, message: str, **fields: Any) -> None:
        """Write a line of level info."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Write a line of level warning."""
        self._write("warning", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        pairs = {"level": level, "msg": message, **fields}
        line = " ".join([f'time="{now()}"', *(f"{name}={_quoted(str(value))}" for name, value in pairs.items())])
        with self._path.open("a") as file:
            file.write(line + "\n")
            full = file.tell() > _LIMIT
        if full:
            self._path.replace(self._path.with_suffix(".log.1"))


def _quoted(text: str) -> str:
    return text if _BARE.match(text) else json.dumps(text, ensure_ascii=False)
