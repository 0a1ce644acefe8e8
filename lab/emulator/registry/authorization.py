"""Who may do what at the registry: GitLab's decision when it makes a token, the registry's when it sees one.

Sources: GitLab app/services/auth/container_registry_authentication_service.rb, lib/gitlab/auth.rb,
app/controllers/jwt_controller.rb; distribution registry/auth/token/accesscontroller.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from aiohttp import web

from lab.emulator.docker.references import PATH
from lab.emulator.gitlab.access import credentials
from lab.emulator.gitlab.model import DEVELOPER, MAINTAINER, REPORTER, Caller, Project
from lab.emulator.registry import tokens
from lab.emulator.registry.errors import DistributionError
from lab.emulator.registry.tokens import Key, TokenError

SERVICE = tokens.AUDIENCE
_KINDS = {"user": "personal_access_token", "bot": "personal_access_token", "deploy": "deploy_token", "job": "build"}
DENIED_LOGIN = (
    "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or "
    "you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, "
    "or improperly scoped. See {help}"
)
_HELP = "/help/topics/git/troubleshooting_git.md#error-on-git-fetch-http-basic-access-denied"
_PULL = {"api", "read_api", "read_registry"}
_PUSH = {"api", "write_registry"}


class Access(Protocol):
    """What is needed of GitLab's own access rules."""

    def basic(self, username: str, password: str) -> Caller | None:
        """The caller behind a login."""

    def level(self, caller: Caller, project: Project) -> int:
        """What the caller is in the project."""

    def administers(self, caller: Caller) -> bool:
        """Whether the caller is an administrator."""


class TokenService:
    """``/jwt/auth``: who logs in how, and which of the asked actions a token gets."""

    def __init__(
        self,
        key: Key,
        access: Access,
        *,
        project_of: Callable[[str], Project | None],
        pushing: Callable[[str, Project], None],
        lifetime: Callable[[], float],
        external_url: str,
    ) -> None:
        """``pushing`` is called when a push to a repository of a project is authorised, before anything is pushed.

        ``lifetime`` is how many seconds a new token lives.
        """
        self._key = key
        self._access = access
        self._project_of = project_of
        self._pushing = pushing
        self._lifetime = lifetime
        self._external_url = external_url

    def add_routes(self, app: web.Application) -> None:
        """Register the route; POST is refused with an empty 404, as GitLab does."""
        app.router.add_get("/jwt/auth", self.answer)
        app.router.add_post("/jwt/auth", self._refuse)

    async def _refuse(self, _request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def answer(self, request: web.Request) -> web.Response:
        """Give a token for what of the wish is allowed; the rest is dropped silently."""
        if request.query.get("service") != SERVICE:
            return web.Response(status=404)
        caller: Caller | None = None
        if "Authorization" in request.headers:
            login = credentials(request)
            caller = self._access.basic(*login) if login else None
            if caller is None:
                return _refusal(401, "UNAUTHORIZED", DENIED_LOGIN.format(help=self._external_url + _HELP))
            if caller.kind != "job" and not caller.scopes & (_PULL | _PUSH):
                return _refusal(403, "DENIED", "access forbidden")
        wishes = [wish for text in request.query.getall("scope", []) for wish in text.split(" ") if wish]
        granted = [entry for wish in wishes if (entry := self._granted(caller, wish))]
        if caller is None and not granted:
            return _refusal(403, "DENIED", "access forbidden")
        return web.json_response({"token": self._token(caller, granted)})

    def _token(self, caller: Caller | None, granted: list[dict[str, Any]]) -> str:
        seconds = self._lifetime()
        if caller is None:
            return tokens.issue(self._key, subject=None, kind="none", user={}, access=granted, lifetime=seconds)
        kind = _KINDS.get(caller.kind, caller.kind)
        if caller.kind == "user" and caller.token_id is None:
            kind = "gitlab_or_ldap"
        user: dict[str, Any] = {"token_type": kind, "username": caller.username}
        user |= {"deploy_token_id": caller.token_id} if caller.kind == "deploy" else {"user_id": caller.user_id}
        subject = None if caller.kind == "deploy" else caller.username
        return tokens.issue(self._key, subject=subject, kind=kind, user=user, access=granted, lifetime=seconds)

    def _granted(self, caller: Caller | None, wish: str) -> dict[str, Any] | None:
        kind, _, rest = wish.partition(":")
        name, _, listed = rest.rpartition(":")
        actions = listed.split(",")
        if kind == "registry":
            allowed = name == "catalog" and actions == ["*"] and caller is not None and self._access.administers(caller)
            return {"type": kind, "name": name, "actions": actions} if allowed else None
        project = self._project_of(name) if kind == "repository" and PATH.match(name) else None
        if project is None:
            return None
        allowed_actions = [action for action in actions if self._may(caller, project, action)]
        if not allowed_actions:
            return None
        if "push" in allowed_actions:
            self._pushing(name, project)
        meta = {"project_path": project.path_with_namespace.lower(), "project_id": project.id}
        return {"type": kind, "name": name, "actions": allowed_actions, "meta": meta}

    def _may(self, caller: Caller | None, project: Project, action: str) -> bool:
        enabled = project.data.get("container_registry_access_level", "enabled")
        if enabled == "disabled" or project.data.get("container_registry_enabled") is False:
            return False
        if action == "pull":
            return self._may_pull(caller, project, everybody=enabled == "enabled")
        if caller is None:
            return False
        if caller.kind == "job":
            return action in {"push", "delete"} and caller.project_id == project.id
        if caller.kind == "deploy":
            return action == "push" and caller.project_id == project.id and "write_registry" in caller.scopes
        level = self._access.level(caller, project)
        if action == "push":
            return bool(caller.scopes & _PUSH) and level >= DEVELOPER
        return action in {"delete", "*"} and "api" in caller.scopes and level >= MAINTAINER

    def _may_pull(self, caller: Caller | None, project: Project, *, everybody: bool) -> bool:
        visibility = project.data.get("visibility", "private")
        if everybody and visibility == "public" and (caller is None or caller.scopes & _PULL or caller.kind == "job"):
            return True
        if caller is None:
            return False
        if caller.kind == "job":
            return caller.project_id == project.id or self._access.level(caller, project) >= REPORTER
        if not caller.scopes & _PULL:
            return False
        if everybody and visibility == "internal" and caller.kind != "deploy":
            return True
        return self._access.level(caller, project) >= REPORTER


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)


