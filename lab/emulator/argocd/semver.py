"""Semantic version constraints, as far as a targetRevision uses them (Masterminds/semver)."""

from __future__ import annotations

import re
from collections.abc import Iterable

Version = tuple[int, int, int]

_VERSION = re.compile(r"^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?P<pre>-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$")
_TERM = re.compile(
    r"^(?P<op>=|==|!=|>=|=>|<=|=<|>|<|~|~>|\^)?\s*v?(?P<major>\d+|[xX*])"
    r"(?:\.(?P<minor>\d+|[xX*]))?(?:\.(?P<patch>\d+|[xX*]))?$"
)


def satisfies(version: str, constraint: str) -> bool:
    """Whether ``version`` fulfils ``constraint``; false when either is none. Pre-releases fulfil nothing."""
    parsed, alternatives = _version(version), _alternatives(constraint)
    if parsed is None or alternatives is None:
        return False
    return any(all(low <= parsed < high for low, high in terms) for terms in alternatives)


def highest(constraint: str, versions: Iterable[str]) -> str | None:
    """The highest of ``versions`` that fulfils ``constraint``; None when it is no range or nothing fulfils it."""
    if _VERSION.match(constraint.strip()) and not re.search(r"[xX*~^<>]", constraint):
        return None
    found = [(parsed, name) for name in versions if satisfies(name, constraint) and (parsed := _version(name))]
    return max(found)[1] if found else None


_END: Version = (1 << 62, 0, 0)
_START: Version = (0, 0, 0)
_Span = tuple[Version, Version]


def _version(text: str) -> Version | None:
    match = _VERSION.match(text.strip())
    if match is None or match["pre"]:
        return None
    return int(match[1]), int(match[2] or 0), int(match[3] or 0)


def _alternatives(constraint: str) -> list[list[_Span]] | None:
    alternatives = []
    for part in constraint.split("||"):
        text = re.sub(r"([<>=~^!])\s+", r"\1", part.strip())
        spans: list[_Span] = []
        for term in filter(None, re.split(r"[,\s]+", text)):
            span = _span(term)
            if span is None:
                return None
            spans.append(span)
        if not spans:
            return None
        alternatives.append(spans)
    return alternatives


def _span(term: str) -> _Span | None:
    match = _TERM.match(term)
    if match is None or match["op"] == "!=":
        return None
    given = [int(part) for part in (match["major"], match["minor"], match["patch"]) if part and part.isdigit()]
    low: Version = (*given, 0, 0, 0)[:3]  # type: ignore[assignment]  # exactly three numbers
    operator = {"=>": ">=", "=<": "<=", "==": "=", "~>": "~"}.get(match["op"] or "=", match["op"] or "=")
    bump = max(len(given), 0)
    if operator == ">=":
        return low, _END
    if operator == "<":
        return _START, low
    if operator == ">":
        return _after(low, bump), _END
    if operator == "<=":
        return _START, _after(low, bump)
    if operator == "~":
        return low, _after(low, min(bump, 2))
    if operator == "^":
        significant = next((i for i, number in enumerate(low) if number), 2)
        return low, _after(low, significant + 1)
    return low, _after(low, bump)


def _after(version: Version, parts: int) -> Version:
    """The first version beyond all that share the first ``parts`` numbers."""
    major, minor, patch = version
    if parts == 0:
        return _END
    if parts == 1:
        return major + 1, 0, 0
    return (major, minor + 1, 0) if parts == 2 else (major, minor, patch + 1)
