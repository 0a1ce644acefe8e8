"""The registry: its listener, its place in GitLab, and what other parts ask of it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from lab.emulator.component import Listener, Tasks
from lab.emulator.gitlab.model import Caller, Project
from lab.emulator.gitlab.server import GitLab
from lab.emulator.registry.api import Api
from lab.emulator.registry.authorization import Gate, TokenService
from lab.emulator.registry.blobs import Blobs
from lab.emulator.registry.catalogue import Catalogue
from lab.emulator.registry.errors import add_version, middleware
from lab.emulator.registry.manifests import Manifests
from lab.emulator.registry.storage import Storage
from lab.emulator.registry.tokens import Key

_LEVELS = 3


class Registry:
    """GitLab's container registry."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        folder = gitlab.config.data / "registry"
        self._storage = Storage(folder)
        self._catalogue = Catalogue(gitlab.database, self._storage, gitlab.config.registry)
        self._key = Key(folder / "token.key")
        gate = Gate(self._key, f"{gitlab.config.gitlab_url}/jwt/auth")
        TokenService(
            self._key,
            _Access(gitlab),
            project_of=self._project_of,
            pushing=self._catalogue.ensure,
            lifetime=lambda: 60.0 * int(gitlab.settings.get("container_registry_token_expire_delay")),
            external_url=gitlab.config.gitlab_url,
        ).add_routes(gitlab.app)
        Api(gitlab.access, gitlab.projects, self._catalogue, self._storage).add_routes(gitlab.app)
        gitlab.on_project_removed.append(self._forget)
        gitlab.on_project_renamed.append(lambda project, _old: self._catalogue.rename(project))
        for project in gitlab.projects.all():  # a process that was killed may have left a renaming half done
            self._catalogue.rename(project)
        self._app = self._application(gate)
        self._listener: Listener | None = None
        self._tasks = Tasks()

    def _application(self, gate: Gate) -> web.Application:
        app = web.Application(middlewares=[middleware])
        app.on_response_prepare.append(add_version)

        async def version(request: web.Request) -> web.Response:
            gate.require(request)
            return web.json_response({})

        app.router.add_get("/v2/", version)
        app.router.add_get("/v2", version)
        Blobs(self._storage, gate).add_routes(app)
        Manifests(self._storage, gate).add_routes(app)
        return app

    async def start(self) -> None:
        """Open the listener; raises OSError when the port is taken."""
        self._listener = Listener(self._app, self._gitlab.config.bind, self._gitlab.config.registry_port)
        await self._listener.start()
        self._tasks.spawn(asyncio.to_thread(self._key.prepare), "registry key")

    async def stop(self) -> None:
        """Close the listener."""
        if self._listener:
            await self._listener.stop()
        await self._tasks.cancel()

    def repositories_of(self, project_id: int) -> list[dict[str, Any]]:
        """The project's repositories in API form, each with its tags in detail (key ``tags``)."""
        shown = []
        for row in self._catalogue.of_project(project_id):
            tags = [self._catalogue.tag_in_detail(row, name) for name in self._catalogue.tags(row)]
            shown.append({**self._catalogue.describe(row, tags_count=True), "tags": [tag for tag in tags if tag]})
        return shown

    def _forget(self, project_id: int) -> None:
        for row in self._catalogue.of_project(project_id):
            self._catalogue.remove(row)

    def _project_of(self, path: str) -> Project | None:
        """The project that a registry path belongs to: the one with the longest path that it begins with.

        An image may stand at most two names below its project (GitLab: ContainerRegistry::Path::LEVELS_SUPPORTED).
        """
        parts = path.split("/")
        for count in range(len(parts), max(1, len(parts) - _LEVELS), -1):
            if project := self._gitlab.projects.by_path("/".join(parts[:count])):
                return project
        return None


class _Access:
    """GitLab's access rules as the token service needs them."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab

    def basic(self, username: str, password: str) -> Caller | None:
        return self._gitlab.access.basic(username, password)

    def level(self, caller: Caller, project: Project) -> int:
        return self._gitlab.access.level(caller, project)

    def administers(self, caller: Caller) -> bool:
        user = self._gitlab.users.get(caller.user_id)
        return user is not None and user.admin and "api" in caller.scopes
