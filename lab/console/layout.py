"""Lines made of cells. Text is measured in columns of a terminal, where a Chinese character takes two."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len, chop_cells, set_cell_size

Colour = Literal["green", "yellow", "red", "bold", ""]
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ROOM = 30
"""Columns that a text needs beside its head; with less, and longer than that, it goes below."""
_LEAST = 12
"""Columns of a terminal so narrow that what stands below begins at its left edge."""
_STEP = 2
"""Columns by which a text below its head is moved to the right."""


@dataclass(frozen=True)
class Cell:
    """A piece of a line, padded to ``width`` columns."""

    text: str
    width: int = 0
    colour: Colour = ""


Line = tuple[Cell, ...]
"""Pieces that are printed side by side, nothing between them."""


def clean(text: str) -> str:
    """``text`` without what would move a terminal's cursor or change its colours; logs are full of it."""
    return _CONTROL.sub("", text).expandtabs(4)


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns; what was longer ends with an ellipsis."""
    text = " ".join(text.split("\n"))
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def pad(text: str, width: int) -> str:
    """``text`` with spaces up to ``width`` columns; a longer one as it is."""
    return text + " " * (width - cell_len(text))


def wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken between words; a word that is longer is broken too.

    Commands, lines that begin with ``$ ``, stay whole: they are there to be copied.
    """
    found: list[str] = []
    for part in text.splitlines() or [""]:
        if cell_len(part) <= width or part.startswith("$ "):
            found.append(part)
            continue
        lines = [""]
        for word in part.split(" "):
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if cell_len(longer) <= width:
                lines[-1] = longer
            else:
                lines += _broken(word, width)
        found += [line for line in lines if line]
    return found


def _broken(word: str, width: int) -> list[str]:
    """A long word in pieces, which end behind a sign such as a slash where that leaves them not too short."""
    found = []
    while cell_len(word) > width and len(word) > 1:
        piece = chop_cells(word, width)[0] or word[0]  # a wide character in a column of one
        sign = max(piece.rfind(sign) for sign in "/_-=,.:;") + 1
        found.append(piece[:sign] if sign > len(piece) // 2 else piece)
        word = word[len(found[-1]) :]
    return [*found, word]


def arrange(head: Sequence[Cell], text: str = "", *, width: int | None = None, most: int = 0) -> list[Line]:
    """A head of cells and a text behind it, or below it where there is no room beside it.

    Args:
        head: padded cells, one column apart.
        text: takes what is left of the line; its further lines begin where its first one does.
        width: columns of the terminal; None leaves every line as long as it is.
        most: lines at most, the last one cut; 0 is no bound.
    """
    head, text = [replace(cell, text=clean(cell.text)) for cell in head], clean(text)
    start = sum(max(cell.width, cell_len(cell.text)) + 1 for cell in head)
    if width is None:
        return [_beside(head, text)]
    room = width - start
    if not head or room >= min(_ROOM, _longest(text)):
        first, *rest = _folded(text, room, most)
        return [_beside(head, first), *(_indented(start, line) for line in rest)]
    return _below(head, text, width, most)


def _below(head: Sequence[Cell], text: str, width: int, most: int) -> list[Line]:
    """The head's last cell on lines of its own, then the text."""
    *front, last = head
    start = sum(max(cell.width, cell_len(cell.text)) + 1 for cell in front)
    start = start if width - start > _LEAST else 0
    first, *rest = _folded(last.text, max(1, width - start), 1 if most else 0)
    lines = [_beside([*front, replace(last, text=first, width=0)], "")]
    lines += [_indented(start, line, last.colour) for line in rest]
    if most == 1:
        return lines
    indent = start + _STEP
    return lines + [_indented(indent, line) for line in _folded(text, max(1, width - indent), max(0, most - 1)) if line]


def _folded(text: str, width: int, most: int) -> list[str]:
    lines = wrap(text, width)
    return lines if not most or len(lines) <= most else [*lines[: most - 1], cut(" ".join(lines[most - 1 :]), width)]


def _longest(text: str) -> int:
    return max(map(cell_len, text.splitlines()), default=0)


def _beside(head: Sequence[Cell], text: str) -> Line:
    padded = [replace(cell, text=f"{pad(cell.text, cell.width)} ") for cell in head]
    if text:
        return (*padded, Cell(text))
    return (*padded[:-1], replace(padded[-1], text=padded[-1].text.rstrip())) if padded else ()


def _indented(start: int, text: str, colour: Colour = "") -> Line:
    return (Cell(" " * start), Cell(text, colour=colour))


def clip(line: Line, width: int) -> Line:
    """A line without what is beyond so many columns."""
    kept, room = [], width
    for cell in line:
        text = cell.text if cell_len(cell.text) <= room else set_cell_size(cell.text, room)
        kept.append(replace(cell, text=text))
        room -= cell_len(text)
    return tuple(kept)


def plain(line: Iterable[Cell]) -> str:
    """A line without its colours."""
    return "".join(cell.text for cell in line).rstrip()
