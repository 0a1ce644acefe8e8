"""Path patterns: Go's ``filepath.Match`` for COPY, and ``.dockerignore``.

Sources: Go path/filepath, moby/patternmatcher.
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache

_BAD = "syntax error in pattern"


def has_wildcard(text: str) -> bool:
    """Whether ``text`` is a pattern rather than a name."""
    return any(char in "*?[\\" for char in text)


@lru_cache(maxsize=512)
def component(pattern: str) -> re.Pattern[str]:
    """A pattern for one path component; raises ValueError("syntax error in pattern")."""
    return _compile(_translate(pattern) + r"\Z")


def _compile(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as error:  # a range that runs backwards
        raise ValueError(_BAD) from error


def _translate(pattern: str, *, stars: bool = False) -> str:
    """``pattern`` as a regular expression; ``stars`` gives ``**`` its meaning across components."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if stars and pattern.startswith("**", at):
            at += 2
            if pattern[at : at + 1] == "/":
                at += 1
                found.append("(?:.*/)?")
            else:
                found.append(".*")
            continue
        if char == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise ValueError(_BAD)
            body = pattern[at + 1 : end].replace("\\", "\\\\")
            found.append(f"(?!/)[{body}]" if not body.startswith("^") else f"[^/{body[1:]}]")
            at = end + 1
            continue
        if char == "\\":
            at += 1
            if at == len(pattern):
                raise ValueError(_BAD)
            found.append(re.escape(pattern[at]))
        else:
            found.append({"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char))
        at += 1
    return "".join(found)


class Ignore:
    """The rules of a ``.dockerignore`` file; the last one that matches decides.

    Raises ValueError for a pattern that is none.
    """

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for raw in text.removeprefix("\ufeff").splitlines():
            line = raw.strip()
            if not line or raw.startswith("#"):
                continue
            keep = line.startswith("!")
            pattern = posixpath.normpath(line.removeprefix("!").strip()).lstrip("/")
            if pattern not in {".", ""}:
                self._rules.append((_compile(_translate(pattern, stars=True) + r"(?:/.*)?\Z"), keep))
        self.prunes = not any(keep for _, keep in self._rules)
        """Whether what lies under an ignored folder is ignored for sure."""

    def matches(self, path: str) -> bool:
        """Whether ``path`` (relative to the context, ``/`` between components) is left out."""
        ignored = False
        for rule, keep in self._rules:
            if ignored == keep and rule.match(path):
                ignored = not keep
        return ignored
