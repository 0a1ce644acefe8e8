"""A job's trace as HTML: colours, overwritten lines and section marks of a terminal."""

from __future__ import annotations

import re

from lab.emulator.pages.html import Markup, element, render

_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|\x1b[()][A-Za-z0-9]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1a\x1c-\x1f]")
_SECTION = re.compile(r"section_(?:start|end):\d+:[\w.-]+(?:\[[^\]\n]*\])?\r?\n?")
_LIMIT = 1024 * 1024


def trace(data: bytes) -> Markup:
    """The trace as a ``pre`` element; of a very long one only the end is shown, saying so."""
    cut = len(data) > _LIMIT
    text = data[-_LIMIT:].decode(errors="replace")
    text = _SECTION.sub("", text)
    lines = [_last_state(line) for line in text.split("\n")]
    note = f"… {len(data) - _LIMIT} bytes before this are not shown …\n" if cut else ""
    return element("pre", note, _coloured("\n".join(lines)), class_="trace")


def _last_state(line: str) -> str:
    """What a terminal would show of a line that carriage returns overwrite."""
    return line.rstrip("\r").rpartition("\r")[2]


def _coloured(text: str) -> Markup:
    parts: list[Markup] = []
    classes: dict[str, str] = {}
    position = 0
    for match in _SGR.finditer(text):
        parts.append(_piece(text[position : match.start()], classes))
        classes = _after(classes, match[1])
        position = match.end()
    parts.append(_piece(text[position:], classes))
    return Markup("".join(parts))


def _piece(text: str, classes: dict[str, str]) -> Markup:
    clean = _CONTROL.sub("", text).replace("\x1b", "")
    if not clean or not classes:
        return render(clean)
    return element("span", clean, class_=" ".join(classes.values()))


def _after(classes: dict[str, str], codes: str) -> dict[str, str]:
    """The classes after one SGR sequence; what has no class here is ignored."""
    found = dict(classes)
    numbers = [int(code) for code in codes.split(";") if code] or [0]
    for number in numbers:
        if number == 0:
            found = {}
        elif number == 1:
            found["weight"] = "b"
        elif number == 4:
            found["line"] = "u"
        elif 30 <= number <= 37:
            found["colour"] = f"c{number - 30}"
        elif 90 <= number <= 97:
            found["colour"] = f"c{number - 90}"
        elif number == 39:
            found.pop("colour", None)
    return found
