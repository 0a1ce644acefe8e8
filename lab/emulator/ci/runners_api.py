"""REST: runners as people and tools manage them (contracts B.15)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.ci.model import Runner
from lab.emulator.ci.pipelines_api import in_scope
from lab.emulator.ci.present import runner_status
from lab.emulator.gitlab.model import MAINTAINER, ApiError, Caller
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci

_TYPES = ("instance_type", "group_type", "project_type")
_MANAGE = ("manage_runner",)


class RunnersApi:
    """Routes under ``/runners``, ``/user/runners`` and ``/projects/:id/runners``."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        self._access = ci.gitlab.access
        api, one, project = "/api/v4", "/api/v4/runners/{runner:\\d+}", "/api/v4/projects/{id}/runners"
        routes = ci.gitlab.app.router
        routes.add_post(f"{api}/user/runners", self.create)
        routes.add_get(f"{api}/runners", self.owned)
        routes.add_get(f"{api}/runners/all", self.all)
        routes.add_get(one, self.get)
        routes.add_put(one, self.update)
        routes.add_delete(one, self.delete)
        routes.add_get(f"{one}/managers", self.managers)
        routes.add_get(f"{one}/jobs", self.jobs)
        routes.add_post(f"{one}/reset_authentication_token", self.reset_token)
        routes.add_get(project, self.of_project)
        routes.add_post(project, self.assign)
        routes.add_delete(f"{project}/{{runner:\\d+}}", self.unassign)

    async def create(self, request: web.Request) -> web.Response:
        """``POST /user/runners``: the token is shown this once."""
        caller = self._access.api(request, "create_runner")
        body = await Parameters.of(request)
        body.require("runner_type")
        kind = body.choice("runner_type", _TYPES)
        if kind == "group_type":
            raise ApiError.message(400, "not emulated: group runners")
        projects = [self._project(caller, body)] if kind == "project_type" else []
        if kind == "instance_type" and not self._is_admin(caller):
            raise ApiError.message(403, "403 Forbidden")
        runner = Runner(
            id=0, runner_type=kind, token=f"glrt-{secrets.token_urlsafe(15)}", project_ids=projects,
            created_by=caller.user_id,
        )  # fmt: skip
        _take(runner, body)
        runner.id = self._ci.store.next_id("ci_runner")
        self._ci.store.save(runner)
        answer = {"id": runner.id, "token": runner.token, "token_expires_at": None}
        return web.json_response(answer, status=201)

    def _project(self, caller: Caller, body: Parameters) -> int:
        body.require("project_id")
        project = self._ci.gitlab.projects.get(body.integer("project_id") or 0)
        if project is None or not self._access.sees(caller, project):
            raise ApiError.not_found("Project")
        self._access.require(caller, project, MAINTAINER)
        return project.id

    async def owned(self, request: web.Request) -> web.Response:
        """``GET /runners``: project runners of the caller's projects."""
        caller = self._access.api(request, *_MANAGE)
        rows = [r for r in self._rows() if r.runner_type == "project_type" and self._may(caller, r)]
        return page(request, self._filtered(rows, request), self._ci.present.runner_row)

    async def all(self, request: web.Request) -> web.Response:
        """``GET /runners/all`` (administrators)."""
        self._access.administrator(request)
        return page(request, self._filtered(self._rows(), request), self._ci.present.runner_row)

    async def of_project(self, request: web.Request) -> web.Response:
        """``GET /projects/:id/runners``: its own ones and the instance's."""
        _, project = self._access.project(request, MAINTAINER, *_MANAGE)
        shared = project.data.get("shared_runners_enabled", True)
        rows = [r for r in self._rows() if project.id in r.project_ids or (r.runner_type == "instance_type" and shared)]
        return page(request, self._filtered(rows, request), self._ci.present.runner_row)

    async def get(self, request: web.Request) -> web.Response:
        """``GET /runners/:id``."""
        return self._shown(self._one(request))

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /runners/:id``."""
        runner = self._one(request)
        _take(runner, await Parameters.of(request))
        self._ci.store.save(runner)
        self._ci.queue.changed()
        return self._shown(runner)

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /runners/:id``."""
        self._ci.store.delete_runner(self._one(request))
        self._ci.queue.changed()
        return web.Response(status=204)

    async def managers(self, request: web.Request) -> web.Response:
        """``GET /runners/:id/managers``."""
        runner = self._one(request)
        return page(request, list(runner.managers), lambda system_id: self._ci.present.manager(runner, system_id))

    async def jobs(self, request: web.Request) -> web.Response:
        """``GET /runners/:id/jobs``, newest first."""
        runner = self._one(request)
        rows = [job for job in self._ci.store.jobs.values() if job.runner_id == runner.id]
        rows = sorted(in_scope(rows, request), key=lambda job: job.id, reverse=True)
        return page(request, rows, lambda job: self._ci.present.job(job, self._ci.project(job)))

    async def reset_token(self, request: web.Request) -> web.Response:
        """``POST /runners/:id/reset_authentication_token``."""
        return web.json_response(self._ci.renew_token(self._one(request)), status=201)

    async def assign(self, request: web.Request) -> web.Response:
        """``POST /projects/:id/runners``: let a project runner serve this project too."""
        caller, project = self._access.project(request, MAINTAINER, *_MANAGE)
        body = await Parameters.of(request)
        body.require("runner_id")
        runner = self._ci.store.runners.get(body.integer("runner_id") or 0)
        if runner is None:
            raise ApiError.not_found("Runner")
        if runner.runner_type != "project_type" or runner.locked or not self._may(caller, runner):
            raise ApiError.message(403, "403 Forbidden")
        if project.id in runner.project_ids:
            raise ApiError.message(400, {"runner_id": ["has already been taken"]})
        runner.project_ids.append(project.id)
        self._ci.store.save(runner)
        self._ci.queue.changed()
        return web.json_response(self._ci.present.runner_row(runner), status=201)

    async def unassign(self, request: web.Request) -> web.Response:
        """``DELETE /projects/:id/runners/:runner_id``."""
        _, project = self._access.project(request, MAINTAINER, *_MANAGE)
        runner = self._ci.store.runners.get(int(request.match_info["runner"]))
        if runner is None or project.id not in runner.project_ids:
            raise ApiError.not_found("Runner")
        if runner.project_ids[0] == project.id:
            raise ApiError.message(403, "403 Forbidden - You cannot unassign a runner from the owner project.")
        runner.project_ids.remove(project.id)
        self._ci.store.save(runner)
        return web.Response(status=204)

    def _one(self, request: web.Request) -> Runner:
        caller = self._access.api(request, *_MANAGE)
        runner = self._ci.store.runners.get(int(request.match_info["runner"]))
        if runner is None:
            raise ApiError.not_found("Runner")
        if not self._may(caller, runner):
            raise ApiError.message(403, "403 Forbidden - No access granted")
        return runner

    def _may(self, caller: Caller, runner: Runner) -> bool:
        if self._is_admin(caller):
            return True
        projects = self._ci.projects_of(runner)
        return any(self._access.level(caller, project) >= MAINTAINER for project in projects)

    def _is_admin(self, caller: Caller) -> bool:
        user = self._ci.gitlab.users.get(caller.user_id)
        return user is not None and user.admin and caller.kind == "user"

    def _rows(self) -> list[Runner]:
        return sorted(self._ci.store.runners.values(), key=lambda runner: runner.id, reverse=True)

    @staticmethod
    def _filtered(rows: list[Runner], request: web.Request) -> list[Runner]:
        query = request.query
        kind, state = query.get("type"), query.get("status") or query.get("scope")
        if kind is not None and kind not in _TYPES:
            raise ApiError(400, {"error": "type does not have a valid value"})
        if kind:
            rows = [row for row in rows if row.runner_type == kind]
        if state in ("active", "paused"):
            rows = [row for row in rows if row.paused == (state == "paused")]
        elif state:
            rows = [row for row in rows if runner_status(row) == state]
        if "paused" in query:
            rows = [row for row in rows if row.paused == (query["paused"] == "true")]
        if tags := [tag for tag in query.get("tag_list", "").split(",") if tag]:
            rows = [row for row in rows if set(tags) <= set(row.tag_list)]
        return rows

    def _shown(self, runner: Runner) -> web.Response:
        return web.json_response(self._ci.present.runner(runner, self._ci.projects_of(runner)))


def _take(runner: Runner, body: Parameters) -> None:
    """Take over what the request names; raises ApiError 400."""
    for name in ("description", "maintenance_note"):
        if name in body:
            setattr(runner, name, body.text(name))
    for name in ("run_untagged", "locked", "paused"):
        if name in body:
            setattr(runner, name, body.boolean(name))
    if "active" in body:
        runner.paused = not body.boolean("active")
    if (tags := body.strings("tag_list")) is not None:
        runner.tag_list = sorted(set(tags))
    if "access_level" in body:
        runner.access_level = body.choice("access_level", ("not_protected", "ref_protected"))
    if "maximum_timeout" in body:
        runner.maximum_timeout = body.integer("maximum_timeout")
    _validate(runner)


def _validate(runner: Runner) -> None:
    errors: dict[str, Any] = {}
    if runner.maximum_timeout is not None and runner.maximum_timeout < 600:
        errors["maximum_timeout"] = ["needs to be at least 10 minutes"]
    if not runner.run_untagged and not runner.tag_list:
        errors["tags_list"] = ["can not be empty when runner is not allowed to pick untagged jobs"]
    if errors:
        raise ApiError.message(400, errors)
