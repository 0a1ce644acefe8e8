"""A store, an API server on a free port, and objects, for the tests of the Kubernetes API."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.kube.server import ApiServer
from lab.emulator.kube.store import Store

_opened: list[Database] = []


def store_in(folder: Path, *namespaces: str) -> Store:
    """A store with the namespace ``default`` and ``namespaces``."""
    store = reopened(folder)
    for name in ("default", *namespaces):
        if store.find("", "namespaces", None, name) is None:
            store.create("", "namespaces", {"metadata": {"name": name}})
    return store


def reopened(folder: Path) -> Store:
    """The store of ``folder`` as a new process finds it; its file is closed when the test has ended."""
    _opened.append(Database(folder / "kube.sqlite3"))
    return Store(_opened[-1])


def close_all() -> None:
    """Close the files of every store that a test has opened."""
    while _opened:
        _opened.pop().close()


def deployment(name: str = "web", *, image: str = "nginx:1", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
            **spec,
        },
    }


def pod(name: str = "p", *, node: str = "", owner: dict[str, Any] | None = None, **labels: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
    }
    if node:
        found["spec"]["nodeName"] = node
    if owner:
        meta = owner["metadata"]
        found["metadata"]["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": meta["name"],
                "uid": meta["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return found


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def definition(
    plural: str = "widgets", kind: str = "Widget", group: str = "example.com", **version: Any
) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
            ],
        },
    }


def widget(name: str = "w", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"size": 1, **spec},
    }


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``obj`` with ``value`` at a dotted path; numbers index lists."""
    found = copy.deepcopy(obj)
    *parents, last = path.split(".")
    place: Any = found
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return found


class Client:
    """Requests to a running API server."""

    def __init__(self, session: aiohttp.ClientSession, url: str, server: ApiServer, folder: Path) -> None:
        self.session, self.url, self.server, self.folder = session, url, server, folder

    async def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON body (or text) of a request."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": kind} if data is not None else {}
        given.update({key.replace("_", "-"): value for key, value in headers.items()})
        async with self.session.request(method, self.url + path, data=data, headers=given) as response:
            text = await response.text()
            self.headers = response.headers
            return response.status, json.loads(text) if "json" in response.headers["Content-Type"] else text

    async def get(self, path: str, **headers: str) -> Any:
        status, body = await self.call("GET", path, **headers)
        assert status == 200, body
        return body

    async def create(self, path: str, body: Any) -> Any:
        status, made = await self.call("POST", path, body)
        assert status == 201, made
        return made


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Client]:
    """An API server on a free port, and a client with its administrator's token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = Config(data=folder, kubernetes_port=port)
    database = Database(folder / "emulator.sqlite3")
    server = ApiServer(config, database)
    await server.start()
    kubeconfig = json.loads((folder / "kubeconfig").read_text())
    token = kubeconfig["users"][0]["user"]["token"]
    tls = ssl.create_default_context(cafile=str(folder / "tls" / "ca.crt"))
    timeout = aiohttp.ClientTimeout(total=20)
    connector = aiohttp.TCPConnector(ssl=tls)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
            yield Client(session, server.url, server, folder)
    finally:
        await server.stop()
        database.close()


def served(scenario):
    """Run a coroutine function against an API server of its own."""

    def test(tmp_path):
        async def main():
            async with running(tmp_path) as client:
                await scenario(client)

        asyncio.run(asyncio.wait_for(main(), 30))

    test.__name__ = scenario.__name__
    return test
