"""Variables and quotes in a Dockerfile's words.

Source: moby/buildkit frontend/dockerfile/shell/lex.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SPECIAL = frozenset("@*#0123456789?-$!")


class ExpansionError(ValueError):
    """A word that cannot be expanded; the message is BuildKit's."""


class Expander:
    """Expands ``$name`` and ``${name...}``, and removes quotes and escapes, in one word or many."""

    def __init__(self, environment: Mapping[str, str], escape: str = "\\") -> None:
        self._environment = environment
        self._escape = escape

    def word(self, text: str) -> str:
        """``text`` expanded as a single word: blanks stay.

        Raises:
            ExpansionError: unbalanced quotes or braces, an unknown modifier, or ``${name:?message}`` unset.
        """
        return "".join(part for part, _ in self._parts(text))

    def words(self, text: str) -> list[str]:
        """``text`` split at unquoted blanks, each word expanded."""
        found: list[str] = []
        current: list[str] | None = None
        for part, literal in self._parts(text):
            if not literal and part.isspace():
                if current is not None:
                    found.append("".join(current))
                current = None
            else:
                current = [*(current or []), part]
        return found if current is None else [*found, "".join(current)]

    def _parts(self, text: str) -> list[tuple[str, bool]]:
        """Pieces of text; False marks one character that stands unquoted."""
        parts: list[tuple[str, bool]] = []
        at = 0
        while at < len(text):
            char = text[at]
            if char == "'":
                end = _closing(text, at, "'")
                parts.append((text[at + 1 : end], True))
                at = end + 1
            elif char == '"':
                value, at = self._double_quoted(text, at + 1)
                parts.append((value, True))
            elif char == "$":
                value, at = self._variable(text, at + 1)
                parts.append((value, True))
            elif char == self._escape:
                parts.append((text[at + 1 : at + 2], True))
                at += 2
            else:
                parts.append((char, False))
                at += 1
        return parts

    def _double_quoted(self, text: str, at: int) -> tuple[str, int]:
        found: list[str] = []
        while at < len(text):
            char = text[at]
            if char == '"':
                return "".join(found), at + 1
            if char == "$":
                value, at = self._variable(text, at + 1)
                found.append(value)
                continue
            if char == self._escape and text[at + 1 : at + 2] in {'"', "$", self._escape}:
                at += 1
                char = text[at]
            found.append(char)
            at += 1
        raise ExpansionError("unexpected end of statement while looking for matching double-quote")

    def _variable(self, text: str, at: int) -> tuple[str, int]:
        """The value of the variable whose name begins at ``at``, and where the text goes on."""
        if text[at : at + 1] == "{":
            return self._braced(text, at + 1)
        match = _NAME.match(text, at)
        if match:
            return self._environment.get(match[0], ""), match.end()
        if text[at : at + 1] in _SPECIAL and at < len(text):
            return self._environment.get(text[at], ""), at + 1
        return "$", at

    def _braced(self, text: str, at: int) -> tuple[str, int]:
        match = _NAME.match(text, at)
        if not match:
            raise ExpansionError("syntax error: missing name in substitution")
        name, at = match[0], match.end()
        if text[at : at + 1] == "}":
            return self._environment.get(name, ""), at + 1
        empty_counts = text[at : at + 1] == ":"
        at += empty_counts
        modifier = text[at : at + 1]
        if modifier in {"#", "%", "/"}:
            raise ExpansionError(f"not emulated: ${{{name}{modifier}...}} (pattern substitution)")
        if not modifier or modifier not in "-+?":
            raise ExpansionError(f"unsupported modifier ({':' * empty_counts}{modifier}) in substitution")
        end = _brace(text, at + 1)
        return self._modified(name, modifier, text[at + 1 : end], empty_counts=empty_counts), end + 1

    def _modified(self, name: str, modifier: str, argument: str, *, empty_counts: bool) -> str:
        value = self._environment.get(name)
        present = bool(value) if empty_counts else value is not None
        word = self.word(argument)
        if modifier == "-":
            return value if present and value is not None else word
        if modifier == "+":
            return word if present else ""
        if not present:
            raise ExpansionError(f"{name}: {word or 'is not allowed to be unset'}")
        return value or ""


def _closing(text: str, at: int, quote: str) -> int:
    end = text.find(quote, at + 1)
    if end < 0:
        raise ExpansionError("unexpected end of statement while looking for matching single-quote")
    return end


def _brace(text: str, at: int) -> int:
    """Where the brace closes that is open at ``at``; nested ones count."""
    depth = 1
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise ExpansionError("syntax error: missing }")
