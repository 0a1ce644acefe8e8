"""REST: members of projects and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.members import Member
from lab.emulator.gitlab.model import GUEST, MAINTAINER, OWNER, ApiError, Caller, Project
from lab.emulator.gitlab.namespaces import Namespace
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

LEVELS = (5, 10, 15, 20, 25, 30, 40, 50)


class MembersApi:
    """The routes, the same for projects and groups."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router = gitlab.app.router
        for base in ("/api/v4/projects/{id}/members", "/api/v4/groups/{group}/members"):
            router.add_get(base, self.index)
            router.add_post(base, self.create)
            router.add_get(f"{base}/all", self.inherited)
            router.add_get(f"{base}/all/{{user}}", self.show_inherited)
            router.add_get(f"{base}/{{user}}", self.show)
            router.add_put(f"{base}/{{user}}", self.update)
            router.add_delete(f"{base}/{{user}}", self.delete)

    async def index(self, request: web.Request) -> web.Response:
        """``GET .../members``: direct ones."""
        _, source, source_id = self._source(request, GUEST)
        return page(request, self._searched(request, self._gitlab.members.of(source, source_id)), self._shown)

    async def inherited(self, request: web.Request) -> web.Response:
        """``GET .../members/all``: with those of the groups above."""
        return page(request, self._searched(request, self._all(request)), self._shown)

    async def show_inherited(self, request: web.Request) -> web.Response:
        """``GET .../members/all/:user_id``."""
        for member in self._all(request):
            if str(member.user_id) == request.match_info["user"]:
                return web.json_response(self._shown(member))
        raise ApiError.message(404, "404 Not found")

    async def show(self, request: web.Request) -> web.Response:
        """``GET .../members/:user_id``."""
        return web.json_response(self._shown(self._member(request, GUEST)))

    async def create(self, request: web.Request) -> web.Response:
        """``POST .../members``: several users may be given, separated by commas."""
        caller, source, source_id = self._source(request, MAINTAINER)
        given = await Parameters.of(request)
        given.require("access_level")
        level = self._level(caller, given, source, source_id)
        names = given.strings("user_id") or given.strings("username")
        if not names:
            raise ApiError(400, {"error": "user_id, username are missing, at least one parameter must be provided"})
        members = []
        for name in names:
            user = self._gitlab.users.get(int(name)) if name.isdigit() else self._gitlab.users.by_login(name)
            if user is None:
                raise ApiError.not_found("User")
            if self._gitlab.members.get(source, source_id, user.id):
                raise ApiError.message(409, "Member already exists")
            members.append(self._gitlab.members.put(source, source_id, user.id, level, given.day("expires_at")))
        body = self._shown(members[0]) if len(members) == 1 else {"status": "success"}
        return web.json_response(body, status=201)

    async def update(self, request: web.Request) -> web.Response:
        """``PUT .../members/:user_id``."""
        member, given = self._member(request, MAINTAINER), await Parameters.of(request)
        caller, source, source_id = self._source(request, MAINTAINER)
        given.require("access_level")
        level = self._level(caller, given, source, source_id)
        expires = given.day("expires_at") if "expires_at" in given else member.expires_at
        return web.json_response(
            self._shown(self._gitlab.members.put(source, source_id, member.user_id, level, expires))
        )

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE .../members/:user_id``."""
        member = self._member(request, MAINTAINER)
        self._gitlab.members.remove(member.source, member.source_id, member.user_id)
        return web.Response(status=204)

    def _source(self, request: web.Request, level: int) -> tuple[Caller, str, int]:
        if "id" in request.match_info:
            caller, project = self._gitlab.access.project(request, level)
            return caller, "project", project.id
        caller = self._gitlab.access.api(request)
        group = self._gitlab.namespaces.find(request.match_info["group"])
        mine = self._gitlab.access.namespace_level(caller, group) if group else 0
        if group is None or group.kind != "group" or not mine:
            raise ApiError.not_found("Group")
        if level > GUEST and mine < OWNER:
            raise ApiError.message(403, "403 Forbidden")
        return caller, "group", group.id

    def _all(self, request: web.Request) -> list[Member]:
        _, source, source_id = self._source(request, GUEST)
        found = {member.user_id: member for member in self._gitlab.members.of(source, source_id)}
        for space in self._chain(source, source_id):
            for member in self._gitlab.members.of("group", space.id):
                known = found.get(member.user_id)
                if known is None or member.access_level > known.access_level:
                    found[member.user_id] = member
        return [found[key] for key in sorted(found)]

    def _chain(self, source: str, source_id: int) -> list[Namespace]:
        if source == "group":
            return self._gitlab.namespaces.chain(source_id)
        project: Project | None = self._gitlab.projects.get(source_id)
        return self._gitlab.namespaces.chain(project.data["namespace_id"]) if project else []

    def _member(self, request: web.Request, level: int) -> Member:
        _, source, source_id = self._source(request, level)
        user = request.match_info["user"]
        member = self._gitlab.members.get(source, source_id, int(user)) if user.isdigit() else None
        if member is None:
            raise ApiError.message(404, "404 Not found")
        return member

    def _level(self, caller: Caller, given: Parameters, source: str, source_id: int) -> int:
        level = given.integer("access_level")
        if level not in LEVELS:
            raise ApiError(400, {"error": "access_level does not have a valid value"})
        project = self._gitlab.projects.get(source_id) if source == "project" else None
        if project and level > self._gitlab.access.level(caller, project):
            raise ApiError.message(403, "403 Forbidden")
        return int(level)

    def _searched(self, request: web.Request, members: list[Member]) -> list[Member]:
        query = request.query.get("query", "").lower()
        users = ((member, self._gitlab.users.get(member.user_id)) for member in members)
        return [m for m, user in users if user and query in f"{user.username} {user.name}".lower()]

    def _shown(self, member: Member) -> dict[str, Any]:
        user = self._gitlab.users.get(member.user_id)
        if user is None:
            raise ApiError.not_found("User")
        return {
            **user.brief(self._gitlab.config.gitlab_url),
            "access_level": member.access_level,
            "created_at": member.created_at,
            "expires_at": member.expires_at,
            "membership_state": "active",
        }
