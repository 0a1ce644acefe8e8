"""CI/CD variables: what one is, how values refer to each other, and how they reach the runner."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
# GitLab, lib/expand_variables.rb: $$ and %% stay, $NAME, ${NAME} and %NAME% are replaced.
_REFERENCE = re.compile(rf"\$\$|%%|\$({_NAME})|\$\{{({_NAME})\}}|%({_NAME})%")


@dataclass(frozen=True)
class Variable:
    """One variable as the runner protocol carries it."""

    key: str
    value: str = field(repr=False)
    public: bool = True
    masked: bool = False
    raw: bool = False
    file: bool = False

    def payload(self) -> dict[str, Any]:
        """The variable in a job's payload (contracts C.2)."""
        return {
            "key": self.key, "value": self.value, "public": self.public, "file": self.file, "masked": self.masked,
            "raw": self.raw,
        }  # fmt: skip


def merged(*groups: Iterable[Variable]) -> list[Variable]:
    """Variables of all groups, the later group winning; order of first appearance."""
    found: dict[str, Variable] = {}
    for group in groups:
        for variable in group:
            found[variable.key] = variable
    return list(found.values())


def values(variables: Iterable[Variable]) -> dict[str, str]:
    """Plain values by key, unexpanded."""
    return {variable.key: variable.value for variable in variables}


def expanded(variables: Iterable[Variable]) -> list[Variable]:
    """Each value with references to the others replaced; unknown names and references to file or raw values stay.

    A reference to a value that refers back to it stays as it is, where GitLab would refuse the pipeline.
    """
    by_key = {variable.key: variable for variable in variables}
    done: dict[str, str] = {}

    def value_of(key: str, above: frozenset[str]) -> str:
        variable = by_key[key]
        if key in done:
            return done[key]
        if variable.raw or variable.file:
            return variable.value
        done_value = _REFERENCE.sub(lambda match: replace(match, above | {key}), variable.value)
        if not above:
            done[key] = done_value
        return done_value

    def replace(match: re.Match[str], above: frozenset[str]) -> str:
        key = match[1] or match[2] or match[3]
        if not key or key not in by_key or key in above or by_key[key].file or by_key[key].raw:
            return match[0]
        return value_of(key, above)

    return [Variable(v.key, value_of(v.key, frozenset()), v.public, v.masked, v.raw, v.file) for v in by_key.values()]


def expand_text(text: str, known: dict[str, str]) -> str:
    """``text`` with every known reference replaced; unknown ones become empty, as GitLab does outside of jobs."""

    def replace(match: re.Match[str]) -> str:
        key = match[1] or match[2] or match[3]
        return known.get(key, "") if key else match[0]

    return _REFERENCE.sub(replace, text)


def from_yaml(mapping: dict[str, Any] | None) -> list[Variable]:
    """Variables of a ``variables:`` section; a hash value may carry ``expand: false``."""
    found = []
    for key, item in (mapping or {}).items():
        value, raw = (item.get("value", ""), item.get("expand") is False) if isinstance(item, dict) else (item, False)
        found.append(Variable(key, _scalar(value), raw=raw))
    return found


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
