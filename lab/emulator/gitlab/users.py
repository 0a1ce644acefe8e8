"""Users and their store: people and the bots behind project access tokens."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lab.emulator.database import Database
from lab.emulator.gitlab import secret_values
from lab.emulator.gitlab.paging import iso

_KIND = "gitlab.users"


@dataclass
class User:
    """A user; ``password`` is a digest, empty for a user who cannot log in with one."""

    id: int
    username: str
    name: str
    email: str
    admin: bool = False
    bot: bool = False
    state: str = "active"
    created_at: str = ""
    password: str = field(default="", repr=False)

    def brief(self, external_url: str) -> dict[str, Any]:
        """The short API form that other objects embed."""
        return {
            "id": self.id,
            "username": self.username,
            "public_email": None,
            "name": self.name,
            "state": self.state,
            "locked": False,
            "avatar_url": None,
            "web_url": f"{external_url}/{self.username}",
        }


class Users:
    """Every user, in memory and in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._users = {int(key): User(**body) for key, body in database.all(_KIND)}

    def get(self, user_id: int | None) -> User | None:
        """The user with this id."""
        return self._users.get(user_id) if user_id is not None else None

    def by_login(self, login: str) -> User | None:
        """The user with this name or e-mail address; case does not matter, as in GitLab."""
        wanted = login.lower()
        return next((u for u in self._users.values() if wanted in {u.username.lower(), u.email.lower()}), None)

    def all(self) -> list[User]:
        """Every user, oldest first."""
        return [self._users[key] for key in sorted(self._users)]

    def create(
        self, username: str, name: str, email: str, *, admin: bool = False, bot: bool = False, password: str = ""
    ) -> User:
        """Add a user; the caller has checked that name and address are free."""
        user = User(
            id=self._database.next_id(_KIND),
            username=username,
            name=name,
            email=email,
            admin=admin,
            bot=bot,
            created_at=iso(),
            password=secret_values.password_digest(password) if password else "",
        )
        self.save(user)
        return user

    def save(self, user: User) -> None:
        """Store a changed user."""
        self._users[user.id] = user
        self._database.put(_KIND, user.id, asdict(user))

    def remove(self, user: User) -> None:
        """Forget a user."""
        self._users.pop(user.id, None)
        self._database.delete(_KIND, user.id)
