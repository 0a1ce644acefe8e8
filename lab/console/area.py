"""The live area: the last rows of a terminal, drawn again while something runs; all other lines scroll by above it.

One thread draws, at most four times a second, and once a second for the clocks. Whoever has something to show only
leaves it here. The cursor stays visible all the time: a process that is killed could not bring it back.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console as Screen
from rich.live import Live
from rich.text import Text

from lab.console.board import Board
from lab.console.layout import Line, clean
from lab.console.terminal import Terminal

_PAUSE = 0.25
"""Seconds between two frames at least."""
_TICK = 1.0
"""Seconds between two frames at most, so that clocks go on."""
_STYLES = {"green": "bold green", "yellow": "bold yellow", "red": "bold red", "bold": "bold", "": ""}
_KEPT = 200
"""Lines that can be printed again after the window has changed its width."""


class _Screen(Screen):
    """Rich's console, which leaves the cursor alone."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - the signature is rich's
        """Do nothing."""
        return False


class Area:
    """The area of one run; from `open` to `close` every line must go through `say`.

    Args:
        terminal: where it is drawn.
        board: what it shows.
        before: lines that stand on the terminal already.
    """

    def __init__(self, terminal: Terminal, board: Board, before: Sequence[str] = ()) -> None:
        self._terminal = terminal
        self._board = board
        self._size = terminal.size()
        self._screen = _Screen(
            file=terminal.stream, force_terminal=True, legacy_windows=False, highlight=False, markup=False, emoji=False,
            color_system="standard" if terminal.colour else None, no_color=not terminal.colour, _environ={},
        )  # fmt: skip
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._above: list[str] = []
        self._history = deque(before, _KEPT)
        self._frame: list[Line] = []
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live area", daemon=True)

    def open(self) -> None:
        """Draw from now on."""
        self._live = self._started()
        self._thread.start()

    def say(self, text: str) -> None:
        """Print lines above the area."""
        with self._lock:
            self._above.append(text)
        self._changed.set()

    def changed(self) -> None:
        """The board has something new."""
        self._changed.set()

    def close(self) -> None:
        """Print what is left and remove the area."""
        self._closing.set()
        self._changed.set()
        self._thread.join()
        with self._lock:
            try:
                self._draw()
            finally:
                if self._live:
                    self._live.stop()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._draw()
            except OSError:  # the terminal has gone; whoever prints the next line is told
                return
            self._changed.wait(_TICK)
            self._changed.clear()
            self._closing.wait(_PAUSE)

    def _draw(self) -> None:
        """One frame, with the lines that are to stand above it, in one piece."""
        with self._lock:
            above, self._above = self._above, []
            self._fit()
            frame = self._board.frame(self._size)
            if not above and frame == self._frame:
                return
            self._frame = frame
            self._history += above
            with self._screen:
                if self._live:
                    self._live.update(_text(frame), refresh=True)
                if above:
                    self._print(above)

    def _print(self, lines: Sequence[str]) -> None:
        self._screen.out("\n".join(lines), highlight=False)

    def _fit(self) -> None:
        """Follow the window's size.

        Some terminals fold the lines of a window that becomes narrower, others cut them: nobody knows which rows the
        area covers then. So the window is filled anew, with the lines that stood in it.
        """
        before, self._size = self._size, self._terminal.size()
        self._screen.size = self._size
        if self._live and (self._size[0] < before[0] or self._size[1] <= len(self._frame)):
            self._live.stop()
            self._screen.clear()
            self._frame = []
            self._print(_last(self._history, self._size))
            self._live = self._started()

    def _started(self) -> Live:
        self._screen.size = self._size
        live = Live(
            "", console=self._screen, auto_refresh=False, transient=True, vertical_overflow="crop",
            redirect_stderr=sys.stderr.isatty(),
        )  # fmt: skip
        live.start()
        return live


def _text(frame: Sequence[Line]) -> Text:
    lines = [Text.assemble(*((clean(cell.text), _STYLES[cell.colour]) for cell in line)) for line in frame]
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "crop"
    return text


def _last(lines: Sequence[str], size: tuple[int, int]) -> list[str]:
    """The last lines that a window of that size has room for above the area."""
    columns, rows = size
    found: list[str] = []
    room = rows - 1
    for line in reversed([part for text in lines for part in text.split("\n")]):
        room -= max(1, -(-cell_len(clean(line)) // columns))
        if room < 0:
            break
        found.insert(0, line)
    return found
