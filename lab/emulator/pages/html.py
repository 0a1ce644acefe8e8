"""HTML without a template engine: elements whose text is always escaped, and the frame of a page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from lab.emulator.pages.style import CSS

_VOID = {"br", "hr", "input", "meta"}


class Markup(str):
    """Text that is HTML already; any other text is escaped where it is put in."""

    __slots__ = ()


Child = Any
"""A string (escaped), Markup, a number, None (nothing), or an iterable of these."""


def render(child: Child) -> Markup:
    """``child`` as HTML."""
    if child is None or child is False:
        return Markup("")
    if isinstance(child, Markup):
        return child
    if isinstance(child, (str, int, float)):
        return Markup(html.escape(str(child)))
    return Markup("".join(render(item) for item in child))


def element(name: str, /, *children: Child, **attributes: str | None) -> Markup:
    """One element. Attribute ``class_`` means ``class``; an attribute that is None is left out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    opening = "".join([name, *(f' {key}="{html.escape(str(value))}"' for key, value in given.items())])
    return Markup(f"<{opening}>" if name in _VOID else f"<{opening}>{render(children)}</{name}>")


def link(text: Child, target: str, **attributes: str | None) -> Markup:
    """A link; a target that is neither a path nor http(s) is shown as text only."""
    safe = target.startswith(("/", "http://", "https://", "#", "?"))
    return element("a", text, href=target, **attributes) if safe else render(text)


def code(text: Child) -> Markup:
    """Text in a fixed-width face."""
    return element("code", text)


_TONES = {
    "good": "success passed Synced Healthy Succeeded Running active online Bound Ready delivered",
    "bad": "failed canceled Degraded Failed Error offline Missing OutOfSync disabled",
    "busy": "running pending created preparing waiting_for_resource Progressing canceling scheduled Pending",
}
_TONE_OF = {word: tone for tone, words in _TONES.items() for word in words.split()}


def badge(status: str, *, tone: str | None = None) -> Markup:
    """A status as a coloured pill; the word itself always stands in it."""
    return element("span", status.replace("_", " "), class_=f"badge {tone or _TONE_OF.get(status, 'plain')}")


def table(head: Sequence[Child], rows: Iterable[Sequence[Child]], *, empty: str) -> Markup:
    """A table, or the sentence ``empty`` when there are no rows."""
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    if not body:
        return element("p", empty, class_="quiet")
    header = element("thead", element("tr", *(element("th", cell) for cell in head)))
    return element("div", element("table", header, element("tbody", *body)), class_="scroll")


def facts(pairs: Iterable[tuple[str, Child]]) -> Markup:
    """A list of names and values; values that are empty are left out."""
    shown = [(name, value) for name, value in pairs if value not in (None, "")]
    return element("dl", *([element("dt", name), element("dd", value)] for name, value in shown))


def when(timestamp: str | None) -> Markup:
    """A moment, short, with the full timestamp as a tooltip."""
    if not timestamp:
        return Markup("")
    try:
        moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00")).astimezone(timezone.utc)
    except ValueError:
        return render(timestamp)
    text = f"{moment.day} {moment:%b %H:%M:%S} UTC"
    return element("time", text, datetime=timestamp, title=timestamp)


def took(seconds: float | None) -> str:
    """A duration for people: ``12 ms``, ``0.4 s``, ``12 s``, ``3 min 5 s``."""
    if seconds is None:
        return ""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def page(
    title: str,
    *content: Child,
    trail: Sequence[tuple[str, str]] = (),
    tabs: Sequence[tuple[str, str, bool]] = (),
    product: str = "GitLab",
    status: int = 200,
    reload: int | None = None,
) -> web.Response:
    """A whole page as an answer.

    ``trail`` is the way here as (text, path); ``tabs`` are (text, path, whether it is this page); ``reload`` is the
    number of seconds after which the page is loaded again.
    """
    steps = [element("span", link(text, path), class_="step") for text, path in trail]
    menu = [link(text, path, class_="here" if here else None) for text, path, here in tabs]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="refresh", content=str(reload)) if reload else None,
        element("title", f"{title} · {product} emulator"),
        Markup(f"<style>{CSS}</style>"),
    ]
    body = [
        element(
            "div",
            element("strong", "EMULATOR"),
            element("span", f"A read-only page of the lab's embedded engine. The real {product} looks different."),
            class_="banner",
            role="note",
        ),
        element("nav", *steps, class_="trail", aria_label="Path") if steps else None,
        element("main", element("h1", title), element("nav", *menu, class_="tabs") if menu else None, *content),
    ]
    document = element("html", element("head", *head), element("body", *body), lang="en")
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return web.Response(
        status=status, text=f"<!doctype html>{document}", content_type="text/html", charset="utf-8", headers=headers
    )
