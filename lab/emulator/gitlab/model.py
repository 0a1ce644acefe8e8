"""The nouns that GitLab's parts share: projects, callers, pushes and API errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NO_ACCESS, GUEST, REPORTER, DEVELOPER, MAINTAINER, OWNER, ADMIN = 0, 10, 20, 30, 40, 50, 60
ZERO_SHA = "0" * 40


class ApiError(Exception):
    """A REST answer that is not a success; the app's middleware renders it.

    ``body`` is the JSON document, in one of GitLab's shapes: ``{"message": ...}`` or ``{"error": ...}``.
    """

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body

    @classmethod
    def message(cls, status: int, message: Any) -> ApiError:
        """The most common shape, ``{"message": ...}``."""
        return cls(status, {"message": message})

    @classmethod
    def not_found(cls, thing: str) -> ApiError:
        """404 with GitLab's text, for example ``404 Project Not Found``."""
        return cls.message(404, f"404 {thing} Not Found")


@dataclass
class Project:
    """A project; ``data`` holds every attribute the API shows, in API form (``path``, ``visibility`` ...)."""

    id: int
    path_with_namespace: str
    data: dict[str, Any]

    @property
    def default_branch(self) -> str | None:
        """The branch shown first, or None while the repository is empty."""
        value = self.data.get("default_branch")
        return str(value) if value else None


@dataclass(frozen=True)
class Caller:
    """Who makes a request, after authentication.

    ``kind`` is ``user``, ``bot`` (project access token), ``deploy`` (deploy token) or ``job`` (CI_JOB_TOKEN).
    A job acts with the rights of the user who triggered it, inside its own project.
    """

    kind: str
    username: str
    scopes: frozenset[str] = field(default_factory=frozenset)
    user_id: int | None = None
    project_id: int | None = None
    """The only project of a bot, deploy token or job; None for a user."""
    job_id: int | None = None
    token_id: int | None = None


@dataclass(frozen=True)
class Push:
    """One ref moved by a push or by the API, after it is stored."""

    project: Project
    ref: str
    """Full name, ``refs/heads/master``."""
    before: str
    after: str
    """40 hex digits each; `ZERO_SHA` for a ref created or removed."""
    caller: Caller
    options: tuple[str, ...] = ()
    """Push options as given, for example ``ci.skip``."""
    position: int = 0
    """Place among the refs of the same push; only the first ones get a pipeline."""

    @property
    def branch(self) -> str | None:
        """The branch's name, or None for a tag."""
        prefix = "refs/heads/"
        return self.ref[len(prefix) :] if self.ref.startswith(prefix) else None
