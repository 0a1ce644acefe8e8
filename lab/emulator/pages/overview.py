"""Pages about the whole and about a project's surroundings: images, runners, webhooks, help."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lab.emulator.gitlab.paging import iso
from lab.emulator.pages.html import Child, Markup, badge, code, element, facts, link, page, table, took, when
from lab.emulator.pages.site import Place, Site, project_page

_EVENTS_SHOWN = 20


class OverviewPages:
    """Reads the stores of GitLab, CI and the registry; shows no secret."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def home(self, _request: web.Request) -> web.Response:
        """Every project with its newest pipeline."""
        cards = [self._card(project.path_with_namespace, project.id) for project in self._site.gitlab.projects.all()]
        empty = element("p", "There is no project yet.", class_="quiet")
        help_line = element("p", link("What is emulated here?", "/help"))
        return page("Projects", element("div", *cards, class_="cards") if cards else empty, help_line, reload=5)

    def _card(self, path: str, project_id: int) -> Markup:
        newest = next(iter(self._site.ci.pipelines_of(project_id)), None)
        pairs: list[tuple[str, Child]] = []
        if newest:
            shown = [f"#{newest['id']} ", badge(newest["status"])]
            pairs = [
                ("Pipeline", link(shown, f"/{path}/-/pipelines/{newest['id']}")),
                ("Branch", newest["ref"]),
                ("Commit", link(code(newest["sha"][:8]), f"/{path}/-/commit/{newest['sha']}")),
            ]
        nothing = element("p", "No pipeline yet.", class_="quiet")
        return element("div", element("h2", link(path, f"/{path}")), facts(pairs) if pairs else nothing, class_="card")

    async def sign_in(self, _request: web.Request) -> web.Response:
        """There is nothing to sign in to."""
        text = (
            "These pages only read and need no login. To change something use git, the REST API with a token, "
            "or the lab's commands."
        )
        return page("Sign in", element("p", text), element("p", link("To the projects", "/")))

    async def help(self, _request: web.Request) -> web.Response:
        """What this is, and what it is not."""
        config = self._site.gitlab.config
        intro = (
            "This is the lab's embedded engine: one process on this machine that speaks the protocols of GitLab, a "
            "container registry, Kubernetes and Argo CD. It is not GitLab. What it does not implement answers with "
            "an error that names the thing and begins with “not emulated”."
        )
        walls = (
            "Jobs and pods run as processes of the user who started the lab, without a container's walls. "
            "Push only code that you would run yourself."
        )
        return page(
            "About this GitLab",
            element("p", intro),
            element("p", walls, class_="note"),
            facts(
                [
                    ("GitLab", code(config.gitlab_url)),
                    ("Registry", code(config.registry)),
                    ("Argo CD", link(config.argocd_url, f"{config.argocd_url}/applications")),
                    ("Profile", config.profile),
                ]
            ),
            trail=[("GitLab", "/")],
        )

    async def namespace(self, path: str) -> web.Response | None:
        """A person or a group with its projects; None when there is none of that path."""
        space = self._site.gitlab.namespaces.by_path(path)
        if space is None:
            return self._account(path)
        inside = [p for p in self._site.gitlab.projects.all() if p.path_with_namespace.startswith(f"{path}/")]
        rows = [(link(p.path_with_namespace, f"/{p.path_with_namespace}"), p.data.get("visibility")) for p in inside]
        listed = table(["Project", "Visibility"], rows, empty="No projects here.")
        return page(space.full_path, listed, trail=[("GitLab", "/")])

    def _account(self, username: str) -> web.Response | None:
        """A user without projects of their own: a bot or a token's account."""
        user = self._site.gitlab.users.by_login(username)
        if user is None:
            return None
        shown = user.brief(self._site.gitlab.config.gitlab_url)
        pairs: list[tuple[str, Child]] = [("Name", shown["name"]), ("State", badge(shown["state"]))]
        return page(shown["username"], facts(pairs), trail=[("GitLab", "/")])

    async def images(self, place: Place) -> web.Response:
        """The project's image repositories and their tags."""
        parts: list[Child] = []
        for repository in self._site.registry.repositories_of(place.project.id):
            rows = [_tag(tag) for tag in repository.get("tags") or []]
            head = ["Tag", "Digest", "Size", "Built"]
            parts += [element("h2", code(repository["location"])), table(head, rows, empty="This repository is empty.")]
        empty = element("p", "No image has been pushed yet.", class_="quiet")
        return project_page(place, "Container registry", "Container registry", parts or empty)

    async def runners(self, place: Place) -> web.Response:
        """The runners that may take the project's jobs."""
        rows = [_runner(runner) for runner in self._site.ci.runners() if _serves(runner, place.project.id)]
        head = ["Runner", "Status", "Tags", "Untagged jobs", "Last contact"]
        empty = "No runner yet: jobs stay pending until one is attached."
        return project_page(place, "Runners", "Runners", table(head, rows, empty=empty))

    async def hooks(self, place: Place) -> web.Response:
        """The project's webhooks and what became of their latest deliveries."""
        store = self._site.gitlab.hooks
        parts: list[Child] = []
        for hook in store.of(place.project.id):
            shown = hook.shown()
            events = [name.removesuffix("_events").replace("_", " ") for name, on in hook.triggers.items() if on]
            pairs: list[tuple[str, Child]] = [
                ("Address", code(shown["url"])),
                ("Events", ", ".join(events)),
                ("Branches", shown["push_events_branch_filter"] or "all"),
                ("Secret token", "set" if hook.token else "not set"),
                ("TLS checked", "yes" if shown["enable_ssl_verification"] else "no"),
            ]
            rows = [_delivery(event) for event in store.events(hook)[:_EVENTS_SHOWN]]
            head = ["Delivery", "Event", "Branch", "Commit", "Answer", "When", "Took"]
            listed = table(head, rows, empty="Nothing has been delivered yet.")
            parts += [element("h2", f"Webhook #{hook.id}"), facts(pairs), element("h3", "Latest deliveries"), listed]
        empty = element("p", "This project has no webhooks.", class_="quiet")
        return project_page(place, "Webhooks", "Webhooks", parts or empty)


def _tag(tag: dict[str, Any]) -> tuple[Child, ...]:
    size = tag.get("total_size") or 0
    return code(tag["name"]), code(str(tag.get("digest") or "")[:19]), _bytes(size), when(tag.get("created_at"))


def _bytes(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"


def _serves(runner: dict[str, Any], project_id: int) -> bool:
    return bool(runner.get("is_shared")) or project_id in [row.get("id") for row in runner.get("projects") or []]


def _runner(runner: dict[str, Any]) -> tuple[Child, ...]:
    name = runner.get("description") or f"#{runner['id']}"
    state = "paused" if runner.get("paused") else str(runner.get("status") or "unknown")
    tags = [[badge(tag), " "] for tag in runner.get("tag_list") or []] or "none"
    return (
        f"{name} (#{runner['id']})",
        badge(state),
        tags,
        "yes" if runner.get("run_untagged") else "no",
        when(runner.get("contacted_at")),
    )


def _delivery(event: dict[str, Any]) -> tuple[Child, ...]:
    data = event.get("request_data") or {}
    answer = str(event.get("response_status") or "")
    good = answer.startswith(("2", "3"))
    return (
        f"#{event['id']}",
        str(event.get("trigger") or "").replace("_", " "),
        str(data.get("ref") or "").removeprefix("refs/heads/"),
        code(str(data.get("after") or "")[:8]),
        badge(answer or "none", tone="good" if good else "bad"),
        when(iso(event["time"])),
        took(event.get("execution_duration")),
    )
