"""A cluster for tests: the real store, controllers and kubelet, and images made of files on the spot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from ports import free_ports
from yarl import URL

from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.images import Image, PullError
from lab.emulator.kube.store import Store
from lab.emulator.workloads.server import Workloads

REGISTRY = "127.0.0.1:5050"

SERVER = """
import http.server, os, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow": time.sleep(0.3)
        status = 503 if self.path == "/sick" or os.path.exists("/".join([os.environ["FLAGS"], "sick"])) else 200
        body = (os.environ.get("ANSWER", "?") + " " + self.path).encode()
        self.answer(status, body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, body)
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): print("GET", self.path)
server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
def stop(*_):
    print("stopping"); import threading; threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, stop)
print("listening on", os.environ["PORT"])
server.serve_forever(0.05)
"""


class Cluster:
    """What a test does with the cluster."""

    def __init__(self, config: Config, store: Store, workloads: Workloads, api: Any) -> None:
        self.config, self.store, self.workloads, self.api = config, store, workloads, api

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        found = self.store.list("", "pods", "default")
        return [pod for pod in found if labels.items() <= pod["metadata"].get("labels", {}).items()]

    def pod(self, name: str) -> dict[str, Any]:
        return self.store.get("", "pods", "default", name)

    def events(self, name: str) -> list[tuple[str, str]]:
        found = self.store.list("", "events", "default")
        return [(each["reason"], each["message"]) for each in found if each["involvedObject"]["name"] == name]

    def create(self, group: str, plural: str, obj: dict[str, Any]) -> dict[str, Any]:
        return self.store.create(group, plural, obj, namespace="default")

    async def until(self, what: str, probe: Callable[[], Any], timeout: float = 10) -> Any:
        """The probe's first true answer; asked again after every change in the store."""
        deadline = time.monotonic() + timeout
        changed = asyncio.Event()
        unsubscribe = self.store.subscribe(lambda _: changed.set())
        try:
            while True:
                changed.clear()
                found = probe()
                if found:
                    return found
                left = deadline - time.monotonic()
                assert left > 0, f"{what}: {[pod['status'] for pod in self.pods()]} {self.store.list('', 'events')}"
                try:
                    await asyncio.wait_for(changed.wait(), min(left, 0.2))
                except asyncio.TimeoutError:
                    continue
        finally:
            unsubscribe()

    async def log(self, pod: str, **options: Any) -> str:
        parts = [part async for part in self.api.pod_logs("default", pod, options.pop("container", None), **options)]
        return b"".join(parts).decode()

    async def get(self, path: str = "/", **headers: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.config.app_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(URL(url, encoded=True), headers=headers) as response:
            return response.status, await response.text()


def image_files(folder: Path) -> Path:
    """The one image that every reference of the lab's registry gives: a small web server and friends."""
    root = folder / "image"
    (root / "app").mkdir(parents=True)
    (root / "app/server.py").write_text(SERVER)
    (root / "app/flags").mkdir()
    return root


@asynccontextmanager
async def running(folder: Path, **settings: Any):
    """A running cluster below ``folder``; a second one on the same folder continues it."""
    kubernetes, app = free_ports(2)
    config = Config(data=folder / "data", registry=REGISTRY, kubernetes_port=kubernetes, app_port=app, **settings)
    database = Database(config.data / "db.sqlite3")
    store = Store(database)
    if store.find("", "namespaces", None, "default") is None:
        store.create("", "namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    root = folder / "image" if (folder / "image").exists() else image_files(folder)

    async def pull(_session: Any, reference: str, _credentials: Any, _cache: Path) -> Image:
        if "missing" in reference:
            raise PullError("ErrImagePull", f"{reference}: not found")
        config = {
            "Env": ["ANSWER=image", "FLAGS=/app/flags"],
            "Cmd": ["python", "server.py"],
            "WorkingDir": "/app",
            "Labels": {"emulator.lab/base": "python:3.12"},
        }
        return Image(reference, "sha256:" + "a" * 64, config, root)

    api = SimpleNamespace(store=store, pod_logs=None)
    workloads = Workloads(config, api, pull=pull)
    await workloads.start()
    try:
        yield Cluster(config, store, workloads, api)
    finally:
        await workloads.stop()
        database.close()


def play(test: Callable[[Cluster], Awaitable[None]], folder: Path, **settings: Any) -> None:
    """Run a test's coroutine against a fresh cluster, a minute at most."""

    async def scene() -> None:
        async with running(folder, **settings) as cluster:
            await test(cluster)

    asyncio.run(asyncio.wait_for(scene(), 60))


def container(name: str = "app", image: str = f"{REGISTRY}/root/app:1", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image, "ports": [{"name": "http", "containerPort": 8080}], **more}


def script(code: str, name: str = "app", **more: Any) -> dict[str, Any]:
    """A container that runs a piece of Python."""
    return {"name": name, "image": f"{REGISTRY}/root/app:1", "command": ["python", "-c", code], **more}


def pod(name: str, *containers: dict[str, Any], labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers), **spec}}


def deployment(name: str = "web", *, replicas: int = 1, answer: str = "one", **spec: Any) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1}
    one = container(env=[{"name": "ANSWER", "value": answer}], readinessProbe=probe)
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [one]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def service(name: str = "web", target: int | str = "http") -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": target}]
    spec = {"selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ingress(name: str = "web", host: str = "", path: str = "/") -> dict[str, Any]:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule: dict[str, Any] = {"http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}
    if host:
        rule["host"] = host
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"rules": [rule]},
    }
