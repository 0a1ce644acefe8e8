"""REST: tree, blobs, archive, comparison, merge base and contributors of a repository."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.diffs import diffs
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import REPORTER, ApiError, Project
from lab.emulator.gitlab.paging import link, page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_FORMATS = {".tar.gz": ("tar.gz", "application/gzip"), ".tgz": ("tar.gz", "application/gzip"),
            ".tar": ("tar", "application/x-tar"), ".zip": ("zip", "application/zip")}  # fmt: skip


class RepositoryApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router, base = gitlab.app.router, "/api/v4/projects/{id}/repository"
        router.add_get(f"{base}/tree", self.tree)
        router.add_get(f"{base}/blobs/{{sha}}", self.blob)
        router.add_get(f"{base}/blobs/{{sha}}/raw", self.blob_raw)
        router.add_get(f"{base}/archive{{suffix:(\\.[a-z.]+)?}}", self.archive)
        router.add_get(f"{base}/compare", self.compare)
        router.add_get(f"{base}/merge_base", self.merge_base)
        router.add_get(f"{base}/contributors", self.contributors)

    async def tree(self, request: web.Request) -> web.Response:
        """``GET .../tree``: entries of a folder, folders first as in GitLab; ``recursive`` lists all below."""
        _, project = self._gitlab.access.project(request, REPORTER, job_token=True)
        given = await Parameters.of(request)
        commit = await self._commit(project, given.text("ref"), "Tree")
        path = given.text("path").strip("/")
        options = ["-r", "-t"] if given.boolean("recursive") else []
        try:
            out = await self._gitlab.repositories.git(project, "ls-tree", "-z", *options, f"{commit}:{path}")
        except GitError:
            raise ApiError.not_found("invalid revision or path") from None
        rows = [_entry(line, path) for line in out.decode(errors="replace").split("\0") if line]
        rows.sort(key=lambda row: row["type"] != "tree")
        if request.query.get("pagination") == "keyset":
            return _tree_keyset(request, rows)
        return page(request, rows)

    async def blob(self, request: web.Request) -> web.Response:
        """``GET .../blobs/:sha``."""
        content = await self._blob(request)
        body = {"size": len(content), "encoding": "base64", "content": base64.b64encode(content).decode()}
        return web.json_response({**body, "sha": request.match_info["sha"]})

    async def blob_raw(self, request: web.Request) -> web.Response:
        """``GET .../blobs/:sha/raw``."""
        return web.Response(body=await self._blob(request), content_type="application/octet-stream")

    async def archive(self, request: web.Request) -> web.Response:
        """``GET .../archive`` with one of the suffixes that GitLab takes."""
        _, project = self._gitlab.access.project(request, REPORTER, "read_repository", job_token=True)
        given = await Parameters.of(request)
        suffix = request.match_info["suffix"] or ".tar.gz"
        if suffix not in _FORMATS:
            raise ApiError.message(501, f"501 Not Implemented - not emulated: archive format {suffix}")
        ref = given.text("sha") or project.default_branch or ""
        commit = await self._commit(project, ref, "File")
        kind, content_type = _FORMATS[suffix]
        name = f"{project.data['path']}-{ref.replace('/', '-')}-{commit}"
        arguments = ["archive", f"--format={kind}", f"--prefix={name}/", commit]
        if path := given.text("path").strip("/"):
            arguments += ["--", path]
        body = await self._gitlab.repositories.git(project, *arguments)
        headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
        return web.Response(body=body, content_type=content_type, headers=headers)

    async def compare(self, request: web.Request) -> web.Response:
        """``GET .../compare?from=&to=``: from the merge base on, unless ``straight``."""
        _, project = self._gitlab.access.project(request, REPORTER)
        given = await Parameters.of(request)
        given.require("from", "to")
        before = await self._commit(project, given.text("from"), "Ref")
        after = await self._commit(project, given.text("to"), "Ref")
        base = before if given.boolean("straight") else (await self._base(project, [before, after])) or before
        repositories, url = self._gitlab.repositories, project.data["web_url"]
        commits = await repositories.commits(project, "--reverse", f"{base}..{after}")
        return web.json_response(
            {
                "commit": commits[-1] if commits else None,
                "commits": commits,
                "diffs": await diffs(repositories, project, base, after),
                "compare_timeout": False,
                "compare_same_ref": before == after,
                "web_url": f"{url}/-/compare/{base}...{after}",
            }
        )

    async def merge_base(self, request: web.Request) -> web.Response:
        """``GET .../merge_base?refs[]=``."""
        _, project = self._gitlab.access.project(request, REPORTER)
        refs = (await Parameters.of(request)).strings("refs") or []
        if len(refs) < 2:
            raise ApiError.message(400, "400 Bad request - Provide at least 2 refs")
        base = await self._base(project, [await self._commit(project, ref, "Ref") for ref in refs])
        commit = await self._gitlab.repositories.commit(project, base) if base else None
        if commit is None:
            raise ApiError.not_found("Merge Base")
        return web.json_response(commit)

    async def contributors(self, request: web.Request) -> web.Response:
        """``GET .../contributors``: commits for each author of the default branch."""
        _, project = self._gitlab.access.project(request, REPORTER)
        rows: dict[str, dict[str, Any]] = {}
        ref = request.query.get("ref") or project.default_branch
        if ref:
            commit = await self._commit(project, ref, "Ref")
            for entry in await self._gitlab.repositories.log(project, commit):
                name, email, _ = entry.author
                blank = {"name": name, "email": email, "commits": 0, "additions": 0, "deletions": 0}
                rows.setdefault(email, blank)["commits"] += 1
        return page(request, list(rows.values()))

    async def _commit(self, project: Project, rev: str, thing: str) -> str:
        sha = await self._gitlab.repositories.resolve(project, rev or project.default_branch or "")
        if sha is None:
            raise ApiError.not_found(thing)
        return sha

    async def _base(self, project: Project, commits: list[str]) -> str | None:
        try:
            return (await self._gitlab.repositories.git(project, "merge-base", *commits)).decode().strip()
        except GitError:
            return None

    async def _blob(self, request: web.Request) -> bytes:
        _, project = self._gitlab.access.project(request, REPORTER)
        sha = request.match_info["sha"]
        try:
            if not sha.isalnum():
                raise ApiError.not_found("Blob")
            return await self._gitlab.repositories.git(project, "cat-file", "blob", sha)
        except GitError:
            raise ApiError.not_found("Blob") from None


def _entry(line: str, folder: str) -> dict[str, Any]:
    meta, _, path = line.partition("\t")
    mode, kind, sha = meta.split()
    full = f"{folder}/{path}" if folder else path
    return {"id": sha, "name": path.rpartition("/")[2], "type": kind, "path": full, "mode": mode}


def _tree_keyset(request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
    """Keyset paging of a tree: ``page_token`` is the id of the entry after which to go on."""
    size, token = min(int(request.query.get("per_page") or 20), 100), request.query.get("page_token")
    start = next((number + 1 for number, row in enumerate(rows) if row["path"] == token), 0) if token else 0
    shown = rows[start : start + size]
    headers = {}
    if start + size < len(rows):
        headers["link"] = f'<{link(request, page_token=shown[-1]["path"], per_page=size)}>; rel="next"'
    return web.json_response(shown, headers=headers)
