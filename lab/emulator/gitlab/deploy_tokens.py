"""Deploy tokens: credentials of a project for git and the registry, with no user behind them (contracts B.12)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lab.emulator.database import Database
from lab.emulator.gitlab import secret_values
from lab.emulator.gitlab.paging import iso

SCOPES = (
    "read_repository", "read_registry", "write_registry", "read_package_registry", "write_package_registry",
    "read_virtual_registry", "write_virtual_registry",
)  # fmt: skip
FOR_JOBS = "gitlab-deploy-token"
"""A token of this name is offered to jobs as ``CI_DEPLOY_USER`` and ``CI_DEPLOY_PASSWORD``."""
_KIND = "gitlab.deploy_tokens"


@dataclass
class DeployToken:
    """A deploy token; the value's digest is all that is kept of it."""

    id: int
    project_id: int
    name: str
    username: str
    scopes: list[str]
    digest: str = field(repr=False)
    created_at: str = ""
    expires_at: str | None = None
    """Timestamp as the API prints it, or None: never."""
    revoked: bool = False
    value: str = field(default="", repr=False)
    """The plain value, kept for `FOR_JOBS` only: jobs are given it."""

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= iso()

    @property
    def active(self) -> bool:
        """Whether the token may be used."""
        return not (self.revoked or self.expired)

    def shown(self) -> dict[str, Any]:
        """The API form, without the value."""
        return {
            "id": self.id,
            "name": self.name,
            "username": self.username,
            "expires_at": self.expires_at,
            "scopes": self.scopes,
            "revoked": self.revoked,
            "expired": self.expired,
        }


class DeployTokens:
    """Every deploy token, in memory and in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens = {int(key): DeployToken(**body) for key, body in database.all(_KIND)}
        self._by_digest = {token.digest: token for token in self._tokens.values()}

    def find(self, value: str) -> DeployToken | None:
        """The token with this value, also a dead one."""
        return self._by_digest.get(secret_values.digest(value))

    def of(self, project_id: int) -> list[DeployToken]:
        """The tokens of a project, oldest first; revoked ones are gone for the API."""
        return [t for _, t in sorted(self._tokens.items()) if t.project_id == project_id and not t.revoked]

    def all(self) -> list[DeployToken]:
        """Every token that is not revoked."""
        return [t for _, t in sorted(self._tokens.items()) if not t.revoked]

    def create(
        self, project_id: int, name: str, scopes: list[str], *, username: str = "", expires_at: str | None = None
    ) -> tuple[DeployToken, str]:
        """Add a token; answers it with its value, which cannot be asked for again."""
        token_id = self._database.next_id(_KIND)
        value = secret_values.new("gldt-")
        token = DeployToken(
            id=token_id,
            project_id=project_id,
            name=name,
            username=username or f"gitlab+deploy-token-{token_id}",
            scopes=scopes,
            digest=secret_values.digest(value),
            created_at=iso(),
            expires_at=expires_at,
            value=value if name == FOR_JOBS else "",
        )
        self._tokens[token_id] = token
        self._by_digest[token.digest] = token
        self._database.put(_KIND, token_id, asdict(token))
        return token, value

    def revoke(self, token: DeployToken) -> None:
        """Make the token useless for good."""
        token.revoked = True
        self._database.put(_KIND, token.id, asdict(token))

    def forget(self, project_id: int) -> None:
        """Drop the tokens of a project that goes away."""
        for token in [t for t in self._tokens.values() if t.project_id == project_id]:
            del self._tokens[token.id]
            self._by_digest.pop(token.digest, None)
            self._database.delete(_KIND, token.id)
