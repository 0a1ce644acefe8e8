"""Argo CD that lives as its own manifest says: each part works only while a pod of it is ready.

The pods hold fronts (ports, probes, TLS). Behind them this component serves, on an address that only pods reach, what
argocd-server shows, and runs the application controller. Nothing of Argo CD is installed here.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from lab.emulator import tls
from lab.emulator.argocd import installation
from lab.emulator.argocd.autosync import SelfHeal
from lab.emulator.argocd.cluster import GROUP, NAMESPACE, Cluster, encoded
from lab.emulator.argocd.controller import Controller
from lab.emulator.argocd.credentials import values
from lab.emulator.argocd.errors import SourceError
from lab.emulator.argocd.git import Git
from lab.emulator.argocd.logs import Log
from lab.emulator.argocd.objects import now
from lab.emulator.argocd.reconciler import Reconciler
from lab.emulator.argocd.server import RESTART, WAVE_DELAY, Api, routes
from lab.emulator.argocd.sources import Rendered, Sources
from lab.emulator.argocd.webhook import Webhook
from lab.emulator.component import Listener, Tasks
from lab.emulator.config import Config
from lab.emulator.kube.store import Change

SERVER, REPOSITORIES, CONTROLLER = "argocd-server", "argocd-repo-server", "argocd-application-controller"
_NAME = "app.kubernetes.io/name"
_LOOK = 0.3
"""Seconds between two looks at a log that a pod follows."""


class DeployedArgoCd:
    """Serves Argo CD's pods on ``host:port`` (plain HTTP); their images' programs know the port."""

    def __init__(self, config: Config, api: Api, git: Git, host: str, port: int) -> None:
        self._config = config
        self._folder = config.data / "argocd"
        self.cluster = Cluster(api.store)
        self._git = git
        self._sources = _Remote(self.cluster, git, lambda: self.alive(REPOSITORIES))
        self._logs = {name: Log(self._folder / f"{name}.log") for name in (SERVER, CONTROLLER)}
        self.webhook = Webhook(self.cluster, self._logs[SERVER], self._request)
        self._controller: Controller | None = None
        self._secret: str | None = None
        self._tasks = Tasks()
        self._lock = asyncio.Lock()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._listener = Listener(self._app(), host, port)

    async def start(self) -> None:
        """Listen, and begin the work of the parts whose pods are ready; raises OSError when the port is taken."""
        await self._git.start()
        self._unsubscribe = self.cluster.store.subscribe(self._changed)
        await self._listener.start()
        await self._adjust()

    async def stop(self) -> None:
        """End everything."""
        self._unsubscribe()
        await self._listener.stop()
        await self._tasks.cancel()
        if self._controller:
            await self._controller.stop()
        await self._git.stop()

    def alive(self, part: str) -> bool:
        """Whether a pod of the part is ready and stays."""
        pods = self.cluster.store.select("", "pods", NAMESPACE, labels=f"{_NAME}={part}")
        return any(_ready(pod) for pod in pods)

    def _changed(self, change: Change) -> None:
        meta = change.object["metadata"]
        if meta.get("namespace") != NAMESPACE:
            return
        if change.resource.kind == "Pod" and (meta.get("labels") or {}).get(_NAME) == CONTROLLER:
            self._tasks.spawn(self._adjust(), "application controller")
        elif change.resource.kind == "Secret" and meta["name"] == "argocd-secret":
            self._secret_changed()

    def _secret_changed(self) -> None:
        """argocd-server restarts itself when its webhook secret changes (contracts F.2)."""
        secret = self.webhook.secret()
        if self._secret is not None and secret != self._secret:
            self._logs[SERVER].info("gitlab secret modified. restarting")
            self.webhook.away_for(RESTART)
        self._secret = secret

    async def _adjust(self) -> None:
        """Run the controller exactly while its pod is ready."""
        async with self._lock:
            if self._controller is None and self.alive(CONTROLLER) and self._served():
                log = self._logs[CONTROLLER]
                reconciler = Reconciler(self.cluster, self._sources, log, SelfHeal(), wave_delay=WAVE_DELAY)
                self._controller = Controller(self.cluster, self._sources, reconciler, log)
                self._controller.start()
                log.info("starting application controller")
            elif self._controller is not None and not self.alive(CONTROLLER):
                controller, self._controller = self._controller, None
                await controller.stop()

    def _served(self) -> bool:
        return all(self.cluster.resource(GROUP, kind) for kind in ("Application", "AppProject"))

    def _request(self, name: str) -> None:
        if self._controller:
            self._controller.request(name)

    # --- what the pods' programs ask for

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_post("/internal/server", self._begin)
        app.router.add_post("/internal/redis", self._redis)
        app.router.add_get("/internal/log/{part}", self._follow)
        routes(app, self.cluster, self.webhook)
        return app

    async def _begin(self, _request: web.Request) -> web.Response:
        """What argocd-server does when it starts; answers its certificate and key."""
        if self.cluster.secret(NAMESPACE, "argocd-secret") is None or not self._served():
            return web.Response(status=503, text="argocd-secret or the definitions of argoproj.io are missing")
        self._fill()
        self._secret = self.webhook.secret()
        folder = self._folder / "tls"
        await asyncio.to_thread(tls.server_context, folder, ["localhost", SERVER])
        pair = [path.read_text() for kind in ("crt", "key") for path in folder.glob(f"server-*.{kind}")]
        return web.Response(text="".join(pair))

    def _fill(self) -> None:
        """The keys of argocd-secret that the server adds, the first password, and project ``default``."""
        known = values(self.cluster.secret(NAMESPACE, "argocd-secret") or {})
        password = secrets.token_urlsafe(12)
        added = {"server.secretkey": secrets.token_urlsafe(32)}
        if "admin.password" not in known:
            added |= {"admin.password": f"not a hash: {password}", "admin.passwordMtime": now()}
            self.cluster.ensure(installation.secret("argocd-initial-admin-secret", {"password": password}))
        missing = {key: value for key, value in added.items() if key not in known}
        if missing:
            change = {"data": encoded(missing)}
            self.cluster.store.patch("", "secrets", NAMESPACE, "argocd-secret", change)
        self.cluster.ensure(installation.default_project())

    async def _redis(self, _request: web.Request) -> web.Response:
        """``argocd admin redis-initial-password``."""
        self.cluster.ensure(installation.secret("argocd-redis", {"auth": secrets.token_urlsafe(12)}))
        return web.Response(text="Initial Redis password set in Secret argocd-redis.")

    async def _follow(self, request: web.Request) -> web.StreamResponse:
        """A part's log from now on, until the pod goes."""
        answer = web.StreamResponse()
        await answer.prepare(request)
        path = self._folder / f"{request.match_info['part']}.log"
        position = _size(path)
        with contextlib.suppress(ConnectionError):
            while request.transport and not request.transport.is_closing():
                if _size(path) < position:
                    position = 0
                if _size(path) > position:
                    with path.open("rb") as file:
                        file.seek(position)
                        lines = file.read()
                    position += len(lines)
                    await answer.write(lines)
                await asyncio.sleep(_LOOK)
        return answer


class _Remote(Sources):
    """Sources that are rendered by argocd-repo-server, as long as it is there."""

    def __init__(self, cluster: Cluster, git: Git, alive: Callable[[], bool]) -> None:
        super().__init__(cluster, git)
        self._alive = alive

    async def render(self, application: str, source: dict[str, Any], revision: str, *, fresh: bool = False) -> Rendered:
        """As `Sources.render`; raises SourceError as well when there is no repo server."""
        if not self._alive():
            text = 'connection error: desc = "transport: Error while dialing: dial tcp argocd-repo-server:8081: '
            raise SourceError(f'{text}connect: connection refused"', "Unavailable")
        return await super().render(application, source, revision, fresh=fresh)


def _ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
