"""Membership: which user has which level in which project or group."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lab.emulator.database import Database
from lab.emulator.gitlab.paging import iso

_KIND = "gitlab.members"


@dataclass
class Member:
    """One membership; ``source`` is ``project`` or ``group``."""

    source: str
    source_id: int
    user_id: int
    access_level: int
    created_at: str = ""
    expires_at: str | None = None


class Members:
    """Every direct membership, in memory and in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._members: dict[str, Member] = {key: Member(**body) for key, body in database.all(_KIND)}

    def put(
        self, source: str, source_id: int, user_id: int, access_level: int, expires_at: str | None = None
    ) -> Member:
        """Add a membership or change it."""
        key = _key(source, source_id, user_id)
        known = self._members.get(key)
        created = known.created_at if known else iso()
        member = Member(source, source_id, user_id, access_level, created, expires_at)
        self._members[key] = member
        self._database.put(_KIND, key, asdict(member))
        return member

    def get(self, source: str, source_id: int, user_id: int) -> Member | None:
        """The direct membership of a user."""
        return self._members.get(_key(source, source_id, user_id))

    def of(self, source: str, source_id: int) -> list[Member]:
        """Direct members of one project or group, by user id."""
        found = [m for m in self._members.values() if m.source == source and m.source_id == source_id]
        return sorted(found, key=lambda member: member.user_id)

    def level(self, source: str, source_id: int, user_id: int) -> int:
        """The level of the direct membership, 0 without one or when it has expired."""
        member = self.get(source, source_id, user_id)
        if member is None or (member.expires_at and member.expires_at <= iso()[:10]):
            return 0
        return member.access_level

    def remove(self, source: str, source_id: int, user_id: int) -> None:
        """End a membership."""
        key = _key(source, source_id, user_id)
        self._members.pop(key, None)
        self._database.delete(_KIND, key)

    def forget(self, source: str, source_id: int) -> None:
        """End every membership of a project or group that goes away."""
        for member in self.of(source, source_id):
            self.remove(source, source_id, member.user_id)

    def forget_user(self, user_id: int) -> None:
        """End every membership of a user who goes away."""
        for member in [m for m in self._members.values() if m.user_id == user_id]:
            self.remove(member.source, member.source_id, user_id)


def _key(source: str, source_id: int, user_id: int) -> str:
    return f"{source}:{source_id}:{user_id}"
