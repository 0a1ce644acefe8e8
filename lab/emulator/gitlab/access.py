"""Who makes a request, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from aiohttp import BasicAuth, web

from lab.emulator.gitlab import secret_values
from lab.emulator.gitlab.deploy_tokens import DeployTokens
from lab.emulator.gitlab.members import Members
from lab.emulator.gitlab.model import ADMIN, MAINTAINER, NO_ACCESS, OWNER, REPORTER, ApiError, Caller, Project
from lab.emulator.gitlab.namespaces import Namespace, Namespaces
from lab.emulator.gitlab.paging import EXTERNAL_URL
from lab.emulator.gitlab.projects import Projects
from lab.emulator.gitlab.tokens import Token, Tokens
from lab.emulator.gitlab.users import Users

PASSWORD_SCOPES = frozenset({"api", "read_repository", "write_repository", "read_registry", "write_registry"})
"""What a login with name and password may do over git and at the registry: everything its user may."""
ANONYMOUS = Caller("anonymous", "")
_READING = {"GET", "HEAD"}


class Access:
    """Authentication (contracts B.1, D.2) and levels."""

    def __init__(
        self,
        *,
        users: Users,
        tokens: Tokens,
        deploy_tokens: DeployTokens,
        namespaces: Namespaces,
        projects: Projects,
        members: Members,
    ) -> None:
        self._users = users
        self._tokens = tokens
        self._deploy_tokens = deploy_tokens
        self._namespaces = namespaces
        self._projects = projects
        self._members = members
        self.job_tokens: Callable[[str], Caller | None] = lambda _value: None
        """The caller behind a CI_JOB_TOKEN of a job that runs now; set by the part that runs jobs."""

    def api(self, request: web.Request, *scopes: str, job_token: bool = False) -> Caller:
        """The caller of a REST request.

        The token needs ``api`` or one of ``scopes``; ``read_api`` does for reading. ``job_token`` says that the
        endpoint takes ``JOB-TOKEN``. Raises ApiError 401 without valid credentials, 403 for too small a scope.
        """
        caller = self.maybe(request, *scopes, job_token=job_token)
        if caller is None:
            raise ApiError.message(401, "401 Unauthorized")
        return caller

    def maybe(self, request: web.Request, *scopes: str, job_token: bool = False) -> Caller | None:
        """As `api`, but None when the request carries no credentials at all."""
        value = _api_token(request)
        job_value = request.headers.get("JOB-TOKEN") or request.query.get("job_token")
        if value is None and job_value is None:
            return None
        if job_value is not None or (value is not None and self._tokens.find(value) is None):
            caller = self.job_tokens(job_value or value or "") if job_token else None
            if caller is None:
                raise ApiError.message(401, "401 Unauthorized")
            return caller
        return self._token_caller(request, value or "", scopes)

    def basic(self, username: str, password: str) -> Caller | None:
        """The caller behind a login for git or the registry, or None; checks in GitLab's order (contracts D.2)."""
        if not password:
            return None
        if username == "gitlab-ci-token" and (job := self.job_tokens(password)):
            return job
        token = self._tokens.find(password)
        if token and token.active and username and self._is_active(token.user_id):
            self._tokens.used(token)
            return self._caller(token)
        deploy = self._deploy_tokens.find(password)
        if deploy and deploy.active and deploy.username == username:
            return Caller(
                "deploy", username, frozenset(deploy.scopes), project_id=deploy.project_id, token_id=deploy.id
            )
        user = self._users.by_login(username)
        if user and user.state == "active" and secret_values.password_matches(password, user.password):
            return Caller("user", user.username, PASSWORD_SCOPES, user_id=user.id)
        return None

    def level(self, caller: Caller, project: Project) -> int:
        """What ``caller`` is in ``project``: 0 to 50, `ADMIN` for administrators.

        A deploy token counts as reporter of its project (its scopes say more); a job has its user's level, in its
        own project only.
        """
        if caller.kind in {"deploy", "job"} and caller.project_id != project.id:
            return NO_ACCESS
        if caller.kind == "deploy":
            return REPORTER
        if caller.user_id is None:
            return NO_ACCESS
        space = self._namespaces.get(project.data["namespace_id"])
        inherited = self.namespace_level(replace(caller, kind="user"), space) if space else NO_ACCESS
        return max(inherited, self._members.level("project", project.id, caller.user_id))

    def namespace_level(self, caller: Caller, space: Namespace) -> int:
        """What ``caller`` is in a namespace: owner of their own, or by membership in a group or its parents."""
        user = self._users.get(caller.user_id)
        if user is None or caller.kind not in {"user", "bot"}:
            return NO_ACCESS
        if user.admin:
            return ADMIN
        levels = [NO_ACCESS]
        for outer in self._namespaces.chain(space.id):
            levels.append(OWNER if outer.kind == "user" and outer.owner_id == user.id else NO_ACCESS)
            levels.append(self._members.level("group", outer.id, user.id))
        return max(levels)

    def sees(self, caller: Caller | None, project: Project) -> bool:
        """Whether the project exists for ``caller``: by visibility, or by membership."""
        if project.data["visibility"] == "public":
            return True
        if caller is None or caller.kind == "anonymous":
            return False
        if project.data["visibility"] == "internal" and caller.kind in {"user", "bot"}:
            return True
        return self.level(caller, project) > NO_ACCESS

    def project(
        self, request: web.Request, minimum_level: int, *scopes: str, job_token: bool = False
    ) -> tuple[Caller, Project]:
        """The caller and the project in path parameter ``id``.

        Reading up to reporter level needs no membership where the project is public (or internal, for users).
        Raises ApiError 401 as `api` does, 404 when the project is invisible, 403 when the level is too low.
        """
        public = request.method in _READING and minimum_level <= REPORTER
        caller = self.maybe(request, *scopes, job_token=job_token)
        if caller is None and not public:
            raise ApiError.message(401, "401 Unauthorized")
        name = request.match_info["id"]
        project = self._projects.find(name)
        if project is None and (moved := self._projects.moved(name)) and self.sees(caller, moved):
            raise _elsewhere(request, name, moved)
        if project is None or not self.sees(caller, project):
            raise ApiError.not_found("Project")
        caller = caller or ANONYMOUS
        if not public or project.data["visibility"] == "private":
            self.require(caller, project, minimum_level)
        return caller, project

    def group(self, request: web.Request, minimum_level: int) -> Namespace:
        """The group in path parameter ``group``.

        Raises ApiError 401 as `api` does, 404 when the group is invisible, 403 when the level is too low.
        """
        caller = self.api(request)
        group = self._namespaces.find(request.match_info["group"])
        level = self.namespace_level(caller, group) if group else NO_ACCESS
        if group is None or group.kind != "group" or (group.visibility == "private" and level == NO_ACCESS):
            raise ApiError.not_found("Group")
        if level < minimum_level:
            raise ApiError.message(403, "403 Forbidden")
        return group

    def require(self, caller: Caller, project: Project, minimum_level: int) -> None:
        """Raise ApiError 403 unless the caller has the level."""
        if self.level(caller, project) < minimum_level:
            raise ApiError.message(403, "403 Forbidden")

    def administrator(self, request: web.Request) -> Caller:
        """The caller, who must be an administrator; raises ApiError 401 or 403."""
        caller = self.api(request)
        user = self._users.get(caller.user_id)
        if user is None or not user.admin:
            raise ApiError.message(403, "403 Forbidden")
        return caller

    def maintains(self, caller: Caller, project: Project) -> bool:
        """Whether the caller is maintainer or more."""
        return self.level(caller, project) >= MAINTAINER

    def _token_caller(self, request: web.Request, value: str, scopes: tuple[str, ...]) -> Caller:
        token = self._tokens.find(value)
        if token is None:
            raise ApiError.message(401, "401 Unauthorized")
        _check_alive(token)
        if not self._is_active(token.user_id):
            raise ApiError.message(403, "403 Forbidden - Your account has been blocked.")
        accepted = {"api", *scopes} | ({"read_api"} if request.method in _READING else set())
        if not accepted & set(token.scopes):
            raise insufficient_scope(accepted)
        self._tokens.used(token)
        return self._sudo(request, self._caller(token))

    def _is_active(self, user_id: int) -> bool:
        user = self._users.get(user_id)
        return user is not None and user.state == "active"

    def _caller(self, token: Token) -> Caller:
        user = self._users.get(token.user_id)
        kind = "user" if token.project_id is None else "bot"
        name = user.username if user else ""
        return Caller(
            kind, name, frozenset(token.scopes), user_id=token.user_id, project_id=token.project_id, token_id=token.id
        )

    def _sudo(self, request: web.Request, caller: Caller) -> Caller:
        wanted = request.headers.get("Sudo") or request.query.get("sudo")
        if not wanted:
            return caller
        user = self._users.get(caller.user_id)
        if user is None or not user.admin:
            raise ApiError.message(403, "403 Forbidden - Must be admin to use sudo")
        if "sudo" not in caller.scopes:
            raise insufficient_scope({"sudo"})
        other = self._users.get(int(wanted)) if wanted.isdigit() else self._users.by_login(wanted)
        if other is None:
            raise ApiError.message(404, f"404 User with ID or username '{wanted}' Not Found")
        return replace(caller, username=other.username, user_id=other.id)


