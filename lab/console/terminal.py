"""What can be shown on a stream: colours, a live area, lines of which length."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_USUAL = (80, 24)
_NARROWEST = 20
_NO = ("", "0", "false")


@dataclass(frozen=True)
class Terminal:
    """A stream and its abilities."""

    stream: TextIO
    tty: bool = False
    """Whether a person looks at it through a window of some width."""
    colour: bool = False
    live: bool = False
    """Whether lines can be drawn again: on a terminal that moves its cursor, and not in CI."""

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Terminal:
        """Judge a stream by itself and by the variables TERM, NO_COLOR (no-color.org) and CI."""
        tty = stream.isatty()
        clever = tty and environ.get("TERM", "") not in ("", "dumb", "unknown")
        return cls(
            stream, tty,
            colour=clever and not environ.get("NO_COLOR"),
            live=clever and environ.get("CI", "").lower() in _NO,
        )  # fmt: skip

    def size(self) -> tuple[int, int]:
        """Columns and rows at this moment; 80 and 24 where nobody knows."""
        try:
            found = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            return _USUAL
        return max(_NARROWEST, found.columns or _USUAL[0]), found.lines or _USUAL[1]

    @property
    def width(self) -> int | None:
        """Columns of a line; None where lines may have any length, as in a file."""
        return self.size()[0] if self.tty else None
