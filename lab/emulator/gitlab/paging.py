"""Lists as GitLab pages them (offset and keyset), and timestamps as it prints them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from lab.emulator.gitlab.model import ApiError

EXTERNAL_URL = web.AppKey("external_url", str)
"""Under which the application keeps GitLab's identity; links are made from it."""
_TOTAL_SHOWN_UP_TO = 10_000


def iso(when: float | None = None) -> str:
    """``2026-11-21T04:22:01.123Z``: ``when`` in seconds since 1970, or now."""
    moment = datetime.now(timezone.utc) if when is None else datetime.fromtimestamp(when, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def page(
    request: web.Request, rows: Sequence[Any], show: Callable[[Any], Any] | None = None, *, count: bool = True
) -> web.Response:
    """The page of ``rows`` that the request asks for, as JSON array with GitLab's headers (contracts B.1).

    ``show`` renders one row; only the rows of the page are rendered. ``count=False`` leaves the totals out, as
    GitLab does for commits. Raises ApiError 400 for a page that is no positive number.
    """
    render = show or (lambda row: row)
    per_page = min(_positive(request, "per_page", 20), 100)
    pagination = request.query.get("pagination", "offset")
    if pagination not in {"offset", "keyset", "legacy"}:
        raise ApiError(400, {"error": "pagination does not have a valid value"})
    if pagination == "keyset":
        return _keyset(request, rows, render, per_page)
    number = _positive(request, "page", 1)
    start = (number - 1) * per_page
    body = [render(row) for row in rows[start : start + per_page]]
    headers = _offset_headers(request, len(rows), number, per_page, count=count and len(rows) <= _TOTAL_SHOWN_UP_TO)
    return web.json_response(body, headers=headers)


def link(request: web.Request, **changes: object) -> str:
    """The request's address under the external URL, with query parameters changed."""
    query = dict(request.query)
    query.pop("private_token", None)
    query.update({key: str(value) for key, value in changes.items()})
    return request.app[EXTERNAL_URL] + str(request.rel_url.with_query(query))


def _positive(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise ApiError(400, {"error": f"{name} is invalid"}) from None
    if value < 1:
        raise ApiError(400, {"error": f"{name} has a value not allowed"})
    return value


def _offset_headers(request: web.Request, total: int, number: int, per_page: int, *, count: bool) -> dict[str, str]:
    pages = max(1, -(-total // per_page))
    following = number + 1 if number < pages else None
    before = number - 1 if number > 1 else None
    targets = {"prev": before, "next": following, "first": 1, "last": pages if count else None}
    links = [
        f'<{link(request, page=target, per_page=per_page)}>; rel="{name}"' for name, target in targets.items() if target
    ]
    headers = {
        "x-page": str(number),
        "x-per-page": str(per_page),
        "x-next-page": str(following or ""),
        "x-prev-page": str(before or ""),
        "link": ", ".join(links),
    }
    if count:
        headers |= {"x-total": str(total), "x-total-pages": str(pages)}
    return headers


def _keyset(request: web.Request, rows: Sequence[Any], render: Callable[[Any], Any], per_page: int) -> web.Response:
    """Rows by id from a cursor on; the cursor is opaque to clients, which follow the link header."""
    order, descending = request.query.get("order_by", "id"), request.query.get("sort", "desc") != "asc"
    if order != "id":
        raise ApiError(405, {"error": f"Keyset pagination is not yet available for this type of request ({order})"})
    shown = sorted((render(row) for row in rows), key=lambda row: int(row["id"]), reverse=descending)
    if cursor := request.query.get("cursor"):
        last = _cursor_id(cursor)
        shown = [row for row in shown if (row["id"] < last if descending else row["id"] > last)]
    body, rest = shown[:per_page], shown[per_page:]
    headers = {"x-per-page": str(per_page), "x-next-page": "", "x-prev-page": ""}
    if rest:
        target = link(request, cursor=json.dumps({"id": body[-1]["id"]}), per_page=per_page)
        headers["link"] = f'<{target}>; rel="next"'
    return web.json_response(body, headers=headers)


def _cursor_id(cursor: str) -> int:
    try:
        return int(json.loads(cursor)["id"])
    except (ValueError, KeyError, TypeError):
        raise ApiError(400, {"error": "cursor is invalid"}) from None
