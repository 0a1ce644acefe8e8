"""REST: branches (contracts B.7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.commits import FORMAT, parse
from lab.emulator.gitlab.model import DEVELOPER, REPORTER, ZERO_SHA, ApiError, Caller, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters
from lab.emulator.gitlab.push_policy import Command
from lab.emulator.gitlab.ref_names import valid

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_HEADS = "refs/heads/"


class BranchesApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router, base = gitlab.app.router, "/api/v4/projects/{id}/repository"
        router.add_get(f"{base}/branches", self.index)
        router.add_post(f"{base}/branches", self.create)
        router.add_head(f"{base}/branches/{{branch}}", self.exists)
        router.add_get(f"{base}/branches/{{branch}}", self.show, allow_head=False)
        router.add_delete(f"{base}/branches/{{branch}}", self.delete)
        router.add_delete(f"{base}/merged_branches", self.delete_merged)

    async def index(self, request: web.Request) -> web.Response:
        """``GET .../branches``; ``search`` may be anchored with ``^`` and ``$``."""
        caller, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        refs = await self._gitlab.repositories.refs(project, "refs/heads")
        names = [ref[len(_HEADS) :] for ref in refs]
        names = [name for name in names if _found(name, request.query)]
        commits = await self._commits(project, sorted(set(refs.values())))
        rows = [(name, commits[refs[_HEADS + name]]) for name in names]
        sort = request.query.get("sort", "name_asc")
        if sort.startswith("updated"):
            rows.sort(key=lambda row: row[1]["committed_date"], reverse=sort == "updated_desc")
        return page(request, rows, lambda row: self._shown(project, caller, *row))

    async def show(self, request: web.Request) -> web.Response:
        """``GET .../branches/:branch``."""
        caller, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        name = request.match_info["branch"]
        return web.json_response(self._shown(project, caller, name, await self._head(project, name)))

    async def exists(self, request: web.Request) -> web.Response:
        """``HEAD .../branches/:branch``."""
        _, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        sha = await self._gitlab.repositories.resolve(project, _HEADS + request.match_info["branch"])
        return web.Response(status=204 if sha else 404)

    async def create(self, request: web.Request) -> web.Response:
        """``POST .../branches``; in an empty repository GitLab first makes the default branch (contracts B.6)."""
        caller, project = self._gitlab.access.project(request, DEVELOPER)
        given = await Parameters.of(request)
        given.require("branch", "ref")
        name, rev = given.text("branch"), given.text("ref")
        if project.default_branch is None:
            await self._gitlab.commits.first(project, caller, "main")
        async with self._gitlab.repositories.writing(project):
            sha = await self._checked(project, name, rev)
            await self._gitlab.pushes.update(project, caller, Command(ZERO_SHA, sha, _HEADS + name))
        return web.json_response(self._shown(project, caller, name, await self._head(project, name)), status=201)

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE .../branches/:branch``."""
        caller, project = self._gitlab.access.project(request, DEVELOPER)
        name = request.match_info["branch"]
        async with self._gitlab.repositories.writing(project):
            sha = await self._gitlab.repositories.ref(project, _HEADS + name)
            if sha == ZERO_SHA:
                raise ApiError.not_found("Branch")
            await self._gitlab.pushes.update(project, caller, Command(sha, ZERO_SHA, _HEADS + name))
        return web.Response(status=204)

    async def delete_merged(self, request: web.Request) -> web.Response:
        """``DELETE .../merged_branches``: all that the default branch contains, except protected ones."""
        caller, project = self._gitlab.access.project(request, DEVELOPER)
        default = project.default_branch
        if default:
            async with self._gitlab.repositories.writing(project):
                for ref, sha in (await self._gitlab.repositories.refs(project, "refs/heads")).items():
                    name = ref[len(_HEADS) :]
                    kept = name == default or self._gitlab.protected_branches.protects(project.id, name)
                    if not kept and await self._gitlab.repositories.is_ancestor(project, sha, _HEADS + default):
                        await self._gitlab.pushes.update(project, caller, Command(sha, ZERO_SHA, ref))
        return web.json_response({"message": "202 Accepted"}, status=202)

    async def _checked(self, project: Project, name: str, rev: str) -> str:
        """The commit that a new branch starts from; raises ApiError 400 in GitLab's order of checks."""
        if not valid(name):
            raise ApiError.message(400, "Branch name is invalid")
        heads = await self._gitlab.repositories.refs(project, "refs/heads")
        if _HEADS + name in heads:
            raise ApiError.message(400, "Branch already exists")
        if any(f"{ref}/".startswith(f"{_HEADS}{name}/") or f"{_HEADS}{name}/".startswith(f"{ref}/") for ref in heads):
            text = f"Failed to create branch '{name}': Branch name conflicts with existing branch hierarchy."
            raise ApiError.message(400, text)
        sha = await self._gitlab.repositories.resolve(project, rev)
        if sha is None:
            raise ApiError.message(400, f"Failed to create branch '{name}': invalid reference name '{rev}'")
        return sha

    async def _head(self, project: Project, name: str) -> dict[str, Any]:
        commit = await self._gitlab.repositories.commit(project, _HEADS + name)
        if commit is None:
            raise ApiError.not_found("Branch")
        return commit

    async def _commits(self, project: Project, shas: list[str]) -> dict[str, dict[str, Any]]:
        """API commits by id, read in one go."""
        if not shas:
            return {}
        arguments = ("log", "-z", "--date=raw", f"--format={FORMAT}", "--no-walk=unsorted", "--stdin")
        out = await self._gitlab.repositories.git(project, *arguments, input="\n".join(shas).encode())
        web_url = str(project.data["web_url"])
        return {commit.id: commit.shown(web_url) for commit in parse(out)}

    def _shown(self, project: Project, caller: Caller, name: str, commit: dict[str, Any]) -> dict[str, Any]:
        rules = self._gitlab.protected_branches.matching(project.id, name)
        return {
            "name": name,
            "commit": commit,
            "merged": False,
            "protected": bool(rules),
            "developers_can_push": any(rule.push_access_level == DEVELOPER for rule in rules),
            "developers_can_merge": any(rule.merge_access_level == DEVELOPER for rule in rules),
            "can_push": self._gitlab.pushes.policy.may_push_to(caller, project, name),
            "default": name == project.default_branch,
            "web_url": f"{project.data['web_url']}/-/tree/{name}",
        }


def _found(name: str, query: Any) -> bool:
    search, expression = query.get("search", ""), query.get("regex")
    if expression:
        try:
            return re.search(expression, name) is not None
        except re.error:
            raise ApiError(400, {"error": "regex is invalid"}) from None
    text = search.strip("^$").lower()
    if search.startswith("^"):
        return name.lower().startswith(text)
    return name.lower().endswith(text) if search.endswith("$") else text in name.lower()
