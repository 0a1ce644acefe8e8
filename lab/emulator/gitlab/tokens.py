"""Personal and project access tokens; only digests of their values are stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta, timezone

from lab.emulator.database import Database
from lab.emulator.gitlab import secret_values
from lab.emulator.gitlab.model import ApiError
from lab.emulator.gitlab.paging import iso

SCOPES = (
    "api", "read_api", "read_user", "create_runner", "manage_runner", "k8s_proxy", "self_rotate", "read_repository",
    "write_repository", "read_registry", "write_registry", "read_virtual_registry", "write_virtual_registry",
    "ai_features", "read_service_ping", "sudo", "admin_mode",
)  # fmt: skip
PROJECT_SCOPES = tuple(s for s in SCOPES if s not in {"sudo", "admin_mode", "read_user", "read_service_ping"})
LONGEST_DAYS = 365
_KIND = "gitlab.tokens"
_USE_WRITTEN_AFTER = 600  # GitLab records a token's use at most every ten minutes


@dataclass
class Token:
    """An access token of a user; ``project_id`` is set for a project access token, whose user is a bot."""

    id: int
    user_id: int
    name: str
    scopes: list[str]
    digest: str = field(repr=False)
    created_at: str = ""
    expires_at: str | None = None
    """``YYYY-MM-DD``; the token is dead from 00:00 UTC of that day."""
    description: str | None = None
    project_id: int | None = None
    revoked: bool = False
    last_used_at: str | None = None
    family: int = 0
    """Id of the first token of a row of rotations."""

    @property
    def expired(self) -> bool:
        """Whether the day of expiry has begun (UTC)."""
        return self.expires_at is not None and self.expires_at <= today().isoformat()

    @property
    def active(self) -> bool:
        """Whether the token may be used."""
        return not (self.revoked or self.expired)


class Tokens:
    """Every access token, in memory and in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens = {int(key): Token(**body) for key, body in database.all(_KIND)}
        self._by_digest = {token.digest: token for token in self._tokens.values()}
        self._used: dict[int, datetime] = {}

    def find(self, value: str) -> Token | None:
        """The token with this value, also a dead one."""
        return self._by_digest.get(secret_values.digest(value))

    def get(self, token_id: int) -> Token | None:
        """The token with this id."""
        return self._tokens.get(token_id)

    def all(self) -> list[Token]:
        """Every token, oldest first."""
        return [self._tokens[key] for key in sorted(self._tokens)]

    def create(
        self,
        user_id: int,
        name: str,
        scopes: list[str],
        *,
        expires_at: str | None = None,
        description: str | None = None,
        project_id: int | None = None,
        value: str = "",
        family: int = 0,
    ) -> tuple[Token, str]:
        """Add a token; answers it with its value, which cannot be asked for again."""
        value = value or secret_values.new("glpat-")
        token_id = self._database.next_id(_KIND)
        token = Token(
            id=token_id,
            user_id=user_id,
            name=name,
            scopes=scopes,
            digest=secret_values.digest(value),
            created_at=iso(),
            expires_at=expires_at or latest_expiry(),
            description=description,
            project_id=project_id,
            family=family or token_id,
        )
        self._tokens[token_id] = token
        self._by_digest[token.digest] = token
        self.save(token)
        return token, value

    def save(self, token: Token) -> None:
        """Store a changed token."""
        self._database.put(_KIND, token.id, asdict(token))

    def revoke(self, token: Token) -> None:
        """Make the token useless for good."""
        token.revoked = True
        self.save(token)

    def rotate(self, token: Token, expires_at: str | None) -> tuple[Token, str]:
        """Revoke ``token`` and answer its successor and value.

        A token that was revoked already brings its whole family down (contracts B.11). Raises ApiError 400, then.
        """
        if token.revoked:
            for relative in self.all():
                if relative.family == token.family and relative.active:
                    self.revoke(relative)
            raise ApiError.message(400, "400 Bad request - Token already revoked")
        with self._database.transaction():
            self.revoke(token)
            return self.create(
                token.user_id,
                token.name,
                token.scopes,
                expires_at=expires_at or (today() + timedelta(days=7)).isoformat(),
                description=token.description,
                project_id=token.project_id,
                family=token.family,
            )

    def used(self, token: Token) -> None:
        """Note that the token was used just now."""
        now = datetime.now(timezone.utc)
        last = self._used.get(token.id)
        if last is None or (now - last).total_seconds() > _USE_WRITTEN_AFTER:
            self._used[token.id] = now
            token.last_used_at = iso()
            self.save(token)

    def forget(self, token: Token) -> None:
        """Drop a token, with the project or user that it belonged to."""
        self._tokens.pop(token.id, None)
        self._by_digest.pop(token.digest, None)
        self._database.delete(_KIND, token.id)


def today() -> date:
    """The day in UTC, which is what expiry goes by."""
    return datetime.now(timezone.utc).date()


def latest_expiry() -> str:
    """The last day that a new token may expire on (contracts A.9)."""
    return (today() + timedelta(days=LONGEST_DAYS)).isoformat()
