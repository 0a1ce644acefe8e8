"""GitLab: its parts, its listener, and what it makes on the first start."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web

from lab.emulator.component import Listener, Tasks
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.gitlab import bootstrap
from lab.emulator.gitlab.access import Access
from lab.emulator.gitlab.deploy_tokens import DeployTokens
from lab.emulator.gitlab.errors import middleware
from lab.emulator.gitlab.members import Members
from lab.emulator.gitlab.model import Push
from lab.emulator.gitlab.namespaces import Namespaces
from lab.emulator.gitlab.projects import Projects
from lab.emulator.gitlab.repositories import Repositories
from lab.emulator.gitlab.tokens import Tokens
from lab.emulator.gitlab.users import Users

log = logging.getLogger(__name__)

LARGEST_BODY = 100 * 1024**2
"""Bytes that a REST request's body may have; git's bodies are streamed and have no limit."""


class GitLab:
    """The emulated GitLab. Other parts add routes to ``app`` before `start`, and listen to ``on_push``."""

    def __init__(self, config: Config, database: Database) -> None:
        self.config = config
        self.database = database
        self.tasks = Tasks()
        self.users = Users(database)
        self.namespaces = Namespaces(database)
        self.members = Members(database)
        self.tokens = Tokens(database)
        self.deploy_tokens = DeployTokens(database)
        self.projects = Projects(config, database, self.namespaces)
        self.access = Access(
            users=self.users,
            tokens=self.tokens,
            deploy_tokens=self.deploy_tokens,
            namespaces=self.namespaces,
            projects=self.projects,
            members=self.members,
        )
        self.repositories = Repositories(config.data / "repositories")
        self.on_push: list[Callable[[Push], None]] = []
        """Called for every ref that a push or the API moved, after it is stored. Must return at once."""
        self.on_project_removed: list[Callable[[int], None]] = []
        """Called with the id of a project that is gone for good."""
        self.app = web.Application(middlewares=[middleware], client_max_size=LARGEST_BODY)
        self.app["external_url"] = config.gitlab_url
        bootstrap.ensure_root(self)
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Open the listener; every part has added its routes by now. Raises OSError when the port is taken."""
        self._listener = Listener(self.app, self.config.bind, self.config.gitlab_port)
        await self._listener.start()

    async def stop(self) -> None:
        """Close the listener and end background work."""
        if self._listener:
            await self._listener.stop()
        await self.tasks.cancel()

    def announce(self, push: Push) -> None:
        """Tell every listener of ``on_push``; one that fails does not keep the others from hearing of it."""
        for listener in self.on_push:
            try:
                listener(push)
            except Exception:
                log.exception("a listener failed on %s", push.ref)
