"""Argo CD that lives as its pods do: each part works while a pod of it is ready, and nothing is there before."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiohttp
from argocd_world import world
from ports import free_ports

from lab.emulator.argocd.definitions import DEFINITIONS
from lab.emulator.argocd.deployed import CONTROLLER, REPOSITORIES, DeployedArgoCd
from lab.emulator.argocd.git import Git
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.kube.store import Store

PUSH = {"X-Gitlab-Event": "Push Hook"}


class Cluster:
    """A store with the pods that a test makes ready."""

    def __init__(self, store: Store, argocd: DeployedArgoCd, url: str) -> None:
        self.store, self.argocd, self.url = store, argocd, url

    def furnish(self) -> None:
        """What the manifest brings, without its workloads."""
        for definition in DEFINITIONS:
            self.store.create("apiextensions.k8s.io", "customresourcedefinitions", definition)
        self.store.create("", "namespaces", {"metadata": {"name": "argocd"}})
        self.store.create("", "secrets", {"metadata": {"name": "argocd-secret", "namespace": "argocd"}})

    def pod(self, part: str) -> None:
        meta = {"name": part, "namespace": "argocd", "labels": {"app.kubernetes.io/name": part}}
        pod = self.store.create("", "pods", {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "i"}]}})
        conditions = [{"type": "Ready", "status": "True"}]
        self.store.update("", "pods", {**pod, "status": {"conditions": conditions}}, subresource="status")

    def application(self) -> None:
        source = {"repoURL": "http://127.0.0.1:1/x.git", "path": ".", "targetRevision": "main"}
        destination = {"server": "https://kubernetes.default.svc", "namespace": "default"}
        app = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "x", "namespace": "argocd"},
        }
        spec = {"project": "default", "source": source, "destination": destination}
        self.store.create("argoproj.io", "applications", {**app, "spec": spec})

    def condition(self) -> str:
        app = self.store.get("argoproj.io", "applications", "argocd", "x")
        return " ".join(each["message"] for each in (app.get("status") or {}).get("conditions") or [])

    async def until(self, words: str) -> None:
        changed = asyncio.Event()
        stop = self.store.subscribe(lambda _: changed.set())
        try:
            while words not in self.condition():
                changed.clear()
                await asyncio.wait_for(changed.wait(), 10)
        finally:
            stop()

    async def ask(self, method: str, path: str, **options) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, **options) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def cluster(folder):
    (port,) = free_ports(1)
    config = Config(data=folder / "data")
    database = Database(config.data / "test.sqlite3")
    store = Store(database)
    argocd = DeployedArgoCd(config, type("Api", (), {"store": store})(), Git(folder / "repos"), "127.0.0.1", port)
    try:
        await argocd.start()
        yield Cluster(store, argocd, f"http://127.0.0.1:{port}")
    finally:
        await argocd.stop()
        database.close()


def run(folder, scenario) -> None:
    async def main() -> None:
        async with cluster(folder) as made:
            await asyncio.wait_for(scenario(made), 60)

    asyncio.run(main())


def test_the_server_waits_for_what_the_manifest_brings_and_fills_it(tmp_path):
    async def scenario(made: Cluster) -> None:
        status, text = await made.ask("POST", "/internal/server")
        assert (status, "missing" in text) == (503, True)
        made.furnish()
        status, pem = await made.ask("POST", "/internal/server")
        assert status == 200
        assert "BEGIN CERTIFICATE" in pem
        assert "PRIVATE KEY" in pem
        secret = made.store.get("", "secrets", "argocd", "argocd-secret")
        assert {"server.secretkey", "admin.password", "admin.passwordMtime"} <= set(secret["data"])
        assert made.store.find("", "secrets", "argocd", "argocd-initial-admin-secret")
        assert made.store.find("argoproj.io", "appprojects", "argocd", "default")
        await made.ask("POST", "/internal/server")
        assert made.store.get("", "secrets", "argocd", "argocd-secret")["data"] == secret["data"]

    run(tmp_path, scenario)


def test_the_redis_password_is_made_once(tmp_path):
    async def scenario(made: Cluster) -> None:
        made.furnish()
        assert (await made.ask("POST", "/internal/redis"))[0] == 200
        first = made.store.get("", "secrets", "argocd", "argocd-redis")["data"]
        await made.ask("POST", "/internal/redis")
        assert made.store.get("", "secrets", "argocd", "argocd-redis")["data"] == first

    run(tmp_path, scenario)


def test_nothing_is_reconciled_without_the_controller_and_nothing_fetched_without_the_repo_server(tmp_path):
    async def scenario(made: Cluster) -> None:
        made.furnish()
        await made.ask("POST", "/internal/server")
        made.application()
        assert made.condition() == ""
        made.pod(CONTROLLER)
        await made.until("argocd-repo-server:8081: connect: connection refused")
        made.pod(REPOSITORIES)
        body = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}}
        made.store.patch("argoproj.io", "applications", "argocd", "x", body)
        await made.until("failed to list refs")
        made.store.delete("", "pods", "argocd", CONTROLLER, grace=0)
        assert not made.argocd.alive(CONTROLLER)

    run(tmp_path, scenario)


def test_a_new_webhook_secret_takes_the_server_away_for_a_moment(tmp_path):
    async def scenario(made: Cluster) -> None:
        made.furnish()
        await made.ask("POST", "/internal/server")
        assert (await made.ask("POST", "/api/webhook", headers=PUSH, json={"project": {}}))[0] == 200
        made.store.patch("", "secrets", "argocd", "argocd-secret", {"stringData": {"webhook.gitlab.secret": "new"}})
        assert (await made.ask("POST", "/api/webhook", headers={**PUSH, "X-Gitlab-Token": "new"}, json={}))[0] == 502

    run(tmp_path, scenario)


def test_a_parts_log_can_be_followed(tmp_path):
    async def scenario(made: Cluster) -> None:
        made.furnish()
        await made.ask("POST", "/internal/server")
        url = f"{made.url}/internal/log/argocd-server"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await made.ask(
                "POST", "/api/webhook", headers=PUSH, json={"project": {"web_url": "http://g/a"}, "ref": "refs/heads/m"}
            )
            assert b"Received push event repo: http://g/a, revision: m" in await answer.content.readline()

    run(tmp_path, scenario)


def test_the_built_in_one_is_there_without_any_pod():
    async def main() -> None:
        async with world() as made:
            assert made.store.find("", "secrets", "argocd", "argocd-secret")

    asyncio.run(main())
