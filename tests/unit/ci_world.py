"""A GitLab with CI in this process, a project that is a commit away, and a runner that speaks to it over HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from eventually import until
from ports import free_port

from lab.emulator.ci.server import Ci
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.gitlab.model import Caller, Project
from lab.emulator.gitlab.server import GitLab
from lab.emulator.runner.server import Runner

TOKEN = "glpat-test-token-of-root"
AUTHOR = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@b.c",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@b.c",
}


class World:
    """What a test works with; `api` speaks HTTP as any client does."""

    def __init__(self, gitlab: GitLab, ci: Ci, session: aiohttp.ClientSession, project: Project, folder: Path) -> None:
        self.gitlab, self.ci, self.session, self.project, self.folder = gitlab, ci, session, project, folder
        self.user = Caller("user", "root", frozenset({"api"}), user_id=1)
        self.work = folder / "work"

    @property
    def base(self) -> str:
        return f"/projects/{self.project.id}"

    async def api(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        headers = {"PRIVATE-TOKEN": TOKEN, **more.pop("headers", {})}
        url = f"{self.gitlab.config.gitlab_url}/api/v4{path}"
        async with self.session.request(method, url, headers=headers, **more) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, await response.text()

    def commit(self, files: dict[str, str], message: str, branch: str) -> None:
        if not self.work.exists():
            git(self.folder, "init", "-q", f"--initial-branch={branch}", str(self.work))
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(self.work, "checkout", "-q", "-B", branch)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-m", message)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=30,
        env={**os.environ, **AUTHOR, "GIT_CONFIG_GLOBAL": "/dev/null"},
    ).stdout.strip()  # fmt: skip


async def push(
    world: World, files: dict[str, str], message: str = "change", *, branch: str = "main", options: tuple[str, ...] = ()
) -> str:
    """Commit files and push them over HTTP; returns the commit's id."""
    await asyncio.to_thread(world.commit, files, message, branch)
    address = world.gitlab.config.gitlab_url.replace("://", f"://root:{TOKEN}@")
    flags = [flag for option in options for flag in ("-o", option)]
    target = (f"{address}/root/app.git", f"+HEAD:refs/heads/{branch}")
    await asyncio.to_thread(git, world.work, "push", "-q", *flags, *target)
    return await asyncio.to_thread(git, world.work, "rev-parse", "HEAD")


@asynccontextmanager
async def world(folder: Path, *, port: int | None = None) -> AsyncIterator[World]:
    """A running GitLab with project root/app."""
    port = port or free_port()
    config = Config(
        data=folder / "data", gitlab_url=f"http://127.0.0.1:{port}", gitlab_port=port, root_token=TOKEN,
        root_password="a-password-for-root",
    )  # fmt: skip
    database = Database(config.data / "emulator.sqlite3")
    gitlab = GitLab(config, database)
    ci = Ci(gitlab)
    await ci.start()
    await gitlab.start()
    try:
        async with aiohttp.ClientSession() as session:
            if gitlab.projects.by_path("root/app") is None:
                headers = {"PRIVATE-TOKEN": TOKEN}
                url = f"{config.gitlab_url}/api/v4/projects"
                async with session.post(url, json={"path": "app"}, headers=headers) as response:
                    assert response.status == 201, await response.text()
            project = gitlab.projects.by_path("root/app")
            assert project
            yield World(gitlab, ci, session, project, folder)
    finally:
        await ci.stop()
        await gitlab.stop()
        database.close()


@asynccontextmanager
async def runner(world: World, **settings: Any) -> AsyncIterator[Runner]:
    """A runner for the project, made through the API as a person would."""
    body = {"runner_type": "project_type", "project_id": world.project.id, **settings}
    status, made = await world.api("POST", "/user/runners", json=body)
    assert status == 201, made
    folder = world.gitlab.config.data / "runner"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(
        f'concurrent = 4\n[[runners]]\nname = "test"\nurl = "{world.gitlab.config.gitlab_url}"\n'
        f'token = "{made["token"]}"\nexecutor = "shell"\n'
    )
    started = Runner(world.gitlab.config)
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


async def finished(world: World, sha: str, timeout: float = 20) -> dict[str, Any]:
    """The pipeline of a commit, once it has ended."""

    def probe() -> dict[str, Any] | None:
        rows = [p for p in world.ci.pipelines_of(world.project.id) if p["sha"] == sha]
        return rows[0] if rows and rows[0]["status"] in ("success", "failed", "canceled", "skipped") else None

    return await until(f"finished pipeline for {sha}", probe, timeout)


def jobs(world: World, pipeline: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A pipeline's jobs by name; of retried ones the last."""
    return {job["name"]: job for job in world.ci.jobs_of(pipeline["id"])}
