"""Work that must not be lost when the process is killed: written down before it begins, forgotten when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lab.emulator.database import Database
from lab.emulator.gitlab.model import Caller, Push
from lab.emulator.gitlab.projects import Projects


class Journal:
    """Pushes that wait for something, under a name of their own in the database."""

    def __init__(self, database: Database, projects: Projects, name: str) -> None:
        self._database = database
        self._projects = projects
        self._name = name

    def note(self, pushes: list[Push], **more: Any) -> int:
        """Write the pushes down with ``more`` (JSON); answers the entry's number."""
        entry = self._database.next_id(self._name)
        self._database.put(self._name, entry, {"pushes": [_dump(push) for push in pushes], **more})
        return entry

    def forget(self, entry: int) -> None:
        """The work is done."""
        self._database.delete(self._name, entry)

    def left(self) -> Iterator[tuple[int, list[Push], dict[str, Any]]]:
        """What an earlier process did not finish, oldest first; pushes to projects that are gone are left out."""
        rows = sorted((int(key), body) for key, body in self._database.all(self._name))
        for entry, body in rows:
            pushes = [push for row in body["pushes"] if (push := self._load(row))]
            yield entry, pushes, body

    def _load(self, row: dict[str, Any]) -> Push | None:
        project = self._projects.get(int(row["project"]))
        if project is None:
            return None
        caller = Caller(**{**row["caller"], "scopes": frozenset(row["caller"]["scopes"])})
        return Push(project, row["ref"], row["before"], row["after"], caller, tuple(row["options"]))


def _dump(push: Push) -> dict[str, Any]:
    return {
        "project": push.project.id,
        "ref": push.ref,
        "before": push.before,
        "after": push.after,
        "caller": {**vars(push.caller), "scopes": sorted(push.caller.scopes)},
        "options": list(push.options),
    }
