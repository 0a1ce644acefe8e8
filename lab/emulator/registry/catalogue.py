"""The registry's repositories as GitLab knows them: rows with ids, and their tags in detail."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from lab.emulator.database import Database
from lab.emulator.gitlab.model import Project
from lab.emulator.gitlab.paging import iso
from lab.emulator.registry.storage import Storage

_KIND = "registry.repositories"
_SHORT = 9


@dataclass(frozen=True)
class Repository:
    """A row: it appears when a push is authorised, before any tag does (contracts D.1)."""

    id: int
    project_id: int
    path: str
    """Full path in the registry, ``root/hichat`` or ``root/hichat/part``."""
    name: str
    """What follows the project's path; empty for the root image."""
    created_at: str


class Catalogue:
    """All rows, in memory and in the database."""

    def __init__(self, database: Database, storage: Storage, registry: str) -> None:
        self._database = database
        self._storage = storage
        self._registry = registry
        self._rows = {int(key): Repository(**body) for key, body in database.all(_KIND)}

    def ensure(self, path: str, project: Project) -> None:
        """Make the row of a repository unless there is one."""
        if any(row.path == path for row in self._rows.values()):
            return
        name = path[len(project.path_with_namespace) :].lstrip("/")
        row = Repository(self._database.next_id(_KIND), project.id, path, name, iso())
        self._put(row)

    def of_project(self, project_id: int) -> list[Repository]:
        """The rows of a project, oldest first."""
        return [self._rows[key] for key in sorted(self._rows) if self._rows[key].project_id == project_id]

    def get(self, repository_id: int) -> Repository | None:
        """The row with this id."""
        return self._rows.get(repository_id)

    def rename(self, project: Project) -> None:
        """Let the rows of a project follow its path; can be repeated, also after half of it was done."""
        for row in self.of_project(project.id):
            path = "/".join(part for part in (project.path_with_namespace.lower(), row.name) if part)
            if path != row.path:
                self._storage.rename_repository(row.path, path)
                self._put(replace(row, path=path))

    def remove(self, row: Repository) -> None:
        """Forget a row and everything stored under its path."""
        self._storage.remove_repository(row.path)
        self._rows.pop(row.id, None)
        self._database.delete(_KIND, row.id)

    def tags(self, row: Repository) -> list[str]:
        """The tags of a row, in order."""
        return self._storage.tags(row.path)

    def describe(self, row: Repository, *, tags: bool = False, tags_count: bool = False) -> dict[str, Any]:
        """The API's form (contracts B.17)."""
        shown: dict[str, Any] = {
            "id": row.id,
            "name": row.name,
            "path": row.path,
            "project_id": row.project_id,
            "location": f"{self._registry}/{row.path}",
            "created_at": row.created_at,
            "cleanup_policy_started_at": None,
            "status": None,
        }
        if tags or tags_count:
            shown["tags_count"] = len(self.tags(row))
        if tags:
            shown["tags"] = [self.tag(row, name) for name in self.tags(row)]
        return shown

    def tag(self, row: Repository, name: str) -> dict[str, Any]:
        """A tag in a list."""
        return {"name": name, "path": f"{row.path}:{name}", "location": f"{self._registry}/{row.path}:{name}"}

    def tag_in_detail(self, row: Repository, name: str) -> dict[str, Any] | None:
        """One tag with what its manifest and configuration say, or None."""
        digest = self._storage.tagged(row.path, name)
        manifest = self._storage.manifest(row.path, digest) if digest else None
        if manifest is None:
            return None
        document = manifest.document
        config = document.get("config") or {}
        revision = str(config.get("digest", "")).partition(":")[2]
        return {
            **self.tag(row, name),
            "revision": revision or None,
            "short_revision": revision[:_SHORT] or None,
            "digest": manifest.digest,
            "created_at": self._created(row, config),
            "total_size": sum(int(layer.get("size", 0)) for layer in document.get("layers") or []),
        }

    def _created(self, row: Repository, config: dict[str, Any]) -> str | None:
        """When the image says it was made."""
        created = self._config(row, config).get("created")
        if not created:
            return None
        whole = str(created).partition(".")[0].rstrip("Z")
        return f"{whole}.000+00:00"

    def _config(self, row: Repository, config: dict[str, Any]) -> dict[str, Any]:
        content = self._storage.document(row.path, str(config.get("digest", "")))
        return content if isinstance(content, dict) else {}

    def _put(self, row: Repository) -> None:
        self._rows[row.id] = row
        self._database.put(_KIND, row.id, asdict(row))
