"""REST: groups and namespaces."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.model import GUEST, OWNER, ApiError, Caller
from lab.emulator.gitlab.namespaces import Namespace
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_PATH = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*")
_FOREIGN = (
    "avatar", "default_branch_protection", "default_branch_protection_defaults", "emails_enabled", "lfs_enabled",
    "mentions_disabled", "prevent_sharing_groups_outside_hierarchy", "share_with_group_lock",
    "shared_runners_setting", "require_two_factor_authentication", "two_factor_grace_period", "membership_lock",
)  # fmt: skip
_VISIBILITY = ("private", "internal", "public")


class GroupsApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router = gitlab.app.router
        router.add_get("/api/v4/namespaces", self.namespaces)
        router.add_get("/api/v4/namespaces/{group}", self.namespace)
        router.add_get("/api/v4/namespaces/{group}/exists", self.exists)
        router.add_get("/api/v4/groups", self.index)
        router.add_post("/api/v4/groups", self.create)
        router.add_get("/api/v4/groups/{group}", self.show)
        router.add_put("/api/v4/groups/{group}", self.update)
        router.add_delete("/api/v4/groups/{group}", self.delete)
        router.add_get("/api/v4/groups/{group}/projects", self.projects)
        router.add_get("/api/v4/groups/{group}/subgroups", self.subgroups)
        router.add_get("/api/v4/groups/{group}/descendant_groups", self.descendants)

    async def namespaces(self, request: web.Request) -> web.Response:
        """``GET /namespaces``: the caller's own and groups; administrators see all."""
        caller = self._gitlab.access.api(request)
        search = request.query.get("search", "").lower()
        rows = [s for s in self._gitlab.namespaces.all() if self._level(caller, s) and search in s.full_path.lower()]
        return page(request, rows, lambda space: space.brief(self._gitlab.config.gitlab_url))

    async def namespace(self, request: web.Request) -> web.Response:
        """``GET /namespaces/:id``."""
        caller = self._gitlab.access.api(request)
        space = self._gitlab.namespaces.find(request.match_info["group"])
        if space is None or not self._level(caller, space):
            raise ApiError.not_found("Namespace")
        return web.json_response(space.brief(self._gitlab.config.gitlab_url))

    async def exists(self, request: web.Request) -> web.Response:
        """``GET /namespaces/:path/exists``: whether a path is taken, and what is free instead."""
        self._gitlab.access.api(request)
        given = await Parameters.of(request)
        path, parent = request.match_info["group"], self._gitlab.namespaces.get(given.integer("parent_id") or 0)
        prefix = f"{parent.full_path}/" if parent else ""
        candidates = (path, *(f"{path}{number}" for number in range(1, 1000)))
        free = next((name for name in candidates if not self._gitlab.namespaces.by_path(prefix + name)), "")
        return web.json_response({"exists": free != path, "suggests": [free] if free != path else []})

    async def index(self, request: web.Request) -> web.Response:
        """``GET /groups``."""
        caller = self._gitlab.access.maybe(request)
        given = await Parameters.of(request)
        search, skipped = given.text("search").lower(), given.strings("skip_groups") or []
        visibility, top = given.choice("visibility", _VISIBILITY), given.boolean("top_level_only")
        least = OWNER if given.boolean("owned") else given.integer("min_access_level") or 0
        rows = [
            group
            for group in self._gitlab.namespaces.all()
            if group.kind == "group"
            and self._sees(caller, group)
            and search in group.full_path.lower()
            and str(group.id) not in skipped
            and visibility in {"", group.visibility}
            and not (top and group.parent_id)
            and (not least or (caller is not None and self._own_level(caller, group) >= least))
        ]
        return page(request, rows, self._shown)

    async def create(self, request: web.Request) -> web.Response:
        """``POST /groups``."""
        caller = self._gitlab.access.api(request)
        if caller.kind != "user":
            raise ApiError.message(403, "403 Forbidden")
        given = await Parameters.of(request)
        given.require("name", "path")
        _refuse_foreign(given)
        parent = self._parent(caller, given.integer("parent_id"))
        path = given.text("path")
        if not _PATH.fullmatch(path):
            raise ApiError.message(400, "Failed to save group {:path=>[\"can contain only letters, digits, '_', '-' "
                                   "and '.'. Cannot start with '-'.\"]}")  # fmt: skip
        full = f"{parent.full_path}/{path}" if parent else path
        if self._gitlab.namespaces.by_path(full):
            raise ApiError.message(400, 'Failed to save group {:path=>["has already been taken"]}')
        with self._gitlab.database.transaction():
            group = self._gitlab.namespaces.create(
                "group", path, given.text("name"), parent=parent, description=given.text("description"),
                visibility=given.choice("visibility", _VISIBILITY, "private"),
            )  # fmt: skip
            self._gitlab.members.put("group", group.id, caller.user_id or 0, OWNER)
        return web.json_response(self._shown(group), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /groups/:id``."""
        group = self._group(request, self._gitlab.access.maybe(request))
        return web.json_response(self._shown(group))

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /groups/:id``: name, description, visibility."""
        caller = self._gitlab.access.api(request)
        group, given = self._group(request, caller, OWNER), await Parameters.of(request)
        _refuse_foreign(given)
        if given.text("path", group.path) != group.path:
            raise ApiError.message(400, "not emulated: change of a group's path")
        group.name = given.text("name", group.name)
        group.description = given.text("description", group.description)
        group.visibility = given.choice("visibility", _VISIBILITY, group.visibility)
        self._gitlab.namespaces.save(group)
        return web.json_response(self._shown(group))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /groups/:id``: only an empty group; deletion of what is in it is not emulated."""
        caller = self._gitlab.access.api(request)
        group = self._group(request, caller, OWNER)
        if any(p.data["namespace_id"] == group.id for p in self._gitlab.projects.all()) or any(
            space.parent_id == group.id for space in self._gitlab.namespaces.all()
        ):
            raise ApiError.message(409, "not emulated: deletion of a group that is not empty")
        with self._gitlab.database.transaction():
            self._gitlab.members.forget("group", group.id)
            self._gitlab.namespaces.remove(group)
        return web.json_response({"message": "202 Accepted"}, status=202)

    async def projects(self, request: web.Request) -> web.Response:
        """``GET /groups/:id/projects``."""
        caller = self._gitlab.access.maybe(request)
        group = self._group(request, caller)
        rows = [p for p in self._gitlab.projects.all() if p.data["namespace_id"] == group.id]
        shown = [p.data for p in rows if self._gitlab.access.sees(caller, p) and not p.data["marked_for_deletion_on"]]
        return page(request, [{k: v for k, v in data.items() if k != "namespace_id"} for data in shown])

    async def subgroups(self, request: web.Request) -> web.Response:
        """``GET /groups/:id/subgroups``: the groups right below."""
        return self._below(request, lambda outer, group: outer.parent_id == group.id)

    async def descendants(self, request: web.Request) -> web.Response:
        """``GET /groups/:id/descendant_groups``: all groups below."""
        return self._below(request, lambda outer, group: outer.full_path.startswith(f"{group.full_path}/"))

    def _below(self, request: web.Request, belongs: Callable[[Namespace, Namespace], bool]) -> web.Response:
        caller = self._gitlab.access.maybe(request)
        group, search = self._group(request, caller), request.query.get("search", "").lower()
        groups = [space for space in self._gitlab.namespaces.all() if space.kind == "group" and belongs(space, group)]
        rows = [space for space in groups if self._sees(caller, space) and search in space.full_path.lower()]
        return page(request, rows, self._shown)

    def _group(self, request: web.Request, caller: Caller | None, level: int = 0) -> Namespace:
        group = self._gitlab.namespaces.find(request.match_info["group"])
        if group is None or group.kind != "group" or not self._sees(caller, group):
            raise ApiError.not_found("Group")
        if level and (caller is None or self._level(caller, group) < level):
            raise ApiError.message(403, "403 Forbidden")
        return group

    def _parent(self, caller: Caller, parent_id: int | None) -> Namespace | None:
        if parent_id is None:
            return None
        parent = self._gitlab.namespaces.get(parent_id)
        if parent is None or parent.kind != "group" or self._level(caller, parent) < OWNER:
            raise ApiError.not_found("Group")
        return parent

    def _own_level(self, caller: Caller, group: Namespace) -> int:
        """The caller's level by membership, without what an administrator may do everywhere."""
        chain = self._gitlab.namespaces.chain(group.id)
        return max(self._gitlab.members.level("group", outer.id, caller.user_id or 0) for outer in chain)

    def _level(self, caller: Caller, space: Namespace) -> int:
        return self._gitlab.access.namespace_level(caller, space)

    def _sees(self, caller: Caller | None, space: Namespace) -> bool:
        if space.visibility == "public":
            return True
        if caller is None:
            return False
        return space.visibility == "internal" or self._level(caller, space) >= GUEST

    def _shown(self, group: Namespace) -> dict[str, Any]:
        names = [space.name for space in reversed(self._gitlab.namespaces.chain(group.id))]
        return {
            **group.brief(self._gitlab.config.gitlab_url),
            "full_name": " / ".join(names),
            "description": group.description,
            "visibility": group.visibility,
            "created_at": group.created_at,
            "project_creation_level": "developer",
            "subgroup_creation_level": "maintainer",
            "request_access_enabled": True,
            "shared_with_groups": [],
        }


def _refuse_foreign(given: Parameters) -> None:
    """Raise ApiError 400 for attributes that would change something, but not here."""
    if foreign := [name for name in _FOREIGN if given.get(name) not in (None, "", False)]:
        raise ApiError.message(400, f"not emulated: {', '.join(foreign)}")
