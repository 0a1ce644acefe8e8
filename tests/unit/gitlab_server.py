"""A GitLab of a test's own: real git, in this process, on a free port."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.gitlab.server import GitLab

TOKEN = "glpat-abcdefghijklmnopqrst"
PASSWORD = "xY9!lmnop"


def config(data: Path) -> Config:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Config(
        data=data, gitlab_url=f"http://127.0.0.1:{port}", gitlab_port=port, root_password=PASSWORD, root_token=TOKEN
    )


class Client:
    """REST as root (or with another token), and git as a person would type it."""

    def __init__(self, gitlab: GitLab, session: aiohttp.ClientSession, folder: Path) -> None:
        self.gitlab, self._session, self.folder = gitlab, session, folder
        self.url = gitlab.config.gitlab_url

    async def __call__(self, method, path, body=None, *, token=TOKEN, headers=None, **query):
        """Status and decoded body."""
        answer = await self.raw(method, path, body, token=token, headers=headers, **query)
        if answer.content_type == "application/json" and method != "HEAD":
            return answer.status, await answer.json()
        return answer.status, await answer.text()

    async def raw(self, method, path, body=None, *, token=TOKEN, headers=None, **query):
        headers = {**({"PRIVATE-TOKEN": token} if token else {}), **(headers or {})}
        address = path if path.startswith("http") else f"{self.url}/api/v4{path}"
        url = URL(address, encoded=True)
        if query:
            url = url.update_query(query)
        answer = await self._session.request(method, url, json=body, headers=headers, allow_redirects=False)
        await answer.read()
        return answer

    async def project(self, name="hichat", **more):
        status, project = await self("POST", "/projects", {"name": name, **more})
        assert status == 201, project
        return project

    def address(self, path, login="root", password=TOKEN):
        return self.url.replace("://", f"://{login}:{password}@") + f"/{path}.git"

    async def git(self, *arguments, cwd=None, check=True):
        """Exit code and everything that git said."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_AUTHOR_NAME": "A", "LC_ALL": "C",
            "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.com",
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=cwd or self.folder, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        text = output.decode()
        assert not check or process.returncode == 0, text
        return process.returncode, text

    async def checkout(self, project, name="work", branch="master"):
        """A folder with one commit on ``branch`` and the remote ``origin``, not yet pushed."""
        folder = self.folder / name
        await self.git("init", "-q", "-b", branch, str(folder))
        await self.git("remote", "add", "origin", self.address(project["path_with_namespace"]), cwd=folder)
        await self.commit(folder, "app.py", "print()\n", "first")
        return folder

    async def commit(self, folder, name, content, message="change"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        await self.git("add", "-A", cwd=folder)
        await self.git("commit", "-q", "-m", message, cwd=folder)
        return (await self.git("rev-parse", "HEAD", cwd=folder))[1].strip()


@asynccontextmanager
async def running(folder: Path, *, settings: Config | None = None) -> AsyncIterator[Client]:
    """A started GitLab and a client for it."""
    settings = settings or config(folder / "data")
    database = Database(settings.data / "emulator.sqlite3")
    gitlab = GitLab(settings, database)
    await gitlab.start()
    work = folder / "client"
    work.mkdir(exist_ok=True)
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(gitlab, session, work)
    finally:
        await gitlab.stop()
        database.close()


@asynccontextmanager
async def receiver(status: int = 200) -> AsyncIterator[tuple[str, asyncio.Queue]]:
    """A webhook's target: its address, and a queue of (headers, body) that arrived."""
    arrived: asyncio.Queue = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        await arrived.put((request.headers, await request.json()))
        return web.Response(status=status, text="thanks", headers={"Location": "/"} if status == 302 else None)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/hook", arrived
    finally:
        await runner.cleanup()
