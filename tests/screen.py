"""A program on a real pseudo-terminal, and what a person would see on it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_CONTROL = re.compile(r"\x1b\[([0-?]*)([@-~])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*)?\Z")


class Screen:
    """A terminal that knows what our programs use: lines, cursor up, erasing, colours (ignored)."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[str] = [""]
        """Everything since the beginning; the last ``rows`` of them are visible."""
        self.row, self.column = 0, 0
        self.hidden = False

    @property
    def top(self) -> int:
        return max(0, len(self.lines) - self.rows)

    def visible(self) -> list[str]:
        """The rows that a person sees, without empty ones at the end."""
        shown = [line.rstrip() for line in self.lines[self.top :]]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def feed(self, text: str) -> None:
        while text:
            found = _CONTROL.match(text)
            if found:
                self._control(found[1], found[2])
                text = text[found.end() :]
            else:
                self._letter(text[0])
                text = text[1:]

    def resize(self, columns: int, rows: int) -> None:
        """Fold what is too long, as most terminals do; the cursor stays behind its letter."""
        before = "\n".join(self.lines[: self.row + 1])
        folded = [
            line[at : at + columns] for line in before.split("\n") for at in range(0, max(1, len(line)), columns)
        ]  # fmt: skip
        self.lines, self.row = folded, len(folded) - 1
        self.column = min(len(folded[-1]), columns - 1)
        self.columns, self.rows = columns, rows

    def _control(self, numbers: str, what: str) -> None:
        count = int(numbers) if numbers.isdecimal() else 1
        if what == "A":
            self.row = max(self.top, self.row - count)
        elif what == "H":
            self.row, self.column = self.top, 0
        elif what == "K":
            self.lines[self.row] = ""
        elif what == "J":
            self.lines[self.top :] = [""] * len(self.lines[self.top :])
        elif what in "lh" and numbers == "?25":
            self.hidden = what == "l"
        else:
            assert what == "m", f"a control sequence that is not known here: {numbers}{what}"

    def _letter(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        else:
            if self.column == self.columns:
                self._letter("\n")
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1


class Program:
    """A Python program that runs on a terminal."""

    def __init__(self, code: str, columns: int, rows: int, environ: dict[str, str]) -> None:
        self.screen = Screen(columns, rows)
        self.output, self._pending = "", ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        inner, self._go = os.pipe()
        self.pid, self._fd = pty.fork()
        if not self.pid:
            try:
                os.dup2(inner, 9)
                os.chdir(ROOT)
                os.execve(sys.executable, [sys.executable, "-c", code], environ)
            finally:
                os._exit(127)
        os.close(inner)
        self._size(columns, rows)

    def until(self, text: str, timeout: float = 20) -> None:
        """Read until ``text`` stands on the screen."""
        deadline = time.monotonic() + timeout
        while not any(text in line for line in self.screen.visible()):
            assert self._read(deadline - time.monotonic()), f"no {text!r}:\n" + "\n".join(self.screen.lines)

    def drawn_again(self, text: str, timeout: float = 20) -> None:
        """Read until ``text`` has been written once more."""
        before, deadline = self.output.count(text), time.monotonic() + timeout
        while self.output.count(text) == before:
            assert self._read(deadline - time.monotonic()), f"{text!r} does not come again"

    def go_on(self) -> None:
        """Let the program read one byte from descriptor 9."""
        os.write(self._go, b".")

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(columns, rows)
        self._size(columns, rows)

    def end(self, timeout: float = 20) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, "it does not end"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._go)
        os.close(self._fd)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, patience: float) -> bool:
        if not select.select([self._fd], [], [], max(0.0, patience))[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the program has ended
            return False
        text = self._pending + self._decoder.decode(data)
        whole = _UNFINISHED.sub("", text)
        self._pending = text[len(whole) :]
        self.output += whole
        self.screen.feed(whole)
        return True


@contextmanager
def on_terminal(code: str, *, columns: int = 80, rows: int = 24, **environ: str) -> Iterator[Program]:
    """A Python program on a terminal of that size, with those variables and no others but PATH."""
    program = Program(code, columns, rows, {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **environ})
    try:
        yield program
    finally:
        program.close()
