"""Argo CD's pages: the Applications, and the tree of one of them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lab.emulator.argocd import health, observing
from lab.emulator.argocd.cluster import NAMESPACE, Cluster
from lab.emulator.argocd.objects import images, key_of
from lab.emulator.pages.html import Markup, badge, code, element, facts, link, page, render, table, when

_PRODUCT = "Argo CD"
_RELOAD = 5
"""Seconds between reloads of a page that somebody watches during a deployment."""


class Pages:
    """Routes of the read-only pages on argocd-server's port."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get("/", _home)
        app.router.add_get("/login", _home)
        app.router.add_get("/applications", self.applications)
        app.router.add_get("/applications/{name}", self.application)
        app.router.add_get("/applications/{namespace}/{name}", self.application)

    async def applications(self, _request: web.Request) -> web.Response:
        """Every Application as a card."""
        cards = [_card(app) for app in self._cluster.applications()]
        empty = element("p", "There is no Application yet.", class_="quiet")
        return page(
            "Applications", element("div", *cards, class_="cards") if cards else empty, product=_PRODUCT, reload=_RELOAD
        )

    async def application(self, request: web.Request) -> web.Response:
        """One Application: how it is, what it consists of, what was deployed."""
        name, namespace = request.match_info["name"], request.match_info.get("namespace", NAMESPACE)
        app = self._cluster.application(name) if namespace == NAMESPACE else None
        trail = [("Applications", "/applications")]
        if app is None:
            text = f"There is no Application {name} in namespace {namespace}."
            return page("Not found", element("p", text), trail=trail, product=_PRODUCT, status=404)
        status = app.get("status") or {}
        return page(
            name,
            _panel(status),
            _conditions(status),
            element("h2", "Objects"),
            self._tree(app),
            element("h2", "Source and destination"),
            _source(app),
            element("h2", "Deployed revisions"),
            _history(status),
            trail=[*trail, (name, request.path)],
            product=_PRODUCT,
            reload=_RELOAD,
        )

    def _tree(self, app: dict[str, Any]) -> Markup:
        """The managed objects and what they own, indented; objects that are wanted but missing stand in it too."""
        live = self._cluster.managed(app["metadata"]["name"])
        sync = {_identity(entry): entry for entry in (app.get("status") or {}).get("resources") or []}
        rows = []
        for depth, obj in observing.tree(self._cluster, live.values()):
            key = key_of(obj)
            entry = sync.pop((key.group, key.kind, key.namespace, key.name), {}) if depth == 0 else {}
            rows.append(_node(depth, obj, entry))
        rows += [
            element("li", code(f"{entry['kind']} {entry['name']}"), " ", badge("OutOfSync"), " ", badge("Missing"))
            for entry in sync.values()
        ]
        nothing = element("p", "Nothing is managed by this Application yet.", class_="quiet")
        return element("ul", *rows, class_="tree") if rows else nothing


