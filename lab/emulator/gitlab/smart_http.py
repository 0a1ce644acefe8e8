"""Git over smart HTTP: clone, fetch and push with GitLab's logins and refusals (contracts B.5, C.7, D.2)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING

from aiohttp import web

from lab.emulator.gitlab import git, pktline
from lab.emulator.gitlab.access import ANONYMOUS, credentials
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import Caller, Project

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

log = logging.getLogger(__name__)

LONGEST_FETCH = 900.0
"""Seconds that one fetch may take."""
DENIED = (
    "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or "
    "you're required to use a token instead of a password. If a token was provided, it was either incorrect, "
    "expired, or improperly scoped."
)
NOT_FOUND = "The project you were looking for could not be found or you don't have permission to view it."
_SERVICES = ("git-upload-pack", "git-receive-pack")
_NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}


class SmartHttp:
    """The routes that git clients use."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router = gitlab.app.router
        router.add_get("/{path:.+}.git/info/refs", self.info_refs)
        router.add_post("/{path:.+}.git/git-upload-pack", self.upload_pack)
        router.add_post("/{path:.+}.git/git-receive-pack", self.receive_pack)
        router.add_route("*", "/{path:.+}.git/info/lfs/{rest:.*}", _lfs)
        router.add_get("/{path:[^.].*}/info/refs", _with_suffix)

    async def info_refs(self, request: web.Request) -> web.StreamResponse:
        """The advertisement of refs, or of protocol version 2."""
        service = request.query.get("service", "")
        if service not in _SERVICES:
            return web.Response(status=403, text="Please upgrade your git client: only smart HTTP is served.\n")
        _, project = self._authorise(request, service)
        name = service.removeprefix("git-")
        path = self._gitlab.repositories.path(project)
        variables = _protocol(request)
        output = await git.run(path, name, "--stateless-rpc", "--advertise-refs", ".", variables=variables)
        body = pktline.packet(f"# service={service}\n".encode()) + pktline.FLUSH + output
        headers = {**_NO_CACHE, "Content-Type": f"application/x-{service}-advertisement"}
        return web.Response(body=body, headers=headers)

    async def upload_pack(self, request: web.Request) -> web.StreamResponse:
        """Fetch: git's answer is streamed."""
        _, project = self._authorise(request, "git-upload-pack")
        response = web.StreamResponse(headers={**_NO_CACHE, "Content-Type": "application/x-git-upload-pack-result"})
        async with _spooled(request) as body:
            await response.prepare(request)
            try:
                await asyncio.wait_for(self._stream(request, project, body, response), LONGEST_FETCH)
            except asyncio.TimeoutError:
                log.warning("a fetch from %s took too long", project.path_with_namespace)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    async def receive_pack(self, request: web.Request) -> web.StreamResponse:
        """Push: stored and announced before it is answered, also when the client goes away meanwhile."""
        caller, project = self._authorise(request, "git-receive-pack")
        async with _spooled(request) as body:
            work = self._gitlab.tasks.spawn(
                self._gitlab.pushes.receive(project, caller, body), f"push to {project.path_with_namespace}"
            )
            try:
                output = await asyncio.shield(work)
            except pktline.ProtocolError as error:
                return web.Response(status=400, text=f"{error}\n")
            except GitError as error:
                return web.Response(status=500, text=f"{error}\n")
        headers = {**_NO_CACHE, "Content-Type": "application/x-git-receive-pack-result"}
        return web.Response(body=output, headers=headers)

    async def _stream(
        self, request: web.Request, project: Project, body: IO[bytes], response: web.StreamResponse
    ) -> None:
        path = self._gitlab.repositories.path(project)
        arguments = ("upload-pack", "--stateless-rpc", ".")
        process = await git.spawn(
            path, *arguments, stdin=body, stderr=asyncio.subprocess.DEVNULL, variables=_protocol(request)
        )
        try:
            while process.stdout and (chunk := await process.stdout.read(1 << 16)):
                await response.write(chunk)
            await process.wait()
        except ConnectionError:
            log.info("a client left during its fetch from %s", project.path_with_namespace)
        finally:
            await git.reap(process)

    def _authorise(self, request: web.Request, service: str) -> tuple[Caller, Project]:
        """The caller and project; raises the HTTP answers that git clients understand."""
        pushes = service == "git-receive-pack"
        path = request.match_info["path"]
        project = self._gitlab.projects.by_path(path) or self._gitlab.projects.moved(path)
        login = credentials(request)
        if login is None:
            if pushes or project is None or project.data["visibility"] != "public":
                raise _denied()
            return ANONYMOUS, project
        caller = self._gitlab.access.basic(*login)
        if caller is None:
            raise _denied()
        if project is None or not self._gitlab.access.sees(caller, project):
            raise web.HTTPNotFound(text=NOT_FOUND)
        policy = self._gitlab.pushes.policy
        reason = policy.upload(caller, project) if pushes else policy.download(caller, project)
        if reason:
            raise web.HTTPForbidden(text=reason)
        return caller, project


def _denied() -> web.HTTPUnauthorized:
    return web.HTTPUnauthorized(text=DENIED, headers={"WWW-Authenticate": 'Basic realm="GitLab"'})


def _protocol(request: web.Request) -> dict[str, str]:
    """The protocol version that the client asked for, in the variable that git reads."""
    wanted = request.headers.get("Git-Protocol", "")
    return {"GIT_PROTOCOL": wanted} if wanted and len(wanted) < 256 and wanted.isprintable() else {}


@asynccontextmanager
async def _spooled(request: web.Request) -> AsyncIterator[IO[bytes]]:
    """The request's body (gzip is undone by the server) in a file that git reads at its own speed.

    The file is unbuffered, since git shares its position.
    """
    with tempfile.TemporaryFile(buffering=0) as body:
        async for chunk in request.content.iter_chunked(1 << 18):
            body.write(chunk)
        body.seek(0)
        yield body


async def _with_suffix(request: web.Request) -> web.StreamResponse:
    """A clone address without ``.git``: GitLab redirects."""
    target = f"/{request.match_info['path']}.git/info/refs"
    raise web.HTTPMovedPermanently(str(request.rel_url.with_path(target).with_query(request.query)))


async def _lfs(request: web.Request) -> web.StreamResponse:
    body = {"message": f"not emulated: Git LFS ({request.method} {request.path})"}
    return web.json_response(body, status=501, content_type="application/vnd.git-lfs+json")