def credentials(request: web.Request) -> tuple[str, str] | None:
    """User name and password of a Basic login, or None; for git and the registry's token endpoint."""
    header = request.headers.get("Authorization", "")
    if not header.lower().startswith("basic "):
        return None
    try:
        login = BasicAuth.decode(header, encoding="utf-8")
    except ValueError:
        return None
    return login.login, login.password


def insufficient_scope(accepted: set[str]) -> ApiError:
    """403 in the OAuth shape (contracts B.1)."""
    return ApiError(
        403,
        {
            "error": "insufficient_scope",
            "error_description": "The request requires higher privileges than provided by the access token.",
            "scope": " ".join(sorted(accepted)),
        },
    )


def _elsewhere(request: web.Request, name: str, project: Project) -> Exception:
    """What a moved project answers: a redirect for reading, 405 for the rest (contracts B.1)."""
    if request.method not in _READING:
        return ApiError.message(405, "Non GET methods are not allowed for moved projects")
    path = request.rel_url.raw_path.replace(f"/projects/{quote(name, safe='')}", f"/projects/{project.id}", 1)
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    return web.HTTPMovedPermanently(f"{request.app[EXTERNAL_URL]}{path}{query}")


def _check_alive(token: Token) -> None:
    for dead, text in ((token.revoked, "revoked"), (token.expired, "expired")):
        if dead:
            verb = "was" if text == "revoked" else "is"
            description = f"Token {verb} {text}. You have to re-authorize from the user."
            raise ApiError(401, {"error": "invalid_token", "error_description": description})


def _api_token(request: web.Request) -> str | None:
    for value in (request.headers.get("PRIVATE-TOKEN"), request.query.get("private_token")):
        if value:
            return value
    header = request.headers.get("Authorization", "")
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return request.query.get("access_token") or None
