"""Glob patterns as Argo CD's ``include`` and ``exclude`` use them (gobwas/glob without separators)."""

from __future__ import annotations

import functools
import re


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` as a whole matches; ``*`` crosses slashes, ``{a,b}`` are alternatives.

    A pattern that cannot be compiled matches nothing, as upstream.
    """
    compiled = _compile(pattern)
    return compiled is not None and compiled.fullmatch(text) is not None


@functools.lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(_translate(pattern), re.DOTALL)
    except (re.error, ValueError):
        return None


_CLASS = re.compile(r"\[(!?)([^\]]+)\]")


def _translate(pattern: str) -> str:
    out, depth, position = [], 0, 0
    while position < len(pattern):
        char = pattern[position]
        bracket = _CLASS.match(pattern, position)
        if char == "\\" and position + 1 < len(pattern):
            position += 1
            out.append(re.escape(pattern[position]))
        elif char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif bracket:
            out.append(f"[{'^' if bracket[1] else ''}{bracket[2].replace(chr(92), chr(92) * 2)}]")
            position = bracket.end() - 1
        elif char == "{":
            depth += 1
            out.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            out.append(")")
        elif char == "," and depth:
            out.append("|")
        else:
            out.append(re.escape(char))
        position += 1
    if depth:
        raise ValueError(pattern)
    return "".join(out)
