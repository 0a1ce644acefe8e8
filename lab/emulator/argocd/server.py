"""Argo CD as one component: the server's listener, the controller, and what an installation consists of."""

from __future__ import annotations

import asyncio
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web

from lab.emulator import tls
from lab.emulator.argocd import installation
from lab.emulator.argocd.autosync import SelfHeal
from lab.emulator.argocd.cluster import NAMESPACE, Cluster
from lab.emulator.argocd.controller import Controller
from lab.emulator.argocd.git import Git
from lab.emulator.argocd.logs import Log
from lab.emulator.argocd.pages import Pages
from lab.emulator.argocd.reconciler import Reconciler
from lab.emulator.argocd.sources import Sources
from lab.emulator.argocd.webhook import Webhook
from lab.emulator.component import Listener
from lab.emulator.config import Config
from lab.emulator.kube.store import Change, Store

WAVE_DELAY = 2.0
"""Seconds between two waves of a sync upstream (ARGOCD_SYNCWAVE_DELAY)."""
RESTART = 2.0
"""Seconds for which argocd-server is away upstream after a change of the webhook secret (contracts F.2, H.5)."""


class Api(Protocol):
    """The part of the API server that is needed."""

    store: Store


class ArgoCd:
    """Argo CD: HTTPS on ``config.argocd_port``, its state in the cluster, its log in ``argocd/server.log``."""

    def __init__(self, config: Config, api: Api) -> None:
        self._config = config
        folder = config.data / "argocd"
        self._log = Log(folder / "server.log")
        self.cluster = Cluster(api.store)
        self._git = Git(folder / "repos")
        sources = Sources(self.cluster, self._git)
        reconciler = Reconciler(
            self.cluster, sources, self._log, SelfHeal(), wave_delay=WAVE_DELAY if config.upstream else 0.0
        )
        self.controller = Controller(self.cluster, sources, reconciler, self._log)
        self.webhook = Webhook(self.cluster, self._log, self.controller.request)
        self._listener: Listener | None = None
        self._unsubscribe = api.store.subscribe(self._changed)
        self._secret: str | None = None

    async def start(self) -> None:
        """Install what is missing, begin to reconcile and listen. Raises OSError when the port is taken."""
        await self._git.start()
        installation.install(self.cluster)
        self._secret = self.webhook.secret()
        self.controller.start()
        names = ["localhost", self._config.bind, urlsplit(self._config.argocd_url).hostname or "localhost"]
        context = await asyncio.to_thread(tls.server_context, self._config.data / "tls", sorted(set(names)))
        self._listener = Listener(self._app(), self._config.bind, self._config.argocd_port, context)
        await self._listener.start()
        self._log.info(f"argocd {installation.VERSION} (emulator) serving on port {self._config.argocd_port}")

    async def stop(self) -> None:
        """Stop listening and reconciling."""
        self._unsubscribe()
        if self._listener is not None:
            await self._listener.stop()
        await self.controller.stop()
        await self._git.stop()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=0)
        routes(app, self.cluster, self.webhook)
        return app

    def _changed(self, change: Change) -> None:
        """Restart, as far as it can be seen, when the webhook secret changes: hooks are missed only upstream."""
        meta = change.object["metadata"]
        if (meta.get("namespace"), meta.get("name"), change.resource.kind) != (NAMESPACE, "argocd-secret", "Secret"):
            return
        secret = self.webhook.secret()
        if self._secret is not None and secret != self._secret:
            self._log.info("gitlab secret modified. restarting")
            self.webhook.away_for(RESTART if self._config.upstream else 0.0)
        self._secret = secret


def routes(app: web.Application, cluster: Cluster, webhook: Webhook) -> None:
    """What argocd-server answers; after these no other route is reached."""
    app.router.add_route("*", "/api/webhook", webhook.handle)
    app.router.add_get("/healthz", _healthy)
    app.router.add_get("/api/version", _version)
    Pages(cluster).add_to(app)
    app.router.add_route("*", "/{path:.*}", _missing)


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _version(_request: web.Request) -> web.Response:
    return web.json_response({"Version": f"{installation.VERSION}+emulated"})


async def _missing(request: web.Request) -> web.Response:
    """Everything else, named."""
    text = f"not emulated: {request.method} {request.path}"
    return web.json_response({"error": text, "code": 12, "message": text}, status=501)
