"""Namespaces: one for each person, and groups."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lab.emulator.database import Database
from lab.emulator.gitlab.paging import iso

_KIND = "gitlab.namespaces"


@dataclass
class Namespace:
    """Where projects live: ``kind`` is ``user`` or ``group``."""

    id: int
    kind: str
    path: str
    name: str
    full_path: str
    owner_id: int | None = None
    parent_id: int | None = None
    visibility: str = "private"
    description: str = ""
    created_at: str = ""

    def brief(self, external_url: str) -> dict[str, Any]:
        """The API form that projects embed."""
        prefix = "/groups/" if self.kind == "group" else "/"
        return {
            "id": self.id,
            "name": self.name,
            "path": self.path,
            "kind": self.kind,
            "full_path": self.full_path,
            "parent_id": self.parent_id,
            "avatar_url": None,
            "web_url": f"{external_url}{prefix}{self.full_path}",
        }


class Namespaces:
    """Every namespace, in memory and in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._spaces = {int(key): Namespace(**body) for key, body in database.all(_KIND)}

    def get(self, namespace_id: int | None) -> Namespace | None:
        """The namespace with this id."""
        return self._spaces.get(namespace_id) if namespace_id is not None else None

    def by_path(self, full_path: str) -> Namespace | None:
        """The namespace with this full path; case does not matter."""
        wanted = full_path.lower()
        return next((space for space in self._spaces.values() if space.full_path.lower() == wanted), None)

    def find(self, text: str) -> Namespace | None:
        """By id or full path, as API paths give it."""
        return (self.get(int(text)) if text.isdigit() else None) or self.by_path(text)

    def of_user(self, user_id: int) -> Namespace | None:
        """A person's own namespace."""
        return next((s for s in self._spaces.values() if s.kind == "user" and s.owner_id == user_id), None)

    def all(self) -> list[Namespace]:
        """Every namespace, oldest first."""
        return [self._spaces[key] for key in sorted(self._spaces)]

    def create(self, kind: str, path: str, name: str, *, parent: Namespace | None = None, **more: Any) -> Namespace:
        """Add a namespace; ``more`` are further attributes of `Namespace`."""
        full_path = f"{parent.full_path}/{path}" if parent else path
        space = Namespace(
            id=self._database.next_id(_KIND),
            kind=kind,
            path=path,
            name=name,
            full_path=full_path,
            parent_id=parent.id if parent else None,
            created_at=iso(),
            **more,
        )
        self.save(space)
        return space

    def save(self, space: Namespace) -> None:
        """Store a changed namespace."""
        self._spaces[space.id] = space
        self._database.put(_KIND, space.id, asdict(space))

    def remove(self, space: Namespace) -> None:
        """Forget a namespace."""
        self._spaces.pop(space.id, None)
        self._database.delete(_KIND, space.id)

    def chain(self, namespace_id: int | None) -> list[Namespace]:
        """The namespace and its ancestors, innermost first."""
        found: list[Namespace] = []
        while space := self.get(namespace_id):
            found.append(space)
            namespace_id = space.parent_id
        return found
