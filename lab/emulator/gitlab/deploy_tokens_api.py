"""REST: deploy tokens (contracts B.12)."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from aiohttp import web

from lab.emulator.gitlab.deploy_tokens import SCOPES, DeployToken
from lab.emulator.gitlab.model import MAINTAINER, ApiError, Project
from lab.emulator.gitlab.paging import iso, page
from lab.emulator.gitlab.parameters import Parameters, invalid

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

_USERNAME = re.compile(r"[a-zA-Z0-9.+_-]+")


class DeployTokensApi:
    """The routes; maintainers only."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        router, base = gitlab.app.router, "/api/v4/projects/{id}/deploy_tokens"
        router.add_get("/api/v4/deploy_tokens", self.everywhere)
        router.add_get(base, self.index)
        router.add_post(base, self.create)
        router.add_get(f"{base}/{{token}}", self.show)
        router.add_delete(f"{base}/{{token}}", self.delete)

    async def everywhere(self, request: web.Request) -> web.Response:
        """``GET /deploy_tokens`` (administrators)."""
        self._gitlab.access.administrator(request)
        return page(request, self._gitlab.deploy_tokens.all(), DeployToken.shown)

    async def index(self, request: web.Request) -> web.Response:
        """``GET /projects/:id/deploy_tokens``."""
        _, project = self._gitlab.access.project(request, MAINTAINER)
        rows = self._gitlab.deploy_tokens.of(project.id)
        if "active" in request.query:
            rows = [token for token in rows if token.active == (request.query["active"] == "true")]
        return page(request, rows, DeployToken.shown)

    async def create(self, request: web.Request) -> web.Response:
        """``POST /projects/:id/deploy_tokens``."""
        _, project = self._gitlab.access.project(request, MAINTAINER)
        given = await Parameters.of(request)
        given.require("name", "scopes")
        scopes, username = given.strings("scopes") or [], given.text("username")
        if any(scope not in SCOPES for scope in scopes):
            raise ApiError(400, {"error": "scopes does not have a valid value"})
        if not scopes:
            raise ApiError.message(400, {"base": ["Scopes can't be blank"]})
        if username and not _USERNAME.fullmatch(username):
            raise ApiError.message(400, {"username": ["can contain only letters, digits, '_', '-', '+', and '.'"]})
        token, value = self._gitlab.deploy_tokens.create(
            project.id, given.text("name"), scopes, username=username, expires_at=_moment(given)
        )
        return web.json_response({**token.shown(), "token": value}, status=201)

    async def show(self, request: web.Request) -> web.Response:
        """``GET /projects/:id/deploy_tokens/:token_id``."""
        _, token = self._token(request)
        return web.json_response(token.shown())

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /projects/:id/deploy_tokens/:token_id``."""
        _, token = self._token(request)
        self._gitlab.deploy_tokens.revoke(token)
        return web.Response(status=204)

    def _token(self, request: web.Request) -> tuple[Project, DeployToken]:
        _, project = self._gitlab.access.project(request, MAINTAINER)
        name = request.match_info["token"]
        for token in self._gitlab.deploy_tokens.of(project.id):
            if str(token.id) == name:
                return project, token
        raise ApiError.not_found("DeployToken")


def _moment(given: Parameters) -> str | None:
    text = given.text("expires_at")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise invalid("expires_at") from None
    return iso((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())
