"""REST: resource groups (contracts B.18)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.ci.resources import MODES
from lab.emulator.gitlab.model import DEVELOPER, REPORTER, ApiError, Project
from lab.emulator.gitlab.paging import iso, page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci


class GroupsApi:
    """Routes under ``/projects/:id/resource_groups``."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        base = "/api/v4/projects/{id}/resource_groups"
        routes = ci.gitlab.app.router
        routes.add_get(base, self.index)
        routes.add_get(f"{base}/{{key}}", self.get)
        routes.add_put(f"{base}/{{key}}", self.update)
        routes.add_get(f"{base}/{{key}}/current_job", self.current_job)
        routes.add_get(f"{base}/{{key}}/upcoming_jobs", self.upcoming_jobs)

    async def index(self, request: web.Request) -> web.Response:
        """``GET resource_groups``."""
        _, project = self._ci.gitlab.access.project(request, REPORTER)
        return page(request, self._ci.store.groups(project.id), _shown)

    async def get(self, request: web.Request) -> web.Response:
        """``GET resource_groups/:key``."""
        return web.json_response(_shown(self._one(request, REPORTER)[1]))

    async def update(self, request: web.Request) -> web.Response:
        """``PUT resource_groups/:key``: another process mode."""
        project, group = self._one(request, DEVELOPER)
        body = await Parameters.of(request)
        group |= {"process_mode": body.choice("process_mode", MODES, group["process_mode"]), "updated_at": time.time()}
        groups = [group if row["key"] == group["key"] else row for row in self._ci.store.groups(project.id)]
        self._ci.store.put_groups(project.id, groups)
        self._ci.engine.regroup(project.id, group["key"])
        return web.json_response(_shown(group))

    async def current_job(self, request: web.Request) -> web.Response:
        """``GET resource_groups/:key/current_job``; null when the group is free."""
        project, group = self._one(request, REPORTER)
        job = self._ci.engine.groups.current(project.id, group["key"])
        return web.json_response(self._ci.present.job(job, project) if job else None)

    async def upcoming_jobs(self, request: web.Request) -> web.Response:
        """``GET resource_groups/:key/upcoming_jobs``."""
        project, group = self._one(request, REPORTER)
        jobs = self._ci.engine.groups.upcoming(project.id, group["key"])
        return page(request, jobs, lambda job: self._ci.present.job(job, project))

    def _one(self, request: web.Request, level: int) -> tuple[Project, dict[str, Any]]:
        _, project = self._ci.gitlab.access.project(request, level)
        key = request.match_info["key"]
        group = next((row for row in self._ci.store.groups(project.id) if row["key"] == key), None)
        if group is None:
            raise ApiError.not_found("Resource Group")
        return project, group


def _shown(group: dict[str, Any]) -> dict[str, Any]:
    return {**group, "created_at": iso(group["created_at"]), "updated_at": iso(group["updated_at"])}
