"""REST: users (contracts B.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab import secret_values
from lab.emulator.gitlab.model import ApiError, Caller, Project
from lab.emulator.gitlab.namespaces import Namespace
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters
from lab.emulator.gitlab.users import User

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_FOREIGN = ("provider", "extern_uid", "external", "avatar", "group_id_for_saml", "auditor")
_STATES = {"block": "blocked", "unblock": "active", "activate": "active", "deactivate": "deactivated"}
_FOREIGN_FILTERS = (
    "external",
    "extern_uid",
    "provider",
    "two_factor",
    "with_custom_attributes",
    "skip_ldap",
    "auditors",
)
_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*")


class UsersApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router, base = gitlab.app.router, "/api/v4/users"
        router.add_get("/api/v4/user", self.me)
        router.add_get(base, self.index)
        router.add_post(base, self.create)
        router.add_get(f"{base}/{{user}}", self.show)
        router.add_put(f"{base}/{{user}}", self.update)
        router.add_delete(f"{base}/{{user}}", self.delete)
        router.add_get(f"{base}/{{user}}/memberships", self.memberships)
        for action in _STATES:
            router.add_post(f"{base}/{{user}}/{action}", self._state_changer(action))

    async def me(self, request: web.Request) -> web.Response:
        """``GET /user``."""
        caller = self._gitlab.access.api(request, "read_user")
        user = self._gitlab.users.get(caller.user_id)
        if user is None:
            raise ApiError.message(401, "401 Unauthorized")
        return web.json_response(self._full(user, private=True))

    async def index(self, request: web.Request) -> web.Response:
        """``GET /users``: by name, search, or all."""
        caller = self._gitlab.access.api(request, "read_user")
        given = await Parameters.of(request)
        username, search = given.text("username").lower(), given.text("search").lower()
        rows = [user for user in self._gitlab.users.all() if not username or user.username.lower() == username]
        if search:
            rows = [u for u in rows if search in u.username.lower() or search in u.name.lower() or search == u.email]
        if foreign := [name for name in _FOREIGN_FILTERS if given.text(name) not in {"", "false"}]:
            raise ApiError.message(400, f"not emulated: filter {', '.join(foreign)}")
        if given.boolean("blocked"):
            rows = [user for user in rows if user.state == "blocked"]
        if given.boolean("active"):
            rows = [user for user in rows if user.state == "active"]
        if given.boolean("admins"):
            rows = [user for user in rows if user.admin]
        if given.boolean("without_project_bots") or given.boolean("humans"):
            rows = [user for user in rows if not user.bot]
        rows = sorted(rows, key=lambda user: user.id, reverse=True)
        return page(request, rows, lambda user: self._shown(user, caller))

    async def create(self, request: web.Request) -> web.Response:
        """``POST /users`` (administrators)."""
        self._gitlab.access.administrator(request)
        given = await Parameters.of(request)
        given.require("email", "name", "username")
        if not (given.text("password") or given.boolean("reset_password") or given.boolean("force_random_password")):
            raise ApiError(
                400, {"error": "password, reset_password, force_random_password are missing, at least one parameter "
                "must be provided"},
            )  # fmt: skip
        if foreign := [name for name in _FOREIGN if given.get(name) not in (None, "", False)]:
            raise ApiError.message(400, f"not emulated: {', '.join(foreign)}")
        username, email = given.text("username"), given.text("email")
        self._check_free(username, email)
        password = given.text("password") or secret_values.new()
        if len(password) < 8:
            raise ApiError.message(400, {"password": ["is too short (minimum is 8 characters)"]})
        with self._gitlab.database.transaction():
            user = self._gitlab.users.create(
                username, given.text("name"), email, admin=given.boolean("admin"), password=password
            )
            self._gitlab.namespaces.create("user", username, user.name, owner_id=user.id)
        return web.json_response(self._full(user, private=True), status=201)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /users/:id``."""
        caller = self._gitlab.access.api(request, "read_user")
        return web.json_response(self._shown(self._user(request), caller))

    async def update(self, request: web.Request) -> web.Response:
        """``PUT /users/:id`` (administrators): name, e-mail, password, admin."""
        self._gitlab.access.administrator(request)
        user, given = self._user(request), await Parameters.of(request)
        user.name, user.email = given.text("name", user.name), given.text("email", user.email)
        user.admin = given.boolean("admin", user.admin)
        if given.text("password"):
            user.password = secret_values.password_digest(given.text("password"))
        self._gitlab.users.save(user)
        return web.json_response(self._full(user, private=True))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /users/:id`` (administrators)."""
        caller, user = self._gitlab.access.administrator(request), self._user(request)
        if user.id == caller.user_id:
            raise ApiError.message(400, "400 Bad request - You cannot delete yourself")
        space = self._gitlab.namespaces.of_user(user.id)
        if space and any(p.data["namespace_id"] == space.id for p in self._gitlab.projects.all()):
            raise ApiError.message(409, "not emulated: deletion of a user who owns projects")
        with self._gitlab.database.transaction():
            for token in [token for token in self._gitlab.tokens.all() if token.user_id == user.id]:
                self._gitlab.tokens.forget(token)
            if space:
                self._gitlab.namespaces.remove(space)
            self._gitlab.members.forget_user(user.id)
            self._gitlab.users.remove(user)
        return web.Response(status=204)

    async def memberships(self, request: web.Request) -> web.Response:
        """``GET /users/:id/memberships`` (administrators): projects and groups that the user is a member of."""
        self._gitlab.access.administrator(request)
        user, wanted = self._user(request), (await Parameters.of(request)).choice("type", ("", "Project", "Namespace"))
        rows = [
            {"source_id": source.id, "source_name": name, "source_type": kind, "access_level": level}
            for kind, source, name, level in self._sources(user)
            if wanted in {"", kind} and level
        ]
        return page(request, rows)

    def _sources(self, user: User) -> Iterator[tuple[str, Project | Namespace, str, int]]:
        level = self._gitlab.members.level
        for project in self._gitlab.projects.all():
            yield "Project", project, str(project.data["name"]), level("project", project.id, user.id)
        for space in self._gitlab.namespaces.all():
            yield "Namespace", space, space.name, level("group", space.id, user.id)

    def _state_changer(self, action: str) -> Any:
        async def change(request: web.Request) -> web.Response:
            """``POST /users/:id/block`` and its likes (administrators).

            The answer is true; for a user in that state already it is null, and false for ``unblock``, as upstream.
            """
            caller, user = self._gitlab.access.administrator(request), self._user(request)
            if user.id == caller.user_id and action == "block":
                raise ApiError.message(403, "403 Forbidden - The API initiating user cannot be blocked by the API")
            if user.state == _STATES[action]:
                return web.json_response(False if action == "unblock" else None, status=201)
            user.state = _STATES[action]
            self._gitlab.users.save(user)
            return web.json_response(True, status=201)

        return change

    def _user(self, request: web.Request) -> User:
        text = request.match_info["user"]
        user = self._gitlab.users.get(int(text)) if text.isdigit() else None
        if user is None:
            raise ApiError.not_found("User")
        return user

    def _check_free(self, username: str, email: str) -> None:
        if not _NAME.fullmatch(username):
            raise ApiError.message(400, {"username": ["is invalid"]})
        if self._gitlab.users.by_login(email):
            raise ApiError.message(409, "Email has already been taken")
        if self._gitlab.users.by_login(username) or self._gitlab.namespaces.by_path(username):
            raise ApiError.message(409, "Username has already been taken")

    def _shown(self, user: User, caller: Caller) -> dict[str, Any]:
        asking = self._gitlab.users.get(caller.user_id)
        return self._full(user, private=bool(asking and asking.admin))

    def _full(self, user: User, *, private: bool) -> dict[str, Any]:
        shown = {
            **user.brief(self._gitlab.config.gitlab_url),
            "created_at": user.created_at,
            "bio": "",
            "location": "",
            "organization": "",
            "job_title": "",
            "bot": user.bot,
        }
        if private:
            shown |= {
                "email": user.email,
                "commit_email": user.email,
                "is_admin": user.admin,
                "external": False,
                "private_profile": False,
                "can_create_project": True,
                "can_create_group": True,
                "two_factor_enabled": False,
                "projects_limit": 100_000,
                "identities": [],
                "confirmed_at": user.created_at,
                "namespace_id": getattr(self._gitlab.namespaces.of_user(user.id), "id", None),
            }
        return shown
