"""GitLab and its registry on a thread of this process, and the ``docker`` command as jobs have it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ports import free_port

from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.docker import bin as docker_command
from lab.emulator.gitlab.server import GitLab
from lab.emulator.registry.server import Registry

ROOT_TOKEN = "glpat-registry-test-root"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Answer:
    """A response; ``json`` parses its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["errors"][0]["code"]


@dataclass
class World:
    """What a test talks to, over HTTP only."""

    gitlab: str
    host: str
    data: Path
    projects: dict[str, int] = field(default_factory=dict)

    def http(self, method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request; header names are given with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, data=body, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def api(self, method: str, path: str, document: Any = None, token: str = ROOT_TOKEN) -> Answer:
        """GitLab's REST API."""
        body = None if document is None else json.dumps(document).encode()
        headers = {"PRIVATE_TOKEN": token, "Content_Type": "application/json"}
        return self.http(method, f"{self.gitlab}/api/v4{path}", body, **headers)

    def auth(self, *scopes: str, login: tuple[str, str] | None = ("root", ROOT_TOKEN)) -> Answer:
        """``/jwt/auth``."""
        query = urllib.parse.urlencode([("service", "container_registry"), *(("scope", scope) for scope in scopes)])
        headers = {}
        if login:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        return self.http("GET", f"{self.gitlab}/jwt/auth?{query}", **headers)

    def registry(self, method: str, path: str, body: bytes | None = None, *, token: str | None = None, **headers: str):
        """The registry, as root unless another token (or an empty one) is given."""
        if token is None:
            names = [path.split("/v2/")[1]] if "/v2/" in path else [path.lstrip("/")]
            token = self.token(repository_in(names[0]))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = path if path.startswith("http") else f"http://{self.host}/v2{path}"
        return self.http(method, url, body, **headers)

    def token(self, name: str, actions: str = "*,pull,push,delete", **more: Any) -> str:
        return str(self.auth(f"repository:{name}:{actions}", **more).json["token"])

    def push_blob(self, name: str, content: bytes) -> str:
        digest = sha256(content)
        started = self.registry("POST", f"/{name}/blobs/uploads/", b"")
        done = self.registry("PUT", f"{started.headers['Location']}?digest={digest}", content)
        assert done.status == 201, done.body
        return digest

    def push_image(self, name: str, reference: str, layer: bytes = b"layer", **more: Any) -> str:
        """Push a small manifest under a tag; returns its digest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z"}).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
            **more,
        }
        for content in (config, layer):
            self.push_blob(name, content)
        answer = self.registry(
            "PUT", f"/{name}/manifests/{reference}", json.dumps(document).encode(), Content_Type=MANIFEST
        )
        assert answer.status == 201, answer.body
        return answer.headers["Docker-Content-Digest"]


def repository_in(path: str) -> str:
    for mark in ("/blobs/", "/manifests/", "/tags/", "/referrers/"):
        path = path.split(mark, maxsplit=1)[0]
    return path


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content)}


@contextmanager
def serving(data: Path, gitlab_port: int | None = None, registry_port: int | None = None) -> Iterator[World]:
    """Run GitLab and the registry until the block ends; the same ``data`` and ports make a restart."""
    gitlab_port, registry_port = gitlab_port or free_port(), registry_port or free_port()
    config = Config(
        data=data,
        gitlab_url=f"http://127.0.0.1:{gitlab_port}",
        registry=f"127.0.0.1:{registry_port}",
        gitlab_port=gitlab_port,
        registry_port=registry_port,
        root_password="Correct-Horse-1",
        root_token=ROOT_TOKEN,
    )
    loop = asyncio.new_event_loop()
    ready, stopping = threading.Event(), asyncio.Event()

    async def run() -> None:
        database = Database(data / "db.sqlite3")
        gitlab = GitLab(config, database)
        registry = Registry(gitlab)
        try:
            await registry.start()
            await gitlab.start()
            ready.set()
            await stopping.wait()
        finally:
            await gitlab.stop()
            await registry.stop()
            database.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield World(config.gitlab_url, config.registry, data)
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(20)
        loop.close()


def populate(world: World) -> None:
    """A private project ``root/app`` and a public one, ``root/open``."""
    for name, visibility in (("app", "private"), ("open", "public")):
        made = world.api("POST", "/projects", {"name": name, "visibility": visibility})
        assert made.status == 201, made.body
        world.projects[name] = made.json["id"]


@dataclass
class Docker:
    """The command as it is installed for jobs, with a home and a store of its own."""

    folder: Path

    def __post_init__(self) -> None:
        docker_command.install(self.folder / "bin")

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "LAB_DOCKER_STORE": str(self.folder / "store"),
            **environment,
        }
        return subprocess.run(
            [str(self.folder / "bin" / "docker"), *arguments],
            input=stdin,
            env=env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ok(self, *arguments: str, **more: Any) -> str:
        """Run it and require success; returns what it printed on both streams."""
        done = self(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def fails(self, *arguments: str, **more: Any) -> str:
        """Run it and require failure; returns what it complained about."""
        done = self(*arguments, **more)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def context(self, dockerfile: str, **files: str) -> str:
        """Write a build context; ``__`` in names stands for ``/``, ``_dot_`` for a dot."""
        folder = self.folder / "context"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(dockerfile)
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(folder)

    def inspect(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.ok("inspect", name))[0])
