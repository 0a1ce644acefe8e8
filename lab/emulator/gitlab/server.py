"""GitLab: its parts, its listener, and what it makes on the first start."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from lab.emulator.component import Listener, Tasks
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.gitlab import bootstrap
from lab.emulator.gitlab.access import Access
from lab.emulator.gitlab.branches_api import BranchesApi
from lab.emulator.gitlab.commit_writer import CommitWriter
from lab.emulator.gitlab.commits_api import CommitsApi
from lab.emulator.gitlab.delivery import Deliveries
from lab.emulator.gitlab.deploy_tokens import DeployTokens
from lab.emulator.gitlab.deploy_tokens_api import DeployTokensApi
from lab.emulator.gitlab.errors import middleware
from lab.emulator.gitlab.files_api import FilesApi
from lab.emulator.gitlab.groups_api import GroupsApi
from lab.emulator.gitlab.hooks import Hooks
from lab.emulator.gitlab.hooks_api import HooksApi
from lab.emulator.gitlab.instance_api import InstanceApi
from lab.emulator.gitlab.members import Members
from lab.emulator.gitlab.members_api import MembersApi
from lab.emulator.gitlab.model import OWNER, Caller, Project, Push
from lab.emulator.gitlab.namespaces import Namespace, Namespaces
from lab.emulator.gitlab.paging import EXTERNAL_URL
from lab.emulator.gitlab.projects import Projects
from lab.emulator.gitlab.projects_api import ProjectsApi
from lab.emulator.gitlab.protected_branches_api import ProtectedBranchesApi
from lab.emulator.gitlab.protection import ProtectedBranches
from lab.emulator.gitlab.pushes import Pushes
from lab.emulator.gitlab.repositories import Repositories
from lab.emulator.gitlab.repository_api import RepositoryApi
from lab.emulator.gitlab.settings import Settings, SettingsApi
from lab.emulator.gitlab.smart_http import SmartHttp
from lab.emulator.gitlab.tags_api import TagsApi
from lab.emulator.gitlab.tokens import Tokens
from lab.emulator.gitlab.tokens_api import TokensApi
from lab.emulator.gitlab.users import Users
from lab.emulator.gitlab.users_api import UsersApi

log = logging.getLogger(__name__)

LARGEST_BODY = 100 * 1024**2
"""Bytes that a REST request's body may have; git's bodies are streamed and have no limit."""
_ROUTES = (
    InstanceApi, SettingsApi, UsersApi, TokensApi, ProjectsApi, BranchesApi, ProtectedBranchesApi, DeployTokensApi,
    HooksApi, CommitsApi, FilesApi, RepositoryApi, TagsApi, GroupsApi, MembersApi, SmartHttp,
)  # fmt: skip


class GitLab:
    """The emulated GitLab. Other parts add routes to ``app`` before `start`, and listen to ``on_push``."""

    def __init__(self, config: Config, database: Database) -> None:
        self.config = config
        self.database = database
        self.tasks = Tasks()
        self.settings = Settings(database)
        self.users = Users(database)
        self.namespaces = Namespaces(database)
        self.members = Members(database)
        self.tokens = Tokens(database)
        self.deploy_tokens = DeployTokens(database)
        self.projects = Projects(config, database, self.namespaces)
        self.protected_branches = ProtectedBranches(database)
        self.hooks = Hooks(database)
        self.access = Access(
            users=self.users,
            tokens=self.tokens,
            deploy_tokens=self.deploy_tokens,
            namespaces=self.namespaces,
            projects=self.projects,
            members=self.members,
        )
        self.repositories = Repositories(config.data / "repositories")
        self.pushes = Pushes(self)
        self.commits = CommitWriter(self)
        self.deliveries = Deliveries(self)
        self.on_push: list[Callable[[Push], None]] = []
        """Called for every ref that a push or the API moved, after it is stored. Must return at once."""
        self.on_project_renamed: list[Callable[[Project, str], None]] = []
        """Called after a project got another path, with its old full path."""
        self.last_pipeline: Callable[[Project, str], dict[str, Any] | None] = lambda _project, _sha: None
        """The latest pipeline of a commit in short API form; set by the part that runs pipelines."""
        self.on_project_removed: list[Callable[[int], None]] = []
        """Called with the id of a project that is gone for good."""
        self.app = web.Application(middlewares=[middleware], client_max_size=LARGEST_BODY)
        self.app[EXTERNAL_URL] = config.gitlab_url
        self._routes = [routes(self) for routes in _ROUTES]
        self._listener: Listener | None = None
        bootstrap.ensure_root(self)

    async def start(self) -> None:
        """Open the listener; every part has added its routes by now. Raises OSError when the port is taken."""
        await self.repositories.sweep({project.id for project in self.projects.all()})
        await self.pushes.recover()
        self._listener = Listener(self.app, self.config.bind, self.config.gitlab_port)
        await self._listener.start()
        self.deliveries.recover()

    async def stop(self) -> None:
        """Close the listener and end background work."""
        if self._listener:
            await self._listener.stop()
        await self.tasks.cancel()
        await self.deliveries.stop()

    def announce(self, pushes: list[Push]) -> None:
        """Fire webhooks and tell every listener of ``on_push``; one that fails does not stop the others."""
        self.deliveries.pushed(pushes)
        for push in (replace(push, position=position) for position, push in enumerate(pushes)):
            for listener in self.on_push:
                try:
                    listener(push)
                except Exception:  # noqa: PERF203 - each listener is on its own
                    log.exception("a listener failed on %s", push.ref)

    async def make_project(
        self, namespace: Namespace, path: str, attributes: dict[str, Any], caller: Caller
    ) -> Project:
        """A project with its empty repository; the repository is there before the project can be found."""
        project = self.projects.reserve(namespace, path, attributes, caller.user_id or 0)
        await self.repositories.create(project, "main")
        with self.database.transaction():
            self.projects.save(project)
            self.members.put("project", project.id, caller.user_id or 0, OWNER)
        return project

    def rename_project(self, project: Project, path: str) -> None:
        """Store a changed project under ``path``; listeners hear of it when that is another path."""
        old = project.path_with_namespace
        project.data["path"] = path
        self.projects.save(project)
        if project.path_with_namespace != old:
            for listener in self.on_project_renamed:
                listener(project, old)

    async def remove_project(self, project: Project) -> None:
        """End a project with everything that belongs to it."""
        with self.database.transaction():
            self.projects.remove(project)
            self.members.forget("project", project.id)
            self.protected_branches.forget(project.id)
            self.deploy_tokens.forget(project.id)
            for hook in self.hooks.of(project.id):
                self.hooks.remove(hook)
            for token in [token for token in self.tokens.all() if token.project_id == project.id]:
                self.tokens.forget(token)
                if bot := self.users.get(token.user_id):
                    self.users.remove(bot)
            for listener in self.on_project_removed:
                listener(project.id)
        await self.repositories.remove(project)
