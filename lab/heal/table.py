"""What was broken, before and after, as a table."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.console.layout import pad, wrap

_GAP = 2
_NARROWEST, _WIDEST = 60, 160


@dataclass
class Row:
    """A step that was broken."""

    what: str
    title: str
    before: str
    after: str = "not reached"
    mended: bool = False


def table(rows: Sequence[Row], width: int | None = None) -> Iterator[str]:
    """Lines of at most ``width`` columns (default: the terminal's); long texts go on below."""
    width = max(_NARROWEST, min(width or shutil.get_terminal_size().columns, _WIDEST))
    name = min(max([len("what"), *(len(row.what) for row in rows)]), width // 3)
    room = (width - name - 2 * _GAP) // 2
    yield _line(("what", "before", "after"), (name, room, room))
    for row in rows:
        cells = (row.what, f"✗ {row.before}", f"✓ {row.after}" if row.mended else f"✗ {row.after}")
        wrapped = [wrap(cell, size) for cell, size in zip(cells, (name, room, room), strict=True)]
        for parts in itertools.zip_longest(*wrapped, fillvalue=""):
            yield _line(parts, (name, room, room))


def _line(cells: Sequence[str], sizes: Sequence[int]) -> str:
    return "".join(pad(cell, size + _GAP) for cell, size in zip(cells, sizes, strict=True)).rstrip()