async def _home(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/applications")


def _identity(entry: dict[str, Any]) -> tuple[str, str, str, str]:
    return entry.get("group", ""), entry.get("kind", ""), entry.get("namespace", ""), entry.get("name", "")


def _node(depth: int, obj: dict[str, Any], entry: dict[str, Any]) -> Markup:
    found = health.assess(obj)
    simulated = (obj["metadata"].get("annotations") or {}).get("emulator.lab/simulated") == "true"
    parts: list[Any] = [code(f"{obj['kind']} {obj['metadata']['name']}")]
    if entry.get("status"):
        parts.append(badge(entry["status"]))
    if found is not None:
        parts.append(badge(found.status))
    if entry.get("requiresPruning"):
        parts.append(badge("not in git: to be pruned", tone="busy"))
    if simulated:
        parts.append(badge("simulated", tone="busy"))
    if obj["kind"] == "Pod":
        parts += [element("span", image, class_="quiet") for image in images(obj)]
    if found is not None and found.message and found.status != health.HEALTHY:
        parts.append(element("span", found.message, class_="quiet"))
    return element("li", *(render([part, " "]) for part in parts), class_=f"in{min(depth, 3)}")


def _card(app: dict[str, Any]) -> Markup:
    name, status = app["metadata"]["name"], app.get("status") or {}
    source = (app.get("spec") or {}).get("source") or {}
    return element(
        "div",
        element("h2", link(name, f"/applications/{NAMESPACE}/{name}")),
        element("p", *_badges(status)),
        facts(
            [
                ("Repository", source.get("repoURL")),
                ("Revision", source.get("targetRevision") or "HEAD"),
                ("Path", source.get("path")),
                ("Commit", _commit(app, (status.get("sync") or {}).get("revision"))),
            ]
        ),
        class_="card",
    )


def _badges(status: dict[str, Any]) -> list[Any]:
    sync, found = (status.get("sync") or {}).get("status"), (status.get("health") or {}).get("status")
    return [badge(sync or "Unknown"), " ", badge(found or "Unknown")]


def _panel(status: dict[str, Any]) -> Markup:
    sync, found = status.get("sync") or {}, status.get("health") or {}
    state = status.get("operationState") or {}
    revision = (state.get("syncResult") or {}).get("revision", "")
    last = [badge(state["phase"]), " ", code(revision[:8]) if revision else "", " ", when(state.get("finishedAt"))]
    cells = [
        ("Sync", [badge(sync.get("status") or "Unknown"), " ", code((sync.get("revision") or "")[:8])]),
        ("Health", [badge(found.get("status") or "Unknown"), " ", found.get("message", "")]),
        ("Last sync", [last, element("div", state.get("message", ""), class_="quiet")] if state else "none yet"),
        ("Looked at", when(status.get("reconciledAt"))),
    ]
    return element(
        "div", *(element("div", element("span", name), render(value)) for name, value in cells), class_="status"
    )


def _conditions(status: dict[str, Any]) -> Markup:
    rows = [
        element("div", badge(condition["type"], tone="bad"), " ", condition["message"], class_="note")
        for condition in status.get("conditions") or []
    ]
    return render(rows)


def _source(app: dict[str, Any]) -> Markup:
    spec, status = app.get("spec") or {}, app.get("status") or {}
    source, destination = spec.get("source") or {}, spec.get("destination") or {}
    automated = (spec.get("syncPolicy") or {}).get("automated")
    words = [word for word in ("prune", "selfHeal") if (automated or {}).get(word)]
    policy = "by hand" if automated is None else "automated" + (f" ({', '.join(words)})" if words else "")
    return facts(
        [
            ("Repository", source.get("repoURL")),
            ("Revision", source.get("targetRevision") or "HEAD"),
            ("Path", source.get("path")),
            ("Namespace", destination.get("namespace")),
            ("Sync", policy),
            ("Images", [element("div", code(image)) for image in (status.get("summary") or {}).get("images") or []]),
        ]
    )


def _history(status: dict[str, Any]) -> Markup:
    rows = [
        (
            entry.get("id"),
            code(str(entry.get("revision", ""))[:8]),
            when(entry.get("deployedAt")),
            "automated" if (entry.get("initiatedBy") or {}).get("automated") else "by hand",
        )
        for entry in reversed(status.get("history") or [])
    ]
    return table(["Id", "Commit", "Deployed", "Started"], rows, empty="Nothing has been deployed yet.")


def _commit(app: dict[str, Any], revision: str | None) -> Markup | str:
    """The commit, as a link to GitLab where the repository's URL is one for a browser."""
    if not revision:
        return ""
    url = str(((app.get("spec") or {}).get("source") or {}).get("repoURL") or "").removesuffix(".git")
    return link(code(revision[:8]), f"{url}/-/commit/{revision}") if url.startswith("http") else code(revision[:8])
