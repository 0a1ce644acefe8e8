"""REST: repository files (contracts B.9)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.commit_writer import EXECUTABLE, Change
from lab.emulator.gitlab.model import DEVELOPER, REPORTER, ApiError, Caller, Project
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_KEPT = ("content", "encoding", "last_commit_id", "execute_filemode")


@dataclass(frozen=True)
class _File:
    """A file at a revision."""

    path: str
    ref: str
    commit_id: str
    mode: str
    blob_id: str
    content: bytes


class FilesApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router, base = gitlab.app.router, "/api/v4/projects/{id}/repository/files/{path}"
        router.add_get(f"{base}/raw", self.raw)
        router.add_get(f"{base}/blame", self.blame)
        router.add_head(base, self.head)
        router.add_get(base, self.show, allow_head=False)
        router.add_post(base, self.create)
        router.add_put(base, self.update)
        router.add_delete(base, self.delete)

    async def show(self, request: web.Request) -> web.Response:
        """``GET .../files/:path``."""
        _, project = self._gitlab.access.project(request, REPORTER, "read_repository")
        (await Parameters.of(request)).require("ref")
        file = await self._find(request, project)
        shown = await self._shown(project, file)
        return web.json_response({**shown, "content": base64.b64encode(file.content).decode()})

    async def head(self, request: web.Request) -> web.Response:
        """``HEAD .../files/:path``: the same as headers."""
        _, project = self._gitlab.access.project(request, REPORTER, "read_repository")
        file = await self._find(request, project)
        shown = await self._shown(project, file)
        names = {key: "-".join(part.capitalize() for part in key.split("_")) for key in shown}
        return web.Response(headers={f"X-Gitlab-{names[key]}": _header(value) for key, value in shown.items()})

    async def raw(self, request: web.Request) -> web.Response:
        """``GET .../files/:path/raw``: the bytes; job tokens may (contracts C.7)."""
        _, project = self._gitlab.access.project(request, REPORTER, "read_repository", job_token=True)
        file = await self._find(request, project)
        text = b"\0" not in file.content[:8000]
        name = file.path.rpartition("/")[2].replace('"', "")
        return web.Response(
            body=file.content,
            headers={
                "Content-Type": "text/plain; charset=utf-8" if text else "application/octet-stream",
                "Content-Disposition": f'inline; filename="{name}"',
                "X-Gitlab-Blob-Id": file.blob_id,
                "X-Gitlab-Commit-Id": file.commit_id,
            },
        )

    async def blame(self, request: web.Request) -> web.Response:
        """``GET .../files/:path/blame`` is named here, or the path would be taken for a file's."""
        self._gitlab.access.project(request, REPORTER, "read_repository")
        raise ApiError.message(501, "501 Not Implemented - not emulated: blame of a file")

    async def create(self, request: web.Request) -> web.Response:
        """``POST .../files/:path``."""
        return await self._commit(request, "create", 201)

    async def update(self, request: web.Request) -> web.Response:
        """``PUT .../files/:path``."""
        return await self._commit(request, "update", 200)

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE .../files/:path``."""
        return await self._commit(request, "delete", 204)

    async def _commit(self, request: web.Request, action: str, status: int) -> web.Response:
        caller, project = self._gitlab.access.project(request, DEVELOPER)
        given = await Parameters.of(request)
        wanted = ("branch", "commit_message") if action == "delete" else ("branch", "commit_message", "content")
        for name in wanted:
            if given.get(name) is None:
                raise ApiError.message(400, f"400 Bad request - {name} is required")
        if given.text("encoding", "text") not in {"text", "base64"}:
            raise ApiError.message(400, "400 Bad request - encoding must be text or base64")
        path, branch = request.match_info["path"], given.text("branch")
        edit = {"action": action, "file_path": path, **{key: given.get(key) for key in _KEPT if key in given}}
        if action == "update":
            await self._check_changed(project, branch, path, edit)
        await self._write(project, caller, given, edit)
        return web.Response(status=204) if status == 204 else _written(path, branch, status)

    async def _write(self, project: Project, caller: Caller, given: Parameters, edit: dict[str, Any]) -> None:
        change = Change(
            branch=given.text("branch"),
            message=given.text("commit_message"),
            actions=[edit],
            start_branch=given.text("start_branch"),
            author_name=given.text("author_name"),
            author_email=given.text("author_email"),
        )
        await self._gitlab.commits.create(project, caller, change)

    async def _check_changed(self, project: Project, branch: str, path: str, edit: dict[str, Any]) -> None:
        """An update that changes nothing is an error (contracts B.9)."""
        if "execute_filemode" in edit:
            return
        old = await self._gitlab.repositories.read(project, f"refs/heads/{branch}", path)
        text = str(edit["content"]).encode()
        new = base64.b64decode(text) if edit.get("encoding") == "base64" else text
        if old is not None and old == new:
            raise ApiError.message(400, "400 Bad request - the file already has this content")

    async def _find(self, request: web.Request, project: Project) -> _File:
        ref, path = request.query.get("ref", "HEAD") or "HEAD", request.match_info["path"].strip("/")
        rev = project.default_branch if ref == "HEAD" else ref
        commit = await self._gitlab.repositories.resolve(project, rev or "")
        if commit is None:
            raise ApiError.not_found("Commit" if project.default_branch else "File")
        out = await self._gitlab.repositories.git(project, "ls-tree", "-z", commit, "--", path)
        mode, kind, blob = [*out.decode(errors="replace").partition("\t")[0].split(), "", "", ""][:3]
        if kind != "blob":
            raise ApiError.not_found("File")
        content = await self._gitlab.repositories.git(project, "cat-file", "blob", blob)
        return _File(path, ref, commit, mode, blob, content)

    async def _shown(self, project: Project, file: _File) -> dict[str, Any]:
        touched = await self._gitlab.repositories.log(project, "-1", file.commit_id, "--", f":(literal){file.path}")
        return {
            "file_name": file.path.rpartition("/")[2],
            "file_path": file.path,
            "size": len(file.content),
            "encoding": "base64",
            "content_sha256": hashlib.sha256(file.content).hexdigest(),
            "ref": file.ref,
            "blob_id": file.blob_id,
            "commit_id": file.commit_id,
            "last_commit_id": touched[0].id if touched else file.commit_id,
            "execute_filemode": file.mode == EXECUTABLE,
        }


def _written(path: str, branch: str, status: int) -> web.Response:
    return web.json_response({"file_path": path, "branch": branch}, status=status)


def _header(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
