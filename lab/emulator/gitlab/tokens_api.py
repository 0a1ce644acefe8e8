"""REST: personal and project access tokens (contracts B.5, B.11)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.gitlab.access import insufficient_scope
from lab.emulator.gitlab.model import MAINTAINER, ApiError, Caller, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters
from lab.emulator.gitlab.tokens import PROJECT_SCOPES, SCOPES, Token, latest_expiry

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

PROJECT_LEVELS = (10, 15, 20, 25, 30, 40, 50)
_SELF_SERVICE_SCOPES = ("k8s_proxy", "self_rotate")


class TokensApi:
    """The routes."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router = gitlab.app.router
        personal, project = "/api/v4/personal_access_tokens", "/api/v4/projects/{id}/access_tokens"
        router.add_get(personal, self.index)
        router.add_get(f"{personal}/{{token}}", self.show)
        router.add_delete(f"{personal}/{{token}}", self.revoke)
        router.add_post(f"{personal}/{{token}}/rotate", self.rotate)
        router.add_post("/api/v4/users/{user}/personal_access_tokens", self.create_for)
        router.add_post("/api/v4/user/personal_access_tokens", self.create_own)
        router.add_get(project, self.project_index)
        router.add_post(project, self.project_create)
        router.add_get(f"{project}/{{token}}", self.project_show)
        router.add_delete(f"{project}/{{token}}", self.project_revoke)
        router.add_post(f"{project}/{{token}}/rotate", self.project_rotate)

    async def index(self, request: web.Request) -> web.Response:
        """``GET /personal_access_tokens``: one's own, for administrators everybody's."""
        caller = self._gitlab.access.api(request)
        given = await Parameters.of(request)
        wanted = given.integer("user_id")
        if not self._is_admin(caller):
            if wanted not in {None, caller.user_id}:
                raise ApiError.message(401, "401 Unauthorized")
            wanted = caller.user_id
        rows = [token for token in self._gitlab.tokens.all() if token.project_id is None]
        rows = [token for token in rows if wanted is None or token.user_id == wanted]
        return page(request, _filtered(rows, given), self._shown)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /personal_access_tokens/:id`` and ``self``."""
        return web.json_response(self._shown(self._personal(request, *SCOPES)))

    async def revoke(self, request: web.Request) -> web.Response:
        """``DELETE /personal_access_tokens/:id`` and ``self``."""
        self._gitlab.tokens.revoke(self._personal(request, *SCOPES))
        return web.Response(status=204)

    async def rotate(self, request: web.Request) -> web.Response:
        """``POST /personal_access_tokens/:id/rotate`` and ``self``."""
        token = self._personal(request, "self_rotate")
        expires = _expiry(await Parameters.of(request))
        successor, value = self._gitlab.tokens.rotate(token, expires)
        return web.json_response({**self._shown(successor), "token": value})

    async def create_for(self, request: web.Request) -> web.Response:
        """``POST /users/:id/personal_access_tokens`` (administrators)."""
        self._gitlab.access.administrator(request)
        number = request.match_info["user"]
        user = self._gitlab.users.get(int(number)) if number.isdigit() else None
        if user is None:
            raise ApiError.not_found("User")
        given = await Parameters.of(request)
        return self._created(user.id, given, _scopes(given, SCOPES))

    async def create_own(self, request: web.Request) -> web.Response:
        """``POST /user/personal_access_tokens``: only the scopes that GitLab gives away without a login."""
        caller = self._gitlab.access.api(request)
        given = await Parameters.of(request)
        return self._created(caller.user_id or 0, given, _scopes(given, _SELF_SERVICE_SCOPES))

    async def project_index(self, request: web.Request) -> web.Response:
        """``GET /projects/:id/access_tokens``."""
        _, project = self._gitlab.access.project(request, MAINTAINER)
        rows = [token for token in self._gitlab.tokens.all() if token.project_id == project.id]
        return page(request, _filtered(rows, await Parameters.of(request)), self._shown)

    async def project_create(self, request: web.Request) -> web.Response:
        """``POST /projects/:id/access_tokens``: makes the token's bot user, too."""
        caller, project = self._gitlab.access.project(request, MAINTAINER)
        if caller.kind != "user":
            raise ApiError.message(
                400, "400 Bad request - User does not have permission to create project access token"
            )
        given = await Parameters.of(request)
        given.require("name", "scopes")
        scopes, expires = _scopes(given, PROJECT_SCOPES), _expiry(given) or latest_expiry()
        level = given.integer("access_level") or MAINTAINER
        if level not in PROJECT_LEVELS:
            raise ApiError(400, {"error": "access_level does not have a valid value"})
        if level > self._gitlab.access.level(caller, project):
            text = "Access level of the token can't be greater the access level of the user who created the token"
            raise ApiError.message(400, f"400 Bad request - {text}")
        with self._gitlab.database.transaction():
            bot = self._bot(project, given.text("name"))
            self._gitlab.members.put("project", project.id, bot, level, expires)
            token, value = self._gitlab.tokens.create(
                bot, given.text("name"), scopes, expires_at=expires, project_id=project.id,
                description=given.text("description") or None,
            )  # fmt: skip
        return web.json_response({**self._shown(token), "token": value}, status=201)

    async def project_show(self, request: web.Request) -> web.Response:
        """``GET /projects/:id/access_tokens/:token_id``."""
        _, token = self._of_project(request)
        return web.json_response(self._shown(token))

    async def project_revoke(self, request: web.Request) -> web.Response:
        """``DELETE /projects/:id/access_tokens/:token_id``: the bot loses its membership."""
        project, token = self._of_project(request)
        with self._gitlab.database.transaction():
            self._gitlab.tokens.revoke(token)
            self._gitlab.members.remove("project", project.id, token.user_id)
        return web.Response(status=204)

    async def project_rotate(self, request: web.Request) -> web.Response:
        """``POST /projects/:id/access_tokens/:token_id/rotate`` and ``self``."""
        project, token = self._of_project(request, "self_rotate")
        expires = _expiry(await Parameters.of(request))
        level = self._gitlab.members.level("project", project.id, token.user_id)
        successor, value = self._gitlab.tokens.rotate(token, expires)
        self._gitlab.members.put("project", project.id, token.user_id, level, successor.expires_at)
        return web.json_response({**self._shown(successor), "token": value})

    def _created(self, user_id: int, given: Parameters, scopes: list[str]) -> web.Response:
        given.require("name")
        description = given.text("description") or None
        token, value = self._gitlab.tokens.create(
            user_id, given.text("name"), scopes, expires_at=_expiry(given), description=description
        )
        return web.json_response({**self._shown(token), "token": value}, status=201)

    def _bot(self, project: Project, name: str) -> int:
        username = f"project_{project.id}_bot_{secrets.token_hex(16)}"
        host = self._gitlab.config.gitlab_url.partition("://")[2].partition(":")[0]
        return self._gitlab.users.create(username, name, f"{username}@noreply.{host}", bot=True).id

    def _personal(self, request: web.Request, *scopes: str) -> Token:
        """The token in the path, which the caller owns or administrates; 404 for anything else."""
        name = request.match_info["token"]
        caller = self._gitlab.access.api(request, *(scopes if name == "self" else ()))
        number = str(caller.token_id) if name == "self" else name
        token = self._gitlab.tokens.get(int(number)) if number.isdigit() else None
        visible = token and (token.user_id == caller.user_id or self._is_admin(caller))
        if token is None or not visible:
            raise ApiError.message(404, "404 Not Found")
        return token

    def _of_project(self, request: web.Request, *scopes: str) -> tuple[Project, Token]:
        """Project and token of the path; ``self`` is the token that asks."""
        name = request.match_info["token"]
        if name == "self":
            caller, project = self._gitlab.access.project(request, 0, *scopes)
            if not caller.scopes & {"api", *scopes}:
                raise insufficient_scope({"api", *scopes})
            name = str(caller.token_id)
        else:
            _, project = self._gitlab.access.project(request, MAINTAINER)
        token = self._gitlab.tokens.get(int(name)) if name.isdigit() else None
        if token is None or token.project_id != project.id:
            raise ApiError.message(404, f"404 Could not find project access token with token_id: {name} Not Found")
        return project, token

    def _is_admin(self, caller: Caller) -> bool:
        user = self._gitlab.users.get(caller.user_id)
        return bool(user and user.admin)

    def _shown(self, token: Token) -> dict[str, Any]:
        shown = {
            "id": token.id,
            "name": token.name,
            "revoked": token.revoked,
            "created_at": token.created_at,
            "description": token.description,
            "scopes": token.scopes,
            "user_id": token.user_id,
            "last_used_at": token.last_used_at,
            "active": token.active,
            "expires_at": token.expires_at,
            "last_used_ips": [],
        }
        if token.project_id is not None:
            level = self._gitlab.members.get("project", token.project_id, token.user_id)
            shown |= {
                "access_level": level.access_level if level else None,
                "resource_type": "project",
                "resource_id": token.project_id,
            }
        return shown


def _scopes(given: Parameters, allowed: tuple[str, ...]) -> list[str]:
    given.require("scopes")
    scopes = given.strings("scopes") or []
    if not scopes:
        raise ApiError(400, {"error": "scopes is empty"})
    if any(scope not in allowed for scope in scopes):
        raise ApiError(400, {"error": "scopes does not have a valid value"})
    return scopes


def _expiry(given: Parameters) -> str | None:
    """The given day; raises ApiError 400 for one later than a year from now (contracts A.9)."""
    day = given.day("expires_at")
    if day and day > latest_expiry():
        raise ApiError.message(400, f"400 Bad request - Expiration date must be before {latest_expiry()}")
    return day


def _filtered(rows: list[Token], given: Parameters) -> list[Token]:
    state, search = given.text("state"), given.text("search").lower()
    if state:
        rows = [token for token in rows if token.active == (state == "active")]
    if "revoked" in given:
        rows = [token for token in rows if token.revoked == given.boolean("revoked")]
    return [token for token in rows if search in token.name.lower()]
