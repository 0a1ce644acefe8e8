"""REST: commits (contracts B.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.commit_replay import CHERRY_PICK, REVERT, CommitReplay
from lab.emulator.gitlab.commit_writer import Change
from lab.emulator.gitlab.diffs import diffs, stats
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import DEVELOPER, REPORTER, ApiError, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

MOST_LISTED = 10_000
"""Commits that a list reaches back to."""


class CommitsApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        self._replay = CommitReplay(gitlab)
        router, base = gitlab.app.router, "/api/v4/projects/{id}/repository/commits"
        router.add_get(base, self.index)
        router.add_post(base, self.create)
        router.add_get(f"{base}/{{sha}}", self.show)
        router.add_get(f"{base}/{{sha}}/diff", self.diff)
        router.add_get(f"{base}/{{sha}}/refs", self.refs)
        router.add_get(f"{base}/{{sha}}/merge_requests", self.nothing)
        router.add_get(f"{base}/{{sha}}/comments", self.nothing)
        router.add_get(f"{base}/{{sha}}/signature", self.signature)
        for verb in (CHERRY_PICK, REVERT):
            router.add_post(f"{base}/{{sha}}/{verb.replace('-', '_')}", self._replayer(verb))

    async def index(self, request: web.Request) -> web.Response:
        """``GET .../commits``: newest first, without totals."""
        _, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        given = await Parameters.of(request)
        revisions = ["--all"] if given.boolean("all") else await self._revisions(project, given.text("ref_name"))
        if not revisions:
            return page(request, [], count=False)
        options = [f"--{name}={given.text(name)}" for name in ("since", "until", "author") if given.text(name)]
        options += ["--first-parent"] if given.boolean("first_parent") else []
        options += ["--topo-order"] if given.text("order") == "topo" else []
        path = given.text("path").strip("/")
        tail = ["--", f":(literal){path}"] if path else ["--"]
        ids = await self._ids(project, [*options, f"-{MOST_LISTED}", *revisions, *tail])
        wanted = page(request, ids, count=False)
        rows = await self._listed(project, ids, request, with_stats=given.boolean("with_stats"))
        return web.json_response(rows, headers={k: v for k, v in wanted.headers.items() if k in _PAGE_HEADERS})

    async def create(self, request: web.Request) -> web.Response:
        """``POST .../commits``: actions in, one commit out."""
        caller, project = self._gitlab.access.project(request, DEVELOPER)
        given = await Parameters.of(request)
        given.require("branch", "commit_message")
        actions = given.get("actions") or []
        if not isinstance(actions, list) or not all(isinstance(action, dict) for action in actions):
            raise ApiError(400, {"error": "actions is invalid"})
        if given.text("start_branch") and given.text("start_sha"):
            raise ApiError(400, {"error": "start_branch, start_sha are mutually exclusive"})
        if given.text("start_project") not in {"", str(project.id), project.path_with_namespace}:
            raise ApiError.message(400, "not emulated: start_project of another project")
        change = Change(
            branch=given.text("branch"),
            message=given.text("commit_message"),
            actions=actions,
            start_branch=given.text("start_branch"),
            start_sha=given.text("start_sha"),
            force=given.boolean("force"),
            author_name=given.text("author_name"),
            author_email=given.text("author_email"),
            allow_empty=given.boolean("allow_empty"),
        )
        sha = await self._gitlab.commits.create(project, caller, change)
        return web.json_response(await self._detail(project, sha, with_stats=given.boolean("stats", True)), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """``GET .../commits/:sha``; a branch or tag name does as well."""
        _, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        sha = await self._sha(request, project)
        given = await Parameters.of(request)
        return web.json_response(await self._detail(project, sha, with_stats=given.boolean("stats", True)))

    async def diff(self, request: web.Request) -> web.Response:
        """``GET .../commits/:sha/diff`` against the first parent."""
        _, project = self._gitlab.access.project(request, REPORTER)
        sha = await self._sha(request, project)
        commit = (await self._gitlab.repositories.log(project, "-1", sha))[0]
        before = commit.parents[0] if commit.parents else None
        return page(request, await diffs(self._gitlab.repositories, project, before, sha))

    async def refs(self, request: web.Request) -> web.Response:
        """``GET .../commits/:sha/refs``: branches and tags that contain the commit."""
        _, project = self._gitlab.access.project(request, REPORTER)
        sha, kind = await self._sha(request, project), request.query.get("type", "all")
        rows = []
        for name, prefix in (("branch", "refs/heads"), ("tag", "refs/tags")):
            if kind in {"all", name}:
                arguments = ("for-each-ref", f"--contains={sha}", "--format=%(refname:lstrip=2)", prefix)
                out = await self._gitlab.repositories.git(project, *arguments)
                rows += [{"type": name, "name": line} for line in out.decode().splitlines()]
        return page(request, rows)

    async def nothing(self, request: web.Request) -> web.Response:
        """Comments and merge requests of a commit: there are none, since neither can be made here."""
        _, project = self._gitlab.access.project(request, REPORTER)
        await self._sha(request, project)
        return page(request, [])

    async def signature(self, request: web.Request) -> web.Response:
        """``GET .../commits/:sha/signature``; a signature is not looked at, its presence is."""
        _, project = self._gitlab.access.project(request, REPORTER)
        sha = await self._sha(request, project)
        raw = await self._gitlab.repositories.git(project, "cat-file", "commit", sha)
        if b"\ngpgsig" in raw.partition(b"\n\n")[0]:
            raise ApiError.message(501, "501 Not Implemented - not emulated: signatures of commits")
        raise ApiError.not_found("Signature")

    def _replayer(self, verb: str) -> Any:
        async def replay(request: web.Request) -> web.Response:
            """``POST .../commits/:sha/cherry_pick`` and ``revert``."""
            caller, project = self._gitlab.access.project(request, DEVELOPER)
            given = await Parameters.of(request)
            given.require("branch")
            commit = (await self._gitlab.repositories.log(project, "-1", await self._sha(request, project)))[0]
            dry, message = given.boolean("dry_run"), given.text("message") if verb == CHERRY_PICK else ""
            sha = await self._replay.replay(
                project, caller, given.text("branch"), commit, verb, message=message, dry_run=dry
            )
            if dry:
                return web.json_response({"dry_run": "success"})
            return web.json_response(await self._detail(project, sha, with_stats=False), status=201)

        return replay

    async def _revisions(self, project: Project, name: str) -> list[str]:
        """What ``ref_name`` stands for: a branch, tag, id or range; empty for an empty repository."""
        name = name or project.default_branch or ""
        for dots in ("...", ".."):
            left, found, right = name.partition(dots)
            if found:
                ends = [await self._gitlab.repositories.resolve(project, end) for end in (left, right)]
                if None in ends:
                    raise ApiError.not_found("Commit")
                return [f"{ends[0]}{dots}{ends[1]}"]
        if not name:
            return []
        sha = await self._gitlab.repositories.resolve(project, name)
        if sha is None:
            raise ApiError.not_found("Commit")
        return [sha]

    async def _ids(self, project: Project, arguments: list[str]) -> list[str]:
        try:
            return (await self._gitlab.repositories.git(project, "rev-list", *arguments)).decode().split()
        except GitError as error:
            raise ApiError.message(400, "400 Bad request - since, until or author is not valid") from error

    async def _listed(
        self, project: Project, ids: list[str], request: web.Request, *, with_stats: bool
    ) -> list[dict[str, Any]]:
        number, size = int(request.query.get("page") or 1), min(int(request.query.get("per_page") or 20), 100)
        shown = ids[(number - 1) * size : number * size]
        if not shown:
            return []
        rows = await self._gitlab.repositories.commits(project, "--no-walk=unsorted", *shown)
        if with_stats:
            for row in rows:
                row["stats"] = await stats(self._gitlab.repositories, project, row)
        return rows

    async def _sha(self, request: web.Request, project: Project) -> str:
        sha = await self._gitlab.repositories.resolve(project, request.match_info["sha"])
        if sha is None:
            raise ApiError.not_found("Commit")
        return sha

    async def _detail(self, project: Project, sha: str, *, with_stats: bool) -> dict[str, Any]:
        commit = (await self._gitlab.repositories.commits(project, "--no-walk=unsorted", sha))[0]
        if with_stats:
            commit["stats"] = await stats(self._gitlab.repositories, project, commit)
        pipeline = self._gitlab.last_pipeline(project, sha)
        commit |= {
            "status": pipeline["status"] if pipeline else None,
            "project_id": project.id,
            "last_pipeline": pipeline,
        }
        return commit


_PAGE_HEADERS = {"x-page", "x-per-page", "x-next-page", "x-prev-page", "link"}
