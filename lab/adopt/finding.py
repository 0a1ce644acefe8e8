"""What an inspection says, one line at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "missing", "wrong", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    id: str
    """Stable name such as ``dockerfile.user``."""
    level: Level
    """``missing``: the loop needs it. ``wrong``: the loop will stop there. ``note``: good to know."""
    text: str
    where: str = ""
    """``file`` or ``file:line``."""
    hint: str = ""
    """What to do about it."""


def line_of(text: str, position: int) -> int:
    """The number of the line that holds a position of the text."""
    return text.count("\n", 0, position) + 1
