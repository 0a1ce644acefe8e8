"""What every page of GitLab shares: the parts it reads from, and the frame around a project's pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from lab.emulator.gitlab.model import Project
from lab.emulator.gitlab.server import GitLab
from lab.emulator.pages.html import Child, element, page


class CiView(Protocol):
    """What pages read from CI."""

    def pipelines_of(self, project_id: int) -> list[dict[str, Any]]:
        """A project's pipelines in API form, newest first."""

    def jobs_of(self, pipeline_id: int) -> list[dict[str, Any]]:
        """A pipeline's jobs in API form, in order of stages."""

    def trace(self, job_id: int) -> bytes:
        """What a job has printed."""

    def runners(self) -> list[dict[str, Any]]:
        """Every runner in API form."""


class RegistryView(Protocol):
    """What pages read from the registry."""

    def repositories_of(self, project_id: int) -> list[dict[str, Any]]:
        """A project's image repositories with their ``tags``."""


@dataclass(frozen=True)
class Site:
    """The parts of GitLab behind the pages."""

    gitlab: GitLab
    ci: CiView
    registry: RegistryView


@dataclass(frozen=True)
class Place:
    """Where a request points: a project and the words after ``/-/``."""

    project: Project
    rest: str
    query: dict[str, str]

    @property
    def base(self) -> str:
        """Path of the project's page."""
        return f"/{self.project.path_with_namespace}"


_TABS = (
    ("Project", ""),
    ("Commits", "/-/commits"),
    ("Branches", "/-/branches"),
    ("Pipelines", "/-/pipelines"),
    ("Container registry", "/container_registry"),
    ("Runners", "/-/settings/ci_cd"),
    ("Webhooks", "/-/hooks"),
)


def project_page(
    place: Place, tab: str, title: str, *content: Child, status: int = 200, reload: int | None = None
) -> web.Response:
    """A page of a project with the menu of its pages."""
    project = place.project
    trail = [("GitLab", "/"), (project.path_with_namespace, place.base)]
    tabs = [(text, place.base + path, text == tab) for text, path in _TABS]
    return page(title, *content, trail=trail, tabs=tabs, status=status, reload=reload)


def missing(what: str) -> web.Response:
    """404, naming what there is not."""
    return page("Not found", element("p", what), trail=[("GitLab", "/")], status=404)
