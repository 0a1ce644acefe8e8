"""Label and field selectors: parsing and matching.

Source: k8s.io/apimachinery pkg/labels/selector.go, pkg/fields/selector.go (v0.33).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from lab.emulator.kube.errors import bad_request

Predicate = Callable[[Mapping[str, Any]], bool]

_KEY = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)\Z")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})\Z")
_COMPARE = re.compile(rf"({_KEY})\s*([<>])\s*(-?\d+)\Z")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})\Z")
_FIELD = re.compile(r"([^=!]+)(==|=|!=)(.*)\Z", re.DOTALL)


@lru_cache(maxsize=256)
def labels(text: str) -> Predicate:
    """A predicate over an object's labels for a selector as queries carry it; empty matches everything.

    Raises:
        StatusError: 400, the text is no selector.
    """
    requirements = [_requirement(part.strip(), text) for part in _split(text) if part.strip()]
    return lambda found: all(requirement(found) for requirement in requirements)


def _split(text: str) -> list[str]:
    return re.split(r",(?![^()]*\))", text)


def _requirement(part: str, whole: str) -> Predicate:
    if match := _SET.match(part):
        key, operator, listed = match.groups()
        values = {value.strip() for value in listed.split(",")}
        return _within(key, values) if operator == "in" else _not_within(key, values)
    if match := _EQUAL.match(part):
        key, operator, value = match.groups()
        return _not_within(key, {value}) if operator == "!=" else _within(key, {value})
    if match := _COMPARE.match(part):
        return _compared(match[1], match[2], int(match[3]))
    if match := _EXISTS.match(part):
        key = match[2]
        return (lambda found: key not in found) if match[1] else (lambda found: key in found)
    raise bad_request(f'unable to parse requirement: found "{part}" in "{whole}"')


def _within(key: str, values: set[str]) -> Predicate:
    return lambda found: key in found and found[key] in values


def _not_within(key: str, values: set[str]) -> Predicate:
    return lambda found: key not in found or found[key] not in values


def _compared(key: str, operator: str, bound: int) -> Predicate:
    def matches(found: Mapping[str, Any]) -> bool:
        try:
            value = int(found[key])
        except (KeyError, ValueError):
            return False
        return value > bound if operator == ">" else value < bound

    return matches


def label_selector(selector: Mapping[str, Any] | None) -> Predicate:
    """A predicate for a LabelSelector object (``matchLabels``, ``matchExpressions``); None matches nothing."""
    if selector is None:
        return lambda _: False
    required = [_within(key, {value}) for key, value in (selector.get("matchLabels") or {}).items()]
    required += [_expression(one) for one in selector.get("matchExpressions") or []]
    return lambda found: all(requirement(found) for requirement in required)


def _expression(expression: Mapping[str, Any]) -> Predicate:
    key, operator = expression["key"], expression["operator"]
    values = set(expression.get("values") or [])
    known: dict[str, Predicate] = {
        "In": _within(key, values),
        "NotIn": _not_within(key, values),
        "Exists": lambda found: key in found,
        "DoesNotExist": lambda found: key not in found,
    }
    if operator not in known:
        raise bad_request(f'"{operator}" is not a valid label selector operator')
    return known[operator]


def fields(text: str, supported: Mapping[str, Callable[[Mapping[str, Any]], str]]) -> Predicate:
    """A predicate over whole objects for a field selector such as ``metadata.name=web,status.phase!=Failed``.

    ``supported`` maps each field the kind can be selected by to a function that reads it.

    Raises:
        StatusError: 400, the text is no selector or names another field.
    """
    terms = []
    for part in re.split(r"(?<!\\),", text):
        if not part.strip():
            continue
        match = _FIELD.match(part.strip())
        if not match:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        name, operator, value = match.groups()
        if name not in supported:
            raise bad_request(f'Unable to find "" that match label selector "", field selector "{text}": '
                              f'field label not supported: {name}')  # fmt: skip
        terms.append((supported[name], operator == "!=", value.replace("\\,", ",").replace("\\=", "=")))
    return lambda obj: all((read(obj) == value) != negated for read, negated, value in terms)
