"""Where lines go: to a file, a terminal, above its live area, or as JSON documents to a program."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from lab.console.board import Board
from lab.console.documents import hide, masked
from lab.console.layout import Cell, Colour, Line, arrange
from lab.console.terminal import Terminal

if TYPE_CHECKING:
    from lab.console.area import Area

_CODES: dict[Colour, str] = {"green": "1;32", "yellow": "1;33", "red": "1;31", "bold": "1"}
"""Bold and never faint: a projector shows little else."""
_PATIENCE = 0.4
"""Seconds before the live area opens: a run that is over by then needs none, and does not wait for rich."""
_KEPT = 100
"""Lines that a terminal shows already when the area opens."""


class Printer:
    """Prints to one stream; with ``as_json`` it prints nothing but JSON documents, one per line.

    On a terminal long texts are wrapped beside or below their heads; in a file or pipe each line is as long as it is.
    Any thread may print. Secrets are masked everywhere but in `raw`.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        stream: TextIO | None = None,
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.as_json = as_json
        self._out = Terminal.of(stream or sys.stdout, environ or {})
        # What a shell evaluates or a pipe reads must not be an error's text.
        self._errors = Terminal.of(stream or sys.stderr, environ or {})
        self._secrets = list(secrets)
        self._lock = threading.RLock()
        self._printed: deque[str] = deque(maxlen=_KEPT)
        self._board: Board | None = None
        self._area: Area | None = None

    def mask(self, secrets: Iterable[str]) -> None:
        """Never show these values from now on."""
        self._secrets += [secret for secret in secrets if secret]

    @contextmanager
    def live(self, expected: int = 0) -> Iterator[None]:
        """While this lasts, show on a terminal what runs and what it waits for, in its last rows.

        The area is gone afterwards, however it ends. In JSON, in a file and in CI nothing is drawn.

        Args:
            expected: number of steps of the run; 0 when nobody knows.
        """
        if self.as_json or not self._out.live or self._board:
            yield
            return
        self._board = Board(expected)
        opening = threading.Timer(_PATIENCE, self._open)
        opening.daemon = True
        opening.start()
        try:
            yield
        finally:
            opening.cancel()
            opening.join()
            self._close()

    def line(self, text: str = "") -> None:
        """One line for people; nothing in JSON mode."""
        if not self.as_json:
            self._write(text)

    def row(self, head: Sequence[Cell], text: str = "") -> None:
        """A line that begins with columns, for people; its text is wrapped on a terminal."""
        if not self.as_json:
            self._write(self._rendered(head, text, self._out))

    def raw(self, text: str) -> None:
        """Text that is the product itself (an export line, a log), unmasked and in every mode."""
        self._print(text.removesuffix("\n"))

    def document(self, value: Mapping[str, Any]) -> None:
        """One JSON document; nothing for people."""
        if self.as_json:
            self._print(json.dumps(masked(dict(value), self._secrets), ensure_ascii=False))

    def paint(self, text: str, colour: Colour) -> str:
        """``text`` in a colour (green, yellow, red, bold) on a terminal, else unchanged."""
        return _paint(text, colour) if self._out.colour else text

    def abandon(self) -> None:
        """Leave the cursor on a line of its own; for a signal handler just before the end, so it takes no lock."""
        if self._area:
            os.write(self._out.stream.fileno(), b"\r\n")

    def _open(self) -> None:
        from lab.console.area import Area  # noqa: PLC0415 - most runs are over before rich is needed

        with self._lock:
            if self._board:
                self._area = Area(self._out, self._board, self._printed)
                self._area.open()

    def _close(self) -> None:
        with self._lock:
            area, self._area, self._board = self._area, None, None
            if area:
                area.close()

    def _changed(self) -> None:
        """The board has something new."""
        area = self._area
        if area:
            area.changed()

    def _rendered(self, head: Sequence[Cell], text: str, terminal: Terminal) -> str:
        secrets = self._secrets
        cells = [Cell(hide(cell.text, secrets), cell.width, cell.colour) for cell in head]
        lines = arrange(cells, hide(text, secrets), width=terminal.width)
        return "\n".join(_printable(line, colour=terminal.colour) for line in lines)

    def _write(self, text: str) -> None:
        self._print(hide(text, self._secrets))

    def _print(self, text: str) -> None:
        with self._lock:
            if self._area:
                self._area.say(text)
                return
            self._printed.append(text)
            self._out.stream.write(text + "\n")
            self._out.stream.flush()

    def _complain(self, text: str) -> None:
        self._errors.stream.write(hide(text, self._secrets) + "\n")
        self._errors.stream.flush()


def _paint(text: str, colour: Colour) -> str:
    return f"\033[{_CODES[colour]}m{text}\033[0m" if colour else text


def _printable(line: Line, *, colour: bool) -> str:
    return "".join(_paint(cell.text, cell.colour) if colour else cell.text for cell in line).rstrip()
