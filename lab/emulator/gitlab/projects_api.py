"""REST: projects (contracts B.6)."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.model import ADMIN, GUEST, MAINTAINER, OWNER, ApiError, Caller, Project
from lab.emulator.gitlab.namespaces import Namespace
from lab.emulator.gitlab.paging import iso, page
from lab.emulator.gitlab.parameters import Parameters
from lab.emulator.gitlab.project_attributes import ATTRIBUTES, DEFAULTS, UPDATE_ONLY, given_attributes
from lab.emulator.gitlab.projects import VISIBILITY
from lab.emulator.gitlab.tokens import today

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

RETENTION_DAYS = 30
"""Days between the request to delete a project and its end (instance setting ``deletion_adjourned_period``)."""
_PATH = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*")
_SIMPLE = (
    "id", "description", "name", "name_with_namespace", "path", "path_with_namespace", "created_at", "default_branch",
    "tag_list", "topics", "ssh_url_to_repo", "http_url_to_repo", "web_url", "readme_url", "forks_count", "avatar_url",
    "star_count", "last_activity_at", "visibility", "namespace",
)  # fmt: skip
_BOUNDS = (
    ("id_after", "id", True), ("id_before", "id", False),
    ("last_activity_after", "last_activity_at", True), ("last_activity_before", "last_activity_at", False),
)  # fmt: skip
_FOREIGN_FILTERS = ("starred", "topic", "topic_id", "with_programming_language", "imported", "repository_storage")
_PATH_ERROR = (
    "can contain only letters, digits, '_', '-' and '.'. Cannot start with '-', end in '.git' or end in '.atom'."
)


class ProjectsApi:
    """Create, read, change and delete projects."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        self._creating = asyncio.Lock()  # between the check of a path and its use, git makes a repository
        router, base = gitlab.app.router, "/api/v4/projects"
        router.add_get(base, self.index)
        router.add_post(base, self.create)
        router.add_get(f"{base}/{{id}}", self.show)
        router.add_put(f"{base}/{{id}}", self.update)
        router.add_delete(f"{base}/{{id}}", self.delete)
        router.add_post(f"{base}/{{id}}/restore", self.restore)
        router.add_post(f"{base}/{{id}}/archive", self.archive)
        router.add_post(f"{base}/{{id}}/unarchive", self.archive)
        router.add_get("/api/v4/users/{user}/projects", self.of_user)

    async def index(self, request: web.Request) -> web.Response:
        """``GET /projects``: what the caller sees."""
        caller = self._gitlab.access.maybe(request)
        seen = [p for p in self._gitlab.projects.all() if self._gitlab.access.sees(caller, p)]
        return self._page(request, await self._filtered(request, caller, seen), caller)

    async def of_user(self, request: web.Request) -> web.Response:
        """``GET /users/:id/projects``: those in the user's own namespace."""
        caller = self._gitlab.access.maybe(request)
        name = request.match_info["user"]
        user = self._gitlab.users.get(int(name)) if name.isdigit() else self._gitlab.users.by_login(name)
        if user is None:
            raise ApiError.not_found("User")
        space = self._gitlab.namespaces.of_user(user.id)
        seen = [
            p
            for p in self._gitlab.projects.all()
            if space and p.data["namespace_id"] == space.id and self._gitlab.access.sees(caller, p)
        ]
        return self._page(request, await self._filtered(request, caller, seen), caller)

    async def create(self, request: web.Request) -> web.Response:
        """``POST /projects``."""
        caller = self._gitlab.access.api(request)
        if caller.kind != "user":
            raise ApiError.message(403, "403 Forbidden")
        given = await Parameters.of(request)
        name, path = given.text("name"), given.text("path")
        if not name and not path:
            raise ApiError(400, {"error": "name, path are missing, at least one parameter must be provided"})
        namespace = self._namespace(caller, given.integer("namespace_id"))
        attributes = given_attributes(given, UPDATE_ONLY)
        path = path or _slug(name)
        attributes = {**DEFAULTS, **attributes, "name": name or path}
        if given.text("repository_object_format", "sha1") != "sha1":
            raise ApiError.message(400, "not emulated: repository_object_format sha256")
        async with self._creating:
            self._check_free(namespace.id, path, name or path)
            project = await self._gitlab.make_project(namespace, path, attributes, caller)
        if given.boolean("initialize_with_readme"):
            await self._gitlab.commits.first(project, caller, given.text("default_branch") or "main")
        return web.json_response(self._shown(project, caller), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /projects/:id``."""
        caller, project = self._gitlab.access.project(request, GUEST)
        shown = self._shown(project, caller)
        if request.query.get("statistics") == "true":
            shown["statistics"] = await self._statistics(project)
        return web.json_response(shown)

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /projects/:id``."""
        caller, project = self._gitlab.access.project(request, MAINTAINER)
        given = await Parameters.of(request)
        attributes = given_attributes(given)
        for name in ("name", "path", "default_branch"):
            if given.text(name):
                attributes[name] = given.text(name)
        if not attributes:
            names = ", ".join(("name", "path", "default_branch", *ATTRIBUTES))
            raise ApiError(400, {"error": f"{names} are missing, at least one parameter must be provided"})
        if "visibility" in attributes or "path" in attributes:
            self._gitlab.access.require(caller, project, OWNER)
        await self._apply(project, attributes)
        return web.json_response(self._shown(project, caller))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /projects/:id``: marks and renames; with ``permanently_remove`` ends a marked project."""
        caller, project = self._gitlab.access.project(request, OWNER)
        given = await Parameters.of(request)
        if given.boolean("permanently_remove"):
            return self._purge(project, given.text("full_path"))
        if project.data["marked_for_deletion_on"]:
            raise ApiError.message(400, "Project has been already marked for deletion")
        suffix = f"-deletion_scheduled-{project.id}"
        project.data |= {
            "marked_for_deletion_on": today().isoformat(),
            "deletion_requested_by": caller.user_id,
            "name": project.data["name"] + suffix,
        }
        self._gitlab.rename_project(project, project.data["path"] + suffix)
        return web.json_response({"message": "202 Accepted"}, status=202)

    async def restore(self, request: web.Request) -> web.Response:
        """``POST /projects/:id/restore``: takes the mark and the new name away again."""
        caller, project = self._gitlab.access.project(request, OWNER)
        if not project.data["marked_for_deletion_on"]:
            raise ApiError.message(400, "Project has not been marked for deletion")
        suffix = f"-deletion_scheduled-{project.id}"
        path, name = (str(project.data[key]).removesuffix(suffix) for key in ("path", "name"))
        self._check_free(project.data["namespace_id"], path, name, but=project)
        project.data |= {"marked_for_deletion_on": None, "name": name}
        self._gitlab.rename_project(project, path)
        return web.json_response(self._shown(project, caller), status=201)

    async def archive(self, request: web.Request) -> web.Response:
        """``POST /projects/:id/archive`` and ``unarchive``."""
        caller, project = self._gitlab.access.project(request, OWNER)
        project.data["archived"] = not request.path.endswith("/unarchive")
        self._gitlab.projects.save(project)
        return web.json_response(self._shown(project, caller), status=201)

    def _purge(self, project: Project, full_path: str) -> web.Response:
        if not project.data["marked_for_deletion_on"]:
            raise ApiError.message(400, "Project must be marked for deletion first.")
        if full_path != project.path_with_namespace:
            raise ApiError.message(400, "`full_path` is incorrect. You must enter the complete path for the project.")
        self._gitlab.tasks.spawn(self._gitlab.remove_project(project), f"purge of project {project.id}")
        return web.json_response({"message": "202 Accepted"}, status=202)

    async def _apply(self, project: Project, attributes: dict[str, Any]) -> None:
        path, name = attributes.pop("path", project.data["path"]), attributes.get("name", project.data["name"])
        self._check_free(project.data["namespace_id"], path, name, but=project)
        branch = attributes.get("default_branch")
        if branch and branch != project.default_branch:
            if await self._gitlab.repositories.resolve(project, f"refs/heads/{branch}") is None:
                raise ApiError.message(400, {"base": [f"Could not change HEAD: branch '{branch}' does not exist"]})
            await self._gitlab.repositories.git(project, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
        project.data |= {**attributes, "updated_at": iso()}
        old = project.path_with_namespace
        self._gitlab.rename_project(project, path)
        if project.path_with_namespace != old:
            self._gitlab.projects.remember_path(project, old)

    def _namespace(self, caller: Caller, namespace_id: int | None) -> Namespace:
        if namespace_id is None:
            own = self._gitlab.namespaces.of_user(caller.user_id or 0)
            if own is None:
                raise ApiError.message(400, {"namespace": ["is not valid"]})
            return own
        space = self._gitlab.namespaces.get(namespace_id)
        if space is None or self._gitlab.access.namespace_level(caller, space) < MAINTAINER:
            raise ApiError.message(400, {"namespace": ["is not valid"]})
        return space

    def _check_free(self, namespace_id: int, path: str, name: str, *, but: Project | None = None) -> None:
        """Raise ApiError 400 in the shape of a model's errors unless path and name are free (``but`` has them)."""
        if not _PATH.fullmatch(path) or path.endswith((".git", ".atom", ".")):
            raise ApiError.message(400, {"path": [_PATH_ERROR]})
        rivals = [p for p in self._gitlab.projects.all() if p.data["namespace_id"] == namespace_id and p is not but]
        if any(p.data["path"].lower() == path.lower() for p in rivals):
            raise ApiError.message(
                400,
                {
                    "project_namespace.name": ["has already been taken"],
                    "name": ["has already been taken"],
                    "path": ["has already been taken"],
                },
            )
        if any(p.data["name"].lower() == name.lower() for p in rivals):
            raise ApiError.message(400, {"name": ["has already been taken"]})

    async def _filtered(self, request: web.Request, caller: Caller | None, rows: list[Project]) -> list[Project]:
        given = await Parameters.of(request)
        _refuse_unknown_filters(given)
        search, visibility = given.text("search").lower(), given.choice("visibility", tuple(VISIBILITY))
        rows = [p for p in rows if search in p.data["path"].lower() or search in p.data["name"].lower()]
        if visibility:
            rows = [p for p in rows if p.data["visibility"] == visibility]
        if "archived" in given:
            rows = [p for p in rows if bool(p.data["archived"]) == given.boolean("archived")]
        if given.boolean("owned") or given.boolean("membership"):
            least = OWNER if given.boolean("owned") else GUEST
            rows = [p for p in rows if caller and self._membership(caller, p) >= least]
        if (least_level := given.integer("min_access_level")) is not None:
            rows = [p for p in rows if caller and self._membership(caller, p) >= least_level]
        for name, key, later in _BOUNDS:
            if name in given:
                bound: Any = (given.integer(name) or 0) if key == "id" else given.text(name)
                rows = [p for p in rows if (p.data[key] > bound if later else p.data[key] < bound)]
        if not given.boolean("include_pending_delete"):
            rows = [p for p in rows if not p.data["marked_for_deletion_on"]]
        return rows

    def _membership(self, caller: Caller, project: Project) -> int:
        """The caller's own level, without what an administrator may do everywhere."""
        level = self._gitlab.access.level(caller, project)
        if level < ADMIN:
            return level
        space = self._gitlab.namespaces.get(project.data["namespace_id"])
        if space and space.kind == "user" and space.owner_id == caller.user_id:
            return OWNER
        return self._gitlab.members.level("project", project.id, caller.user_id or 0)

    def _page(self, request: web.Request, rows: list[Project], caller: Caller | None) -> web.Response:
        order = request.query.get("order_by", "created_at")
        if order not in {"id", "name", "path", "created_at", "updated_at", "last_activity_at"}:
            raise ApiError(400, {"error": "order_by does not have a valid value"})
        if request.query.get("sort", "desc") not in {"asc", "desc"}:
            raise ApiError(400, {"error": "sort does not have a valid value"})
        descending = request.query.get("sort", "desc") != "asc"
        if request.query.get("simple") == "true":
            return page(request, sorted(rows, key=lambda p: (p.data[order], p.id), reverse=descending), _simple)
        rows = sorted(rows, key=lambda p: (p.data[order], p.id), reverse=descending)
        return page(request, rows, lambda project: self._shown(project, caller))

    def _shown(self, project: Project, caller: Caller | None) -> dict[str, Any]:
        """The API form for this caller."""
        shown = {k: v for k, v in project.data.items() if k not in {"namespace_id", "deletion_requested_by"}}
        if shown["marked_for_deletion_on"]:
            shown["permanent_deletion_date"] = (today() + timedelta(days=RETENTION_DAYS)).isoformat()
        owner = self._gitlab.users.get(project.data["namespace"].get("owner_id") or project.data["creator_id"])
        if owner and project.data["namespace"]["kind"] == "user":
            shown["owner"] = {"id": owner.id, "name": owner.name, "username": owner.username}
        shown["visibility_level"] = VISIBILITY[shown["visibility"]]
        level = self._membership(caller, project) if caller else 0
        mine = {"access_level": level, "notification_level": 3} if level else None
        shown["permissions"] = {"project_access": mine, "group_access": None}
        return shown

    async def _statistics(self, project: Project) -> dict[str, int]:
        repositories = self._gitlab.repositories
        count = 0
        if project.default_branch:
            head = f"refs/heads/{project.default_branch}"
            count = int(await repositories.git(project, "rev-list", "--count", head))
        lines = (await repositories.git(project, "count-objects", "-v")).decode().splitlines()
        sizes = dict(line.split(": ") for line in lines)
        size = (int(sizes["size"]) + int(sizes["size-pack"])) * 1024
        return {"commit_count": count, "repository_size": size, "storage_size": size}


def _simple(project: Project) -> dict[str, Any]:
    """What ``simple=true`` leaves."""
    return {name: project.data[name] for name in _SIMPLE if name in project.data}


def _refuse_unknown_filters(given: Parameters) -> None:
    """Raise ApiError 400 for a filter that would silently let everything pass."""
    if foreign := [name for name in _FOREIGN_FILTERS if given.text(name) not in {"", "false"}]:
        raise ApiError.message(400, f"not emulated: filter {', '.join(foreign)}")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-.")
