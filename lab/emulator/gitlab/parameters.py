"""What a request carries: query, form and JSON body as one tree of named values, checked as GitLab checks them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from aiohttp import web

from lab.emulator.gitlab.model import ApiError

_TRUE, _FALSE = {"true", "1", "t", "on", "yes"}, {"false", "0", "f", "off", "no", ""}


class Parameters:
    """Parameters of one request. Every reader raises ApiError 400 in Grape's words when a value has another type."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    @classmethod
    async def of(cls, request: web.Request) -> Parameters:
        """Read query and body (JSON, form or multipart); the body wins. Raises ApiError 400 on malformed JSON."""
        values = nested((key, value) for key, value in request.query.items())
        if request.method not in {"GET", "HEAD"} and request.can_read_body:
            values |= await _body(request)
        return cls(values)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str) -> Any:
        """The raw value, or None."""
        return self.values.get(name)

    def require(self, *names: str) -> None:
        """Raise ApiError 400 ``a is missing, b is missing`` unless all are given."""
        if missing := [name for name in names if self.values.get(name) is None]:
            raise ApiError(400, {"error": ", ".join(f"{name} is missing" for name in missing)})

    def text(self, name: str, default: str = "") -> str:
        """A string; numbers and booleans are taken as their text."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, (dict, list)):
            raise invalid(name)
        return str(value).lower() if isinstance(value, bool) else str(value)

    def integer(self, name: str) -> int | None:
        """A whole number, or None when absent or empty."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        try:
            return int(value)
        except (ValueError, TypeError):
            raise invalid(name) from None

    def boolean(self, name: str, default: bool = False) -> bool:
        """A truth value in any of the spellings that GitLab takes."""
        value = self.values.get(name)
        if value is None:
            return default
        text = str(value).lower()
        if text not in _TRUE | _FALSE:
            raise invalid(name)
        return text in _TRUE

    def strings(self, name: str) -> list[str] | None:
        """A list of strings, also given as one comma-separated string; None when absent."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, dict):
            raise invalid(name)
        return [str(item) for item in (value if isinstance(value, list) else [value])]

    def day(self, name: str) -> str | None:
        """A date as ``YYYY-MM-DD``, or None when absent or empty."""
        value = self.values.get(name)
        if not value:
            return None
        try:
            return date.fromisoformat(str(value)[:10]).isoformat()
        except ValueError:
            raise invalid(name) from None

    def choice(self, name: str, allowed: tuple[str, ...], default: str = "") -> str:
        """One of ``allowed``."""
        value = self.text(name, default)
        if value not in allowed and name in self.values:
            raise ApiError(400, {"error": f"{name} does not have a valid value"})
        return value


def invalid(name: str) -> ApiError:
    """400 with Grape's text for a value of the wrong type."""
    return ApiError(400, {"error": f"{name} is invalid"})


def nested(pairs: Any) -> dict[str, Any]:
    """Rack's reading of names: ``a[]=1`` makes a list, ``a[b]=1`` a mapping, ``a[][b]=1`` a list of mappings."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        head, *rest = re.findall(r"^[^\[]+|\[[^\]]*\]", name) or [name]
        _store(tree, head, [part[1:-1] for part in rest], value)
    return tree


def _store(tree: dict[str, Any], key: str, rest: list[str], value: Any) -> None:
    if not rest:
        tree[key] = value
    elif rest[0] == "":
        items = tree.setdefault(key, [])
        if not isinstance(items, list):
            raise invalid(key)
        if len(rest) == 1:
            items.append(value)
            return
        if not items or not isinstance(items[-1], dict) or (len(rest) == 2 and rest[1] in items[-1]):
            items.append({})
        _store(items[-1], rest[1], rest[2:], value)
    else:
        inner = tree.setdefault(key, {})
        if not isinstance(inner, dict):
            raise invalid(key)
        _store(inner, rest[0], rest[1:], value)


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        return nested((await request.post()).items())
    text = await request.read()
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        raise ApiError(400, {"error": "Problem while parsing request body: invalid JSON"}) from None
    if document is None:  # `null`: what some clients send for "no options"
        return {}
    if not isinstance(document, dict):
        raise ApiError(400, {"error": "The request body must be a JSON object"})
    return document
