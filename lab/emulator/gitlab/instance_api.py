"""Version, metadata and health (contracts A.6, B.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.version import REVISION, VERSION

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_CHECKS = ("db", "cache", "queues", "shared_state", "gitaly")


class InstanceApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router = gitlab.app.router
        router.add_get("/api/v4/version", self.version)
        router.add_get("/api/v4/metadata", self.metadata)
        router.add_get("/-/health", self.health)
        router.add_get("/-/readiness", self.readiness)
        router.add_get("/-/liveness", self.liveness)
        router.add_get("/health_check", self.health_check)

    async def version(self, request: web.Request) -> web.Response:
        """``GET /version``."""
        self._gitlab.access.api(request, "read_user")
        return web.json_response({"version": VERSION, "revision": REVISION})

    async def metadata(self, request: web.Request) -> web.Response:
        """``GET /metadata``."""
        self._gitlab.access.api(request, "read_user")
        kas = {"enabled": False, "externalUrl": None, "externalK8sProxyUrl": None, "version": None}
        body = {"version": VERSION, "revision": REVISION, "kas": kas, "enterprise": False}
        return web.json_response(body)

    async def health(self, _request: web.Request) -> web.Response:
        """``GET /-/health``."""
        return web.Response(text="GitLab OK")

    async def readiness(self, request: web.Request) -> web.Response:
        """``GET /-/readiness``; ``all=1`` names every dependency."""
        body: dict[str, Any] = {"status": "ok", "master_check": [{"status": "ok"}]}
        if request.query.get("all"):
            body |= {f"{name}_check": [{"status": "ok"}] for name in _CHECKS}
        return web.json_response(body)

    async def liveness(self, _request: web.Request) -> web.Response:
        """``GET /-/liveness``."""
        return web.json_response({"status": "ok"})

    async def health_check(self, _request: web.Request) -> web.Response:
        """``GET /health_check``."""
        return web.Response(text="success")
