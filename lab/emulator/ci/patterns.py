"""Path globs of ``rules: changes``, ``exists`` and ``artifacts``, and the ref patterns of ``only`` and ``except``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def any_match(patterns: Iterable[str], paths: Iterable[str]) -> bool:
    """Whether one of ``paths`` (relative, ``/``) matches one of the globs."""
    compiled = [_glob(pattern) for pattern in patterns]
    return any(expression.fullmatch(path) for path in paths for expression in compiled)


@lru_cache(maxsize=512)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(_translate(pattern.removeprefix("./")), re.DOTALL)


def _translate(pattern: str) -> str:
    """Ruby's ``File.fnmatch`` with PATHNAME, DOTMATCH and EXTGLOB as a regular expression."""
    out, i = "", 0
    while i < len(pattern):
        if pattern.startswith("**/", i) and (i == 0 or pattern[i - 1] == "/"):
            out, i = out + "(?:[^/]+/)*", i + 3
        elif pattern[i] == "*":
            out, i = out + "[^/]*", i + 1
            while i < len(pattern) and pattern[i] == "*":
                i += 1
        elif pattern[i] == "?":
            out, i = out + "[^/]", i + 1
        elif pattern[i] == "[" and "]" in pattern[i + 2 :]:
            end = pattern.index("]", i + 2)
            inner = pattern[i + 1 : end]
            out += "[^" + re.escape(inner[1:]).replace(r"\-", "-") + "]" if inner[0] in "!^" else f"[{inner}]"
            i = end + 1
        elif pattern[i] == "{" and "}" in pattern[i:]:
            end = pattern.index("}", i)
            out += "(?:" + "|".join(_translate(part) for part in pattern[i + 1 : end].split(",")) + ")"
            i = end + 1
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return out


def ref_matches(pattern: str, ref: str) -> bool:
    """Whether a branch or tag name is named by an ``only``/``except`` entry: text, or ``/regex/flags``."""
    match = re.fullmatch(r"/(.+)/([ismU]*)", pattern, re.DOTALL)
    if not match:
        return pattern == ref
    try:
        return re.search(match[1], ref, re.IGNORECASE if "i" in match[2] else 0) is not None
    except re.error:
        return False


def wildcard_matches(pattern: str, ref: str) -> bool:
    """Whether a protected branch or tag name, in which ``*`` stands for anything, covers ``ref``."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), ref) is not None