class Gate:
    """The registry's side: a request needs a token that allows what it does."""

    def __init__(self, key: Key, realm: str) -> None:
        self._key = key
        self._realm = realm

    def require(self, request: web.Request, *wanted: tuple[str, str, str]) -> None:
        """Raise DistributionError 401 with a challenge unless the token allows all of (type, name, action)."""
        try:
            access = self._access(request)
        except TokenError as error:
            raise self._challenge(wanted, error.args[0]) from error
        if not all(_covers(access, *each) for each in wanted):
            raise self._challenge(wanted, "insufficient_scope")

    def _access(self, request: web.Request) -> list[dict[str, Any]]:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise TokenError(None)
        try:
            return tokens.check(self._key, token.strip())
        except TokenError as error:
            raise TokenError("invalid_token") from error

    def _challenge(self, wanted: tuple[tuple[str, str, str], ...], problem: str | None) -> DistributionError:
        parts = {"realm": self._realm, "service": SERVICE}
        if wanted:
            grouped: dict[tuple[str, str], list[str]] = {}
            for kind, name, action in wanted:
                grouped.setdefault((kind, name), []).append(action)
            parts["scope"] = " ".join(f"{kind}:{name}:{','.join(acts)}" for (kind, name), acts in grouped.items())
        if problem:
            parts["error"] = problem
        header = "Bearer " + ",".join(f'{key}="{value}"' for key, value in parts.items())
        detail = [{"Type": kind, "Class": "", "Name": name, "Action": action} for kind, name, action in wanted]
        return DistributionError("UNAUTHORIZED", detail=detail or None, headers={"WWW-Authenticate": header})


def _covers(access: list[dict[str, Any]], kind: str, name: str, action: str) -> bool:
    return any(
        entry.get("type") == kind and entry.get("name") == name and {action, "*"} & set(entry.get("actions", ()))
        for entry in access
    )
