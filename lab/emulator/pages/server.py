"""GitLab's pages as one part: every ``web_url`` that the API prints opens one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from lab.emulator.gitlab.server import GitLab
from lab.emulator.pages.files import FilePages
from lab.emulator.pages.overview import OverviewPages
from lab.emulator.pages.pipelines import PipelinePages
from lab.emulator.pages.site import CiView, Place, RegistryView, Site, missing

Page = Callable[[Place], Awaitable[web.Response]]


class Pages:
    """Adds read-only pages to GitLab's application. They need no login and show no secret."""

    def __init__(self, gitlab: GitLab, ci: CiView, registry: RegistryView) -> None:
        self._gitlab = gitlab
        site = Site(gitlab, ci, registry)
        files, runs, self._overview = FilePages(site), PipelinePages(site), OverviewPages(site)
        self._project = files.project
        self._pages: dict[str, Page] = {
            "tree": files.tree,
            "blob": files.blob,
            "raw": files.raw,
            "commits": files.commits,
            "commit": files.commit,
            "branches": files.branches,
            "tags": files.branches,
            "pipelines": runs.pipelines,
            "jobs": runs.jobs,
            "container_registry": self._overview.images,
            "settings/ci_cd": self._overview.runners,
            "runners": self._overview.runners,
            "hooks": self._overview.hooks,
        }
        router = gitlab.app.router
        router.add_get("/", self._overview.home)
        router.add_get("/users/sign_in", self._overview.sign_in)
        router.add_get("/help", self._overview.help)
        # The API and the token service answer for themselves, also for what they do not know.
        router.add_get("/{path:(?!api(?:/|$)|jwt(?:/|$)|-/).+}", self._any)

    async def _any(self, request: web.Request) -> web.Response:
        path = request.match_info["path"].strip("/")
        before, found, rest = path.partition("/-/")
        if not found and path.endswith("/container_registry"):
            before, rest = path.removesuffix("/container_registry"), "container_registry"
        project = self._gitlab.projects.by_path(before.removesuffix(".git"))
        if project is None:
            return await self._overview.namespace(path) or missing(f"There is no page, project or person {path!r}.")
        if before.endswith(".git"):
            raise web.HTTPFound(f"/{project.path_with_namespace}")
        if not rest:
            return await self._project(Place(project, "", dict(request.query)))
        for name, page in self._pages.items():
            if rest == name or rest.startswith(f"{name}/"):
                return await page(Place(project, rest[len(name) :].strip("/"), dict(request.query)))
        return missing(f"not emulated: the page {rest!r} of a project")
