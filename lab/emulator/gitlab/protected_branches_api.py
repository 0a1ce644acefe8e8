"""REST: protected branches (contracts B.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from lab.emulator.gitlab.model import MAINTAINER, ApiError, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters
from lab.emulator.gitlab.protection import LEVELS, ProtectedBranch

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_PREMIUM = ("allowed_to_push", "allowed_to_merge", "allowed_to_unprotect")


class ProtectedBranchesApi:
    """The routes; maintainers change, everybody in the project reads."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router, base = gitlab.app.router, "/api/v4/projects/{id}/protected_branches"
        router.add_get(base, self.index)
        router.add_post(base, self.create)
        router.add_get(f"{base}/{{name}}", self.show)
        router.add_patch(f"{base}/{{name}}", self.update)
        router.add_delete(f"{base}/{{name}}", self.delete)

    async def index(self, request: web.Request) -> web.Response:
        """``GET .../protected_branches``."""
        _, project = self._gitlab.access.project(request, MAINTAINER)
        search = request.query.get("search", "")
        rows = [rule for rule in self._gitlab.protected_branches.of(project.id) if search in rule.name]
        return page(request, rows, ProtectedBranch.shown)

    async def create(self, request: web.Request) -> web.Response:
        """``POST .../protected_branches``."""
        _, project = self._gitlab.access.project(request, MAINTAINER)
        given = await Parameters.of(request)
        given.require("name")
        name = given.text("name")
        if self._gitlab.protected_branches.named(project.id, name):
            raise ApiError.message(409, f"Protected branch '{name}' already exists")
        if not name:
            raise ApiError.message(422, ["Name can't be blank"])
        _refuse_premium(given)
        rule = self._gitlab.protected_branches.create(
            project.id,
            name,
            push_access_level=_level(given, "push_access_level", MAINTAINER),
            merge_access_level=_level(given, "merge_access_level", MAINTAINER),
            allow_force_push=given.boolean("allow_force_push"),
        )
        return web.json_response(rule.shown(), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """``GET .../protected_branches/:name``."""
        _, rule = self._rule(request)
        return web.json_response(rule.shown())

    async def update(self, request: web.Request) -> web.Response:
        """``PATCH .../protected_branches/:name``: only ``allow_force_push`` is CE's."""
        _, rule = self._rule(request)
        given = await Parameters.of(request)
        _refuse_premium(given)
        if "allow_force_push" in given:
            rule.allow_force_push = given.boolean("allow_force_push")
            self._gitlab.protected_branches.save(rule)
        return web.json_response(rule.shown())

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE .../protected_branches/:name``."""
        _, rule = self._rule(request)
        self._gitlab.protected_branches.remove(rule)
        return web.Response(status=204)

    def _rule(self, request: web.Request) -> tuple[Project, ProtectedBranch]:
        _, project = self._gitlab.access.project(request, MAINTAINER)
        rule = self._gitlab.protected_branches.named(project.id, request.match_info["name"])
        if rule is None:
            raise ApiError.message(404, "404 Not found")
        return project, rule


def _level(given: Parameters, name: str, default: int) -> int:
    level = given.integer(name)
    if level is None:
        return default
    if level not in LEVELS:
        raise ApiError(400, {"error": f"{name} does not have a valid value"})
    return level


def _refuse_premium(given: Parameters) -> None:
    """Lists of people and groups are Premium; CE would ignore them, which nobody notices in time."""
    for name in _PREMIUM:
        if name in given:
            raise ApiError.message(422, [f"not emulated: {name} (a Premium feature, CE ignores it)"])
