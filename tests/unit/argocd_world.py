"""A git server and an Argo CD in one process, for the tests of the controller."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from lab.emulator.argocd.server import ArgoCd
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.kube.store import Store

LOGIN = "argocd:gldt-secret"
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
}  # fmt: skip


class GitServer:
    """One private repository at ``/root/hichat.git`` with a branch k8s-config, over smart HTTP."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests = 0
        self.down = False
        self._git("init", "-q", "-b", "k8s-config")

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        ).stdout.strip()

    def commit(self, files: dict[str, str | None]) -> str:
        """Write (or remove, with None) files, commit, and return the SHA."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True) if text is None else path.write_text(text)
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "change")
        return self._git("rev-parse", "HEAD")

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/root/hichat.git/info/refs", self._refs)
        app.router.add_post("/root/hichat.git/git-upload-pack", self._pack)
        return app

    async def _run(self, *arguments: str, body: bytes = b"", protocol: str = "") -> bytes:
        process = await asyncio.create_subprocess_exec(
            "git", "upload-pack", "--stateless-rpc", *arguments, ".", cwd=self.folder,
            env={**ENVIRONMENT, "GIT_PROTOCOL": protocol},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate(body)
        return output

    def _refused(self, request: web.Request) -> web.Response | None:
        self.requests += 1
        if self.down:
            return web.Response(status=500)
        wanted = "Basic " + base64.b64encode(LOGIN.encode()).decode()
        if request.headers.get("Authorization") == wanted:
            return None
        headers = {"WWW-Authenticate": 'Basic realm="GitLab"'}
        return web.Response(status=401, text="HTTP Basic: Access denied. ...", headers=headers)

    async def _refs(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        protocol = request.headers.get("Git-Protocol", "")
        body = await self._run("--http-backend-info-refs", protocol=protocol)
        head = b"" if "version=2" in protocol else b"001e# service=git-upload-pack\n0000"
        return web.Response(body=head + body, content_type="application/x-git-upload-pack-advertisement")

    async def _pack(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        body = await self._run(body=await request.read(), protocol=request.headers.get("Git-Protocol", ""))
        return web.Response(body=body, content_type="application/x-git-upload-pack-result")


class World:
    """The pieces a test handles."""

    def __init__(self, git: GitServer, url: str, store: Store, argocd: ArgoCd, config: Config) -> None:
        self.git, self.url, self.store, self.argocd, self.config = git, url, store, argocd, config

    @property
    def repo_url(self) -> str:
        return f"{self.url}/root/hichat.git"

    def application(self) -> dict:
        return self.store.get("argoproj.io", "applications", "argocd", "hichat")

    def status(self) -> dict:
        return self.application().get("status") or {}

    def condition(self, kind: str) -> str:
        return next((c["message"] for c in self.status().get("conditions", []) if c["type"] == kind), "")

    async def until(self, what: str, probe, seconds: float = 10.0):
        """Wait until ``probe()`` is true, looking after each change of the cluster."""
        end = time.monotonic() + seconds
        changed = asyncio.Event()
        stop = self.store.subscribe(lambda _: changed.set())
        try:
            while not (found := probe()):
                left = end - time.monotonic()
                assert left > 0, f"{what}: {self.status()}"
                changed.clear()
                try:
                    await asyncio.wait_for(changed.wait(), min(left, 0.5))
                except asyncio.TimeoutError:
                    continue
            return found
        finally:
            stop()

    async def settled(self, revision: str) -> None:
        """Wait until ``revision`` is synced and recorded."""

        def probe() -> bool:
            sync, last = self.status().get("sync", {}), (self.status().get("history") or [{}])[-1]
            return (sync.get("status"), sync.get("revision"), last.get("revision")) == ("Synced", revision, revision)

        await self.until(f"synced to {revision}", probe)

    async def look_again(self) -> None:
        """Refresh the Application and wait until that is over."""
        body = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        self.store.patch("argoproj.io", "applications", "argocd", "hichat", body)

        def over() -> bool:
            return "argocd.argoproj.io/refresh" not in (self.application()["metadata"].get("annotations") or {})

        await self.until("refreshed", over)

    def secret(self, url: str | None = None) -> None:
        user, password = LOGIN.split(":")
        self.store.create("", "secrets", {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "hichat-repository", "namespace": "argocd",
                         "labels": {"argocd.argoproj.io/secret-type": "repository"}},
            "stringData": {"type": "git", "url": url or self.repo_url, "username": user, "password": password},
        })  # fmt: skip

    def create(self, *, policy: dict | None = None, **source) -> None:
        self.store.create("argoproj.io", "applications", {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "hichat", "namespace": "argocd"},
            "spec": {
                "project": "default",
                "source": {"repoURL": self.repo_url, "path": "k8s", "targetRevision": "k8s-config", **source},
                "destination": {"server": "https://kubernetes.default.svc", "namespace": "hichat"},
                "syncPolicy": {"automated": {"prune": True, "selfHeal": True}} if policy is None else policy,
            },
        })  # fmt: skip

    def push_payload(self, after: str, branch: str = "k8s-config") -> dict:
        return {
            "object_kind": "push", "ref": f"refs/heads/{branch}", "before": "0" * 40, "after": after,
            "project": {"web_url": f"{self.url}/root/hichat", "default_branch": "master"},
            "commits": [{"added": [], "modified": ["k8s/app.yaml"], "removed": []}],
        }  # fmt: skip


@asynccontextmanager
async def world():
    """A started Argo CD beside a git server, on free ports; everything is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "git").mkdir()
        git = GitServer(folder / "git")
        runner = web.AppRunner(git.app())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        config = Config(data=folder / "data", argocd_port=0)
        database = Database(config.data / "test.sqlite3")
        store = Store(database)
        argocd = ArgoCd(config, type("Api", (), {"store": store})())
        try:
            await argocd.start()
            yield World(git, url, store, argocd, config)
        finally:
            await argocd.stop()
            await runner.cleanup()
            database.close()


def run(scenario):
    """Run ``scenario(world)`` to its end."""

    async def main() -> None:
        async with world() as made:
            await asyncio.wait_for(scenario(made), 60)

    asyncio.run(main())


NAMESPACE = """apiVersion: v1
kind: Namespace
metadata:
  name: hichat
  annotations: {argocd.argoproj.io/sync-options: "Prune=false,Delete=false"}
"""


def config_map(name: str, value: str, **annotations: str) -> str:
    """A ConfigMap as YAML (JSON is YAML)."""
    import json

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, **({"annotations": annotations} if annotations else {})},
            "data": {"value": value},
        }
    )


def deployment(image: str, **spec) -> str:
    """A Deployment as YAML."""
    import json

    labels = {"app": "hichat"}
    container = {"name": "hichat", "image": image}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "hichat"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                **spec,
            },
        }
    )
