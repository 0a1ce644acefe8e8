"""GitLab's REST API about the registry (contracts B.17).

Source: GitLab lib/api/project_container_repositories.rb, container_repositories.rb.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from typing import Any

from aiohttp import web

from lab.emulator.gitlab.access import Access
from lab.emulator.gitlab.model import DEVELOPER, MAINTAINER, REPORTER, ApiError, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters
from lab.emulator.gitlab.projects import Projects
from lab.emulator.registry.catalogue import Catalogue, Repository
from lab.emulator.registry.storage import Storage

_ONCE = 3600
"""Seconds between two bulk removals of one repository's tags."""
_SPANS = {"d": 86400, "h": 3600, "min": 60, "m": 2592000, "month": 2592000, "w": 604800, "y": 31536000}
_OLDER = re.compile(r"(\d+)\s*([a-z]+)\Z")
_KEPT = "latest"
_TOO_SOON = "This request has already been made. You can run this at most once an hour for a given container repository"


class Api:
    """Routes under ``/api/v4/projects/:id/registry`` and ``/api/v4/registry``."""

    def __init__(self, access: Access, projects: Projects, catalogue: Catalogue, storage: Storage) -> None:
        self._access = access
        self._projects = projects
        self._catalogue = catalogue
        self._storage = storage
        self._last_bulk: dict[int, float] = {}

    def add_routes(self, app: web.Application) -> None:
        """Register the routes."""
        base = "/api/v4/projects/{id}/registry/repositories"
        app.router.add_get(base, self.all)
        app.router.add_delete(base + "/{rid}", self.remove)
        app.router.add_get(base + "/{rid}/tags", self.tags)
        app.router.add_delete(base + "/{rid}/tags", self.remove_tags)
        app.router.add_get(base + "/{rid}/tags/{tag}", self.tag)
        app.router.add_delete(base + "/{rid}/tags/{tag}", self.remove_tag)
        app.router.add_get("/api/v4/registry/repositories/{rid}", self.single)

    async def all(self, request: web.Request) -> web.Response:
        """The project's repositories."""
        _, project = self._project(request, REPORTER)
        options = {name: _flag(request, name) for name in ("tags", "tags_count")}
        return page(
            request, self._catalogue.of_project(project.id), lambda row: self._catalogue.describe(row, **options)
        )

    async def single(self, request: web.Request) -> web.Response:
        """One repository by id alone."""
        caller = self._access.api(request, "read_registry")
        row = self._catalogue.get(_number(request))
        project = self._projects.get(row.project_id) if row else None
        if row is None or project is None or not self._access.sees(caller, project):
            raise ApiError.message(404, "404 Not Found")
        self._access.require(caller, project, REPORTER)
        options = {name: _flag(request, name) for name in ("tags", "tags_count")}
        shown = self._catalogue.describe(row, **options)
        if _flag(request, "size"):
            shown["size"] = sum(
                int((self._catalogue.tag_in_detail(row, tag) or {}).get("total_size", 0))
                for tag in self._catalogue.tags(row)
            )
        return web.json_response(shown)

    async def remove(self, request: web.Request) -> web.Response:
        """Remove a repository with its tags; GitLab does it later, here it is done at once."""
        row = self._row(request, MAINTAINER)
        self._catalogue.remove(row)
        return web.json_response(202, status=202)

    async def tags(self, request: web.Request) -> web.Response:
        """The tags of a repository."""
        row = self._row(request, REPORTER)
        return page(request, self._catalogue.tags(row), lambda name: self._catalogue.tag(row, name))

    async def tag(self, request: web.Request) -> web.Response:
        """One tag in detail; 404 while it does not exist."""
        row = self._row(request, REPORTER)
        shown = self._catalogue.tag_in_detail(row, request.match_info["tag"])
        if shown is None:
            raise ApiError.not_found("Tag")
        return web.json_response(shown)

    async def remove_tag(self, request: web.Request) -> web.Response:
        """Remove one tag."""
        row = self._row(request, DEVELOPER)
        if not self._storage.delete_tag(row.path, request.match_info["tag"]):
            raise ApiError.not_found("Tag")
        return web.json_response(200)

    async def remove_tags(self, request: web.Request) -> web.Response:
        """Remove the tags that match; never ``latest``, and at most once an hour for one repository."""
        row = self._row(request, MAINTAINER)
        values = await Parameters.of(request)
        if not values.text("name_regex_delete") and not values.text("name_regex"):
            raise ApiError(
                400, {"error": "name_regex_delete, name_regex are missing, at least one parameter must be provided"}
            )
        doomed = self._doomed(row, values)
        last = self._last_bulk.get(row.id)
        if last is not None and time.monotonic() - last < _ONCE:
            raise ApiError.message(400, _TOO_SOON)
        self._last_bulk[row.id] = time.monotonic()
        for name in doomed:
            self._storage.delete_tag(row.path, name)
        return web.json_response(202, status=202)

    def _doomed(self, row: Repository, values: Parameters) -> list[str]:
        delete = _expression(values.text("name_regex_delete") or values.text("name_regex"), "name_regex_delete")
        keep = (
            _expression(values.text("name_regex_keep"), "name_regex_keep") if values.text("name_regex_keep") else None
        )
        names = [
            name
            for name in self._catalogue.tags(row)
            if name != _KEPT and delete.fullmatch(name) and not (keep and keep.fullmatch(name))
        ]
        made = {name: _seconds((self._catalogue.tag_in_detail(row, name) or {}).get("created_at")) for name in names}
        names.sort(key=lambda name: made[name], reverse=True)
        names = names[values.integer("keep_n") or 0 :]
        if older := values.text("older_than"):
            limit = time.time() - _span(older)
            names = [name for name in names if made[name] < limit]
        return names

    def _project(self, request: web.Request, level: int) -> tuple[Any, Project]:
        caller, project = self._access.project(request, level, "read_registry", job_token=True)
        if project.data.get("container_registry_access_level") == "disabled":
            raise ApiError.message(403, "403 Forbidden")
        return caller, project

    def _row(self, request: web.Request, level: int) -> Repository:
        _, project = self._project(request, level)
        row = self._catalogue.get(_number(request))
        if row is None or row.project_id != project.id:
            raise ApiError.message(404, "404 Not Found")
        return row


def _number(request: web.Request) -> int:
    try:
        return int(request.match_info["rid"])
    except ValueError:
        raise ApiError(400, {"error": "repository_id is invalid"}) from None


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in {"1", "true", "t", "yes", "on"}


def _expression(text: str, name: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error:
        raise ApiError(400, {"error": f"{name} is an invalid regexp"}) from None


def _seconds(created: str | None) -> float:
    """Seconds since 1970 of a tag's time; 0 when it has none."""
    return timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S")) if created else 0.0


def _span(text: str) -> int:
    match = _OLDER.match(text.strip())
    if not match or match[2] not in _SPANS:
        raise ApiError(400, {"error": "older_than is invalid"})
    return int(match[1]) * _SPANS[match[2]]
