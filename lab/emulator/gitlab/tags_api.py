"""REST: tags."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import DEVELOPER, REPORTER, ZERO_SHA, ApiError, Caller, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters
from lab.emulator.gitlab.push_policy import Command
from lab.emulator.gitlab.ref_names import valid

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_TAGS = "refs/tags/"


class TagsApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router, base = gitlab.app.router, "/api/v4/projects/{id}/repository/tags"
        router.add_get(base, self.index)
        router.add_post(base, self.create)
        router.add_get(f"{base}/{{tag}}", self.show)
        router.add_delete(f"{base}/{{tag}}", self.delete)

    async def index(self, request: web.Request) -> web.Response:
        """``GET .../tags``: latest first unless ordered by name or version."""
        _, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        order, sort = request.query.get("order_by", "updated"), request.query.get("sort", "desc")
        keys = {"updated": "creatordate", "name": "refname", "version": "version:refname"}
        if order not in keys:
            raise ApiError(400, {"error": "order_by does not have a valid value"})
        key = ("-" if sort == "desc" else "") + keys[order]
        arguments = ("for-each-ref", f"--sort={key}", "--format=%(refname:lstrip=2)", "refs/tags")
        names = (await self._gitlab.repositories.git(project, *arguments)).decode().splitlines()
        search = request.query.get("search", "")
        names = [name for name in names if search.strip("^$").lower() in name.lower()]
        rows = [await self._shown(project, name) for name in names]
        return page(request, rows)

    async def show(self, request: web.Request) -> web.Response:
        """``GET .../tags/:tag_name``."""
        _, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        return web.json_response(await self._shown(project, request.match_info["tag"]))

    async def create(self, request: web.Request) -> web.Response:
        """``POST .../tags``: annotated when a message is given."""
        caller, project = self._gitlab.access.project(request, DEVELOPER)
        given = await Parameters.of(request)
        given.require("tag_name", "ref")
        name, rev = given.text("tag_name"), given.text("ref")
        if not valid(name):
            raise ApiError.message(400, "Tag name invalid")
        async with self._gitlab.repositories.writing(project):
            if await self._gitlab.repositories.ref(project, _TAGS + name) != ZERO_SHA:
                raise ApiError.message(400, f"Tag {name} already exists")
            sha = await self._gitlab.repositories.resolve(project, rev)
            if sha is None:
                raise ApiError.message(400, f"Target {rev} is invalid")
            if message := given.text("message"):
                sha = await self._annotated(project, caller, name, sha, message)
            await self._gitlab.pushes.update(project, caller, Command(ZERO_SHA, sha, _TAGS + name))
        return web.json_response(await self._shown(project, name), status=201)

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE .../tags/:tag_name``."""
        caller, project = self._gitlab.access.project(request, DEVELOPER)
        ref = _TAGS + request.match_info["tag"]
        async with self._gitlab.repositories.writing(project):
            sha = await self._gitlab.repositories.ref(project, ref)
            if sha == ZERO_SHA:
                raise ApiError.not_found("Tag")
            await self._gitlab.pushes.update(project, caller, Command(sha, ZERO_SHA, ref))
        return web.Response(status=204)

    async def _annotated(self, project: Project, caller: Caller, name: str, sha: str, message: str) -> str:
        """The id of a new tag object."""
        user = self._gitlab.users.get(caller.user_id)
        who = f"{user.name} <{user.email}>" if user else f"{caller.username} <>"
        text = f"object {sha}\ntype commit\ntag {name}\ntagger {who} {int(time.time())} +0000\n\n{message.rstrip()}\n"
        try:
            return (await self._gitlab.repositories.git(project, "mktag", input=text.encode())).decode().strip()
        except GitError as error:
            raise ApiError.message(400, f"Tag message is invalid: {error.stderr.strip()[:200]}") from error

    async def _shown(self, project: Project, name: str) -> dict[str, Any]:
        repositories = self._gitlab.repositories
        target = await repositories.ref(project, _TAGS + name) if valid(name) else ZERO_SHA
        commit = await repositories.commit(project, _TAGS + name) if target != ZERO_SHA else None
        if commit is None:
            raise ApiError.not_found("Tag")
        annotated = target != commit["id"]
        message = await repositories.git(project, "tag", "-l", "--format=%(contents)", name) if annotated else b""
        return {
            "name": name,
            "message": message.decode(errors="replace").strip(),
            "target": target,
            "commit": commit,
            "release": None,
            "protected": False,
            "created_at": commit["created_at"] if annotated else None,
        }
