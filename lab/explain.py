"""The task `explain`: what a code of the lab means, what to look at and what mends it, in English or Chinese."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from lab.causes import Cause, every, find
from lab.console import Cell, Console
from lab.errors import UsageError

_PREFIX = "LAB-"
_WIDTH = 76
_HEADINGS = {"cause": ("Cause", "原因"), "look": ("Look at", "排查"), "remedy": ("What to do", "解决")}
_SEE = ("See also", "相关")
_VERBATIM = ("$ ", "  ")
"""Commands and lines of a file, which are copied and therefore never broken."""
_CLOSING = ("Po", "Pe", "Pf")
"""Unicode's categories of signs that do not stand at the beginning of a line."""


def language(environ: Mapping[str, str]) -> str:
    """``zh`` or ``en``: LAB_LANG decides, without it the first of LC_ALL, LC_MESSAGES and LANG that is set."""
    chosen = next((environ[name] for name in ("LAB_LANG", "LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh" if chosen.lower().startswith("zh") else "en"


def explain(code: str, environ: Mapping[str, str], console: Console) -> None:
    """Print the entry of a code; without a code, all codes with their titles.

    Args:
        code: in any case; "" for all.
        environ: tells the language.
        console: in JSON mode it gets one document (``"type": "explanation"``) per code.

    Raises:
        UsageError: there is no such code; names the nearest one.
    """
    spoken = language(environ)
    if not code:
        _list(spoken, console)
        return
    found = find(code)
    if found is None:
        raise UsageError("LAB-EXPLAIN-01", f"There is no code {code}.", hint=_nearest(code))
    console.document(_document(found, spoken))
    for text in _lines(found, spoken, console):
        console.line(text)


def _nearest(code: str) -> str:
    codes = [cause.code for cause in every()]
    near = difflib.get_close_matches(_PREFIX + code.strip().upper().removeprefix(_PREFIX), codes, n=3)
    return f"Did you mean {', '.join(near)}?" if near else "invoke explain lists all codes."


def _document(cause: Cause, spoken: str) -> dict[str, Any]:
    texts = {name: getattr(cause, name).of(spoken) for name in ("title", "cause", "look", "remedy")}
    return {"type": "explanation", "code": cause.code, "language": spoken, **texts, "see": list(cause.see)}


def _list(spoken: str, console: Console) -> None:
    for cause in sorted(every(), key=lambda cause: cause.code):
        console.document(_document(cause, spoken))
        console.row((Cell(cause.code, 16),), cause.title.of(spoken))


def _lines(cause: Cause, spoken: str, console: Console) -> Iterator[str]:
    yield f"{console.paint(cause.code, 'bold')}  {cause.title.of(spoken)}"
    chinese = spoken == "zh"
    for name, headings in _HEADINGS.items():
        text = getattr(cause, name).of(spoken)
        if text:
            yield from ("", console.paint(headings[chinese], "bold"), *_indented(text))
    if cause.see:
        yield from ("", console.paint(_SEE[chinese], "bold"), *_indented(" · ".join(cause.see)))


def _indented(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from (f"  {part}" for part in ([line] if line.startswith(_VERBATIM) else wrapped(line, _WIDTH)))


def wrapped(text: str, width: int) -> Iterator[str]:
    """``text`` in lines of at most ``width`` columns; a line may end after a blank and between Chinese signs."""
    line = ""
    for word in _words(text):
        if line and columns(line + word.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += word
    if line:
        yield line.rstrip()


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _words(text: str) -> Iterator[str]:
    """The parts between which a line may end: after a blank, and around wide signs that do not close something."""
    word = ""
    for sign in text:
        wide = unicodedata.east_asian_width(sign) in "WF"
        if word and unicodedata.category(sign) not in _CLOSING and (word[-1] == " " or wide or columns(word[-1]) == 2):
            yield word
            word = ""
        word += sign
    if word:
        yield word
