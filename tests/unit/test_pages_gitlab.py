"""GitLab's pages, with a real repository behind them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from functools import partial

import pytest
from aiohttp import ClientSession, web

from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.gitlab.server import GitLab
from lab.emulator.pages.server import Pages

SCRIPT = "<script>alert(1)</script>"
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{role}_{what}": SCRIPT for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


class Ci:
    """One pipeline with one job, as CI shows them."""

    def __init__(self):
        self.sha = "1" * 40

    def pipelines_of(self, _project_id):
        return [
            {
                "id": 7,
                "sha": self.sha,
                "ref": "master",
                "status": "failed",
                "source": "push",
                "created_at": "2026-11-21T04:22:01.123Z",
                "duration": 75,
                "yaml_errors": "jobs:build config contains unknown keys: scrip",
            }
        ]

    def jobs_of(self, _pipeline_id):
        runner = {"id": 3, "description": "lab runner"}
        pipeline = {"id": 7, "sha": self.sha}
        return [
            {
                "id": 11,
                "name": "build",
                "stage": "build",
                "status": "success",
                "pipeline": pipeline,
                "runner": runner,
                "duration": 1.2,
            }
        ]

    def trace(self, _job_id):
        return f"\x1b[32;1mgreen\x1b[0;m {SCRIPT}\n".encode()

    def runners(self):
        return [
            {"id": 3, "description": "lab runner", "status": "online", "is_shared": True, "tag_list": ["docker"]},
            {"id": 4, "description": "of another project", "status": "online", "projects": [{"id": 99}]},
        ]


class Registry:
    def repositories_of(self, _project_id):
        tag = {"name": "deadbeef", "digest": "sha256:" + "a" * 64, "total_size": 2048, "created_at": None}
        return [{"location": "127.0.0.1:5050/root/hichat", "tags": [tag]}]


class Site:
    """Opens pages."""

    def __init__(self, session, url, gitlab, ci, sha):
        self.session, self.url, self.gitlab, self.ci, self.sha = session, url, gitlab, ci, sha

    async def open(self, path, status=200):
        async with self.session.get(self.url + path, allow_redirects=False) as response:
            text = await response.text(errors="replace")
            assert response.status == status, text
            self.headers = response.headers
            return text


@asynccontextmanager
async def opened(folder):
    config = Config(data=folder, root_token="root-token-" + "x" * 10, root_password="password-" + "y" * 10)
    database = Database(folder / "db.sqlite3")
    gitlab = GitLab(config, database)
    ci = Ci()
    Pages(gitlab, ci, Registry())
    runner = web.AppRunner(gitlab.app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        async with ClientSession() as session:
            headers, body = {"PRIVATE-TOKEN": config.root_token}, {"name": "hichat", "default_branch": "master"}
            async with session.post(f"{url}/api/v4/projects", headers=headers, json=body) as answer:
                assert answer.status == 201, await answer.text()
                project = gitlab.projects.get((await answer.json())["id"])
            ci.sha = _fill(gitlab, project, folder / "work")
            project.data["default_branch"] = "master"
            yield Site(session, url, gitlab, ci, ci.sha)
    finally:
        await runner.cleanup()
        database.close()


def _fill(gitlab, project, work):
    (work / "k8s").mkdir(parents=True)
    (work / "k8s" / "a & b.yaml").write_text(f"# {SCRIPT}\n")
    (work / "README.md").write_text(f"Hello {SCRIPT}\n")
    (work / "logo.bin").write_bytes(b"\0\1\2")
    git = partial(subprocess.run, cwd=work, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=20)
    git(["git", "init", "-q", "-b", "master"])
    git(["git", "add", "-A"])
    git(["git", "commit", "-q", "-m", f"first {SCRIPT}"])
    git(["git", "branch", "feature/x"])
    git(["git", "push", "-q", str(gitlab.repositories.path(project)), "master", "feature/x"])
    return git(["git", "rev-parse", "HEAD"]).stdout.strip()


def with_site(tmp_path, scenario):
    async def main():
        async with opened(tmp_path) as site:
            await asyncio.wait_for(scenario(site), 30)

    asyncio.run(main())


PAGES = [
    "/", "/help", "/users/sign_in", "/root", "/root/hichat", "/root/hichat/-/tree/master",
    "/root/hichat/-/tree/feature/x/k8s", "/root/hichat/-/blob/master/README.md",
    "/root/hichat/-/blob/feature/x/k8s/a%20%26%20b.yaml", "/root/hichat/-/commits/master", "/root/hichat/-/commits",
    "/root/hichat/-/commit/{sha}", "/root/hichat/-/branches", "/root/hichat/-/pipelines",
    "/root/hichat/-/pipelines/7", "/root/hichat/-/jobs", "/root/hichat/-/jobs/11", "/root/hichat/container_registry",
    "/root/hichat/-/container_registry", "/root/hichat/-/settings/ci_cd", "/root/hichat/-/hooks",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_says_what_it_is_and_runs_nothing(tmp_path, path):
    async def scenario(site):
        text = await site.open(path.format(sha=site.sha))
        assert "<strong>EMULATOR</strong>" in text
        assert "<script" not in text.lower()
        assert "default-src 'none'" in site.headers["Content-Security-Policy"]

    with_site(tmp_path, scenario)


def test_every_link_on_the_pages_leads_somewhere(tmp_path):
    async def scenario(site):
        seen, queue = set(), ["/"]
        while queue:
            path = queue.pop()
            seen.add(path)
            text = await site.open(path)
            found = {match.replace("&amp;", "&") for match in re.findall(r'href="(/[^"#]*)"', text)}
            queue += sorted(found - seen - set(queue))
        assert f"/root/hichat/-/commit/{site.sha}" in seen
        assert "/root/hichat/-/jobs/11/raw" in seen

    with_site(tmp_path, scenario)


def test_what_the_pages_show(tmp_path):
    async def scenario(site):
        project = await site.open("/root/hichat")
        assert "git clone http://127.0.0.1:8929/root/hichat.git" in project
        assert site.sha[:8] in project
        assert "#7" in project
        pipeline = await site.open("/root/hichat/-/pipelines/7")
        assert "unknown keys: scrip" in pipeline
        assert "1 min 15 s" in pipeline
        job = await site.open("/root/hichat/-/jobs/11")
        assert '<span class="c2 b">green</span>' in job
        assert "&lt;script&gt;" in job
        images = await site.open("/root/hichat/container_registry")
        assert "deadbeef" in images
        runners = await site.open("/root/hichat/-/settings/ci_cd")
        assert "lab runner" in runners
        assert "of another project" not in runners
        commit = await site.open(f"/root/hichat/-/commit/{site.sha[:8]}")
        assert '<span class="add">+Hello' in commit

    with_site(tmp_path, scenario)


def test_webhooks_without_their_secrets(tmp_path):
    async def scenario(site):
        hook = site.gitlab.hooks.create(1, "https://127.0.0.1:8443/api/webhook")
        hook.token, hook.triggers, hook.push_events_branch_filter = "hook-secret", {"push_events": True}, "k8s-config"
        site.gitlab.hooks.save(hook)
        site.gitlab.hooks.record(
            hook,
            {
                "trigger": "push_hooks",
                "request_data": {"ref": "refs/heads/k8s-config", "after": site.sha},
                "response_status": "200",
                "execution_duration": 0.012,
            },
        )
        text = await site.open("/root/hichat/-/hooks")
        assert "k8s-config" in text
        assert site.sha[:8] in text
        assert "hook-secret" not in text

    with_site(tmp_path, scenario)


def test_what_is_not_there_is_named(tmp_path):
    async def scenario(site):
        paths = ("pipelines/99", "jobs/99", "commit/ffffffff", "blob/master/nope", "tree/nope", "commit/--all")
        for path in ("/nobody", *(f"/root/hichat/-/{path}" for path in paths)):
            await site.open(path, 404)
        assert "not emulated: the page &#x27;wikis&#x27;" in await site.open("/root/hichat/-/wikis", 404)
        assert '"not emulated: GET /api/v4/nope"' in await site.open("/api/v4/nope", 404)
        await site.open("/root/hichat.git", 302)
        assert site.headers["Location"] == "/root/hichat"

    with_site(tmp_path, scenario)


def test_raw_files_are_never_run_by_a_browser(tmp_path):
    async def scenario(site):
        assert SCRIPT in await site.open("/root/hichat/-/raw/master/README.md")
        assert site.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "sandbox" in site.headers["Content-Security-Policy"]
        await site.open("/root/hichat/-/raw/master/logo.bin")
        assert site.headers["Content-Type"] == "application/octet-stream"
        assert "binary file of 3 bytes" in await site.open("/root/hichat/-/blob/master/logo.bin")

    with_site(tmp_path, scenario)


def test_accounts_without_projects_have_a_page(tmp_path):
    async def scenario(site):
        headers = {"PRIVATE-TOKEN": site.gitlab.config.root_token}
        body = {"name": "bot", "scopes": ["read_repository"], "access_level": 30}
        url = f"{site.url}/api/v4/projects/1/access_tokens"
        async with site.session.post(url, headers=headers, json={**body, "expires_at": _soon()}) as answer:
            assert answer.status == 201, await answer.text()
            made = await answer.json()
        bot = site.gitlab.users.get(made["user_id"])
        assert made["token"] not in await site.open(f"/{bot.username}")

    with_site(tmp_path, scenario)


def _soon():
    return (datetime.now(timezone.utc) + timedelta(days=30)).date().isoformat()
