"""Projects and their store."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.gitlab.model import Project
from lab.emulator.gitlab.namespaces import Namespace, Namespaces
from lab.emulator.gitlab.paging import iso
from lab.emulator.gitlab.project_attributes import switches

_KIND, _MOVED = "gitlab.projects", "gitlab.moved_projects"
VISIBILITY = {"private": 0, "internal": 10, "public": 20}


class Projects:
    """Every project, in memory and in the database.

    ``Project.data`` is the API's form. Addresses in it follow the configuration: they are made anew at each start.
    """

    def __init__(self, config: Config, database: Database, namespaces: Namespaces) -> None:
        self._config = config
        self._database = database
        self._namespaces = namespaces
        self._projects: dict[int, Project] = {}
        self._moved: dict[str, int] = dict(database.all(_MOVED))
        for key, body in database.all(_KIND):
            project = Project(int(key), "", body)
            self._derive(project)
            self._projects[project.id] = project

    def get(self, project_id: int) -> Project | None:
        """The project with this id, also one that is marked for deletion."""
        return self._projects.get(project_id)

    def by_path(self, path: str) -> Project | None:
        """The project with this full path (``root/hichat``); case does not matter."""
        wanted = path.lower()
        return next((p for p in self._projects.values() if p.path_with_namespace.lower() == wanted), None)

    def find(self, text: str) -> Project | None:
        """By id, path or URL-encoded path, as API paths give it."""
        if text.isdigit():
            return self.get(int(text))
        return self.by_path(unquote(text))

    def moved(self, text: str) -> Project | None:
        """The project that had this path (as in `find`) before it was given another one."""
        return self.get(self._moved.get(unquote(text).lower(), 0))

    def remember_path(self, project: Project, old: str) -> None:
        """Have the old full path lead to the project until another project takes it."""
        self._moved[old.lower()] = project.id
        self._database.put(_MOVED, old.lower(), project.id)

    def all(self) -> list[Project]:
        """Every project, oldest first."""
        return [self._projects[key] for key in sorted(self._projects)]

    def reserve(self, namespace: Namespace, path: str, attributes: dict[str, Any], creator_id: int) -> Project:
        """A new project with its id, not yet saved; the caller has checked ``attributes`` (API form)."""
        project_id = self._database.next_id(_KIND)
        now = iso()
        data = {
            "id": project_id,
            "path": path,
            "name": path,
            "description": None,
            "default_branch": None,
            "empty_repo": True,
            "namespace_id": namespace.id,
            "creator_id": creator_id,
            "created_at": now,
            "updated_at": now,
            "last_activity_at": now,
            "marked_for_deletion_on": None,
            **attributes,
        }
        project = Project(project_id, "", data)
        self._derive(project)
        return project

    def save(self, project: Project) -> None:
        """Store a changed project; its addresses follow its path and namespace."""
        self._derive(project)
        self._forget_path(project.path_with_namespace.lower())
        self._projects[project.id] = project
        self._database.put(_KIND, project.id, project.data)

    def remove(self, project: Project) -> None:
        """Forget a project for good."""
        self._projects.pop(project.id, None)
        self._database.delete(_KIND, project.id)
        for path in [path for path, owner in self._moved.items() if owner == project.id]:
            self._forget_path(path)

    def _forget_path(self, path: str) -> None:
        if self._moved.pop(path, None):
            self._database.delete(_MOVED, path)

    def _derive(self, project: Project) -> None:
        data, base = project.data, self._config.gitlab_url
        namespace = self._namespaces.get(int(data["namespace_id"]))
        if namespace is None:
            raise ValueError(f"project {project.id} is in namespace {data['namespace_id']}, which does not exist")
        path = f"{namespace.full_path}/{data['path']}"
        host = base.partition("://")[2].partition("/")[0].partition(":")[0]
        api = f"{base}/api/v4/projects/{project.id}"
        project.path_with_namespace = path
        data |= {
            "name_with_namespace": f"{namespace.name} / {data['name']}",
            "path_with_namespace": path,
            "namespace": namespace.brief(base),
            "web_url": f"{base}/{path}",
            "http_url_to_repo": f"{base}/{path}.git",
            "ssh_url_to_repo": f"git@{host}:{path}.git",
            "readme_url": None,
            **switches(data),
            "marked_for_deletion_at": data["marked_for_deletion_on"],
            "container_registry_image_prefix": f"{self._config.registry}/{path}".lower(),
            "_links": {
                "self": api,
                "repo_branches": f"{api}/repository/branches",
                "labels": f"{api}/labels",
                "events": f"{api}/events",
                "members": f"{api}/members",
                "cluster_agents": f"{api}/cluster_agents",
            },
        }
