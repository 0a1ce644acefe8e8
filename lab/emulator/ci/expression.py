"""The expressions of ``rules: if`` and ``only: variables``.

Grammar: ``$NAME``, ``"text"``, ``'text'``, ``null``, ``/pattern/flags``; ``==  !=  =~  !~``; ``&&`` before ``||``;
parentheses. Source: GitLab, doc/ci/jobs/job_rules.md and lib/gitlab/ci/pipeline/expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<variable>\$[A-Za-z_][A-Za-z0-9_]*)
  | (?P<double>"[^"]*") | (?P<single>'[^']*')
  | (?P<pattern>/(?:[^/\\\n]|\\.)+/[ismU]*)
  | (?P<null>null\b)
  | (?P<operator>==|!=|=~|!~|&&|\|\||\(|\))
    )""",
    re.VERBOSE,
)
_FLAGS = {"i": re.IGNORECASE, "m": re.DOTALL, "s": re.DOTALL}

Variables = Mapping[str, str]


class ExpressionError(ValueError):
    """The expression has no meaning."""


@dataclass(frozen=True)
class _Pattern:
    source: str
    """With its slashes, ``/^v[0-9]+$/i``."""

    def found(self, text: str) -> bool:
        body, _, flags = self.source[1:].rpartition("/")
        try:
            # `^` and `$` match at lines in Ruby's syntax.
            value = re.MULTILINE
            for flag in flags:
                value |= _FLAGS.get(flag, re.MULTILINE)
            return re.search(body, text, value) is not None
        except re.error as error:
            raise ExpressionError(f"invalid regular expression {self.source}") from error


_Node = Callable[[Variables], Any]


def evaluate(text: str, variables: Variables) -> bool:
    """Whether ``text`` is true with ``variables``; a defined but empty variable alone is false.

    Raises:
        ExpressionError: wrong syntax.
    """
    return _truth(parse(text)(variables))


def parse(text: str) -> _Node:
    """The expression as a function of the variables; raises `ExpressionError`."""
    tokens = _tokens(text)
    node = _disjunction(tokens)
    if tokens:
        raise ExpressionError(f"unexpected {tokens[0][1]}")
    return node


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if not match or not match.lastgroup:
            raise ExpressionError(f"unexpected {text[position:].strip()[:20]}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    if not tokens:
        raise ExpressionError("empty expression")
    return tokens


def _disjunction(tokens: list[tuple[str, str]]) -> _Node:
    left = _conjunction(tokens)
    while _take(tokens, "||"):
        left = _either(left, _conjunction(tokens))
    return left


def _conjunction(tokens: list[tuple[str, str]]) -> _Node:
    left = _comparison(tokens)
    while _take(tokens, "&&"):
        left = _both(left, _comparison(tokens))
    return left


def _either(left: _Node, right: _Node) -> _Node:
    return lambda v: _truth(left(v)) or _truth(right(v))


def _both(left: _Node, right: _Node) -> _Node:
    return lambda v: _truth(left(v)) and _truth(right(v))


def _comparison(tokens: list[tuple[str, str]]) -> _Node:
    left = _operand(tokens)
    if tokens and tokens[0][1] in _COMPARISONS:
        compare = _COMPARISONS[tokens.pop(0)[1]]
        right = _operand(tokens)
        return lambda v: compare(left(v), right(v))
    return left


def _operand(tokens: list[tuple[str, str]]) -> _Node:
    if not tokens:
        raise ExpressionError("unexpected end of expression")
    kind, text = tokens.pop(0)
    if kind == "variable":
        return lambda v: v.get(text[1:])
    if kind in ("double", "single"):
        return lambda _: text[1:-1]
    if kind == "null":
        return lambda _: None
    if kind == "pattern":
        return lambda _: _Pattern(text)
    if text == "(":
        node = _disjunction(tokens)
        if not _take(tokens, ")"):
            raise ExpressionError("missing )")
        return node
    raise ExpressionError(f"unexpected {text}")


def _take(tokens: list[tuple[str, str]], text: str) -> bool:
    if tokens and tokens[0] == ("operator", text):
        tokens.pop(0)
        return True
    return False


def _matches(left: Any, right: Any) -> bool:
    pattern = _pattern(right)
    return left is not None and pattern is not None and pattern.found(str(left))


def _matches_not(left: Any, right: Any) -> bool:
    pattern = _pattern(right)
    return left is None or pattern is None or not pattern.found(str(left))


def _pattern(value: Any) -> _Pattern | None:
    """A variable may hold ``/a pattern/`` too; other text on the right never matches as one."""
    if isinstance(value, _Pattern):
        return value
    if isinstance(value, str) and re.fullmatch(r"/.+/[ismU]*", value, re.DOTALL):
        return _Pattern(value)
    return None if value is None else _Pattern(f"/{re.escape(str(value))}/")


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "=~": _matches,
    "!~": _matches_not,
}


def _truth(value: Any) -> bool:
    return bool(value)
