"""Pages of a repository: the project, folders and files, commits, branches and tags."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import quote

from aiohttp import web

from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import Project
from lab.emulator.pages.html import Child, Markup, badge, code, element, facts, link, render, table, when
from lab.emulator.pages.site import Place, Site, missing, project_page

_SHOWN_FILE = 512 * 1024
_SHOWN_DIFF = 256 * 1024
_PER_PAGE = 50
_EMPTY = element("p", "The repository is empty: nothing has been pushed yet.", class_="quiet")


class FilePages:
    """Reads git; writes nothing."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._repositories = site.gitlab.repositories

    async def project(self, place: Place) -> web.Response:
        """The project: how to clone it, its newest commit and pipeline, its files and its README."""
        project = place.project
        branch = project.default_branch or ""
        commit = await self._repositories.commit(project, branch) if branch else None
        clone = code(f"git clone {project.data['http_url_to_repo']}")
        if commit is None:
            return project_page(place, "Project", project.path_with_namespace, facts([("Clone", clone)]), _EMPTY)
        pipelines = [p for p in self._site.ci.pipelines_of(project.id) if p["sha"] == commit["id"]]
        pairs: list[tuple[str, Child]] = [
            ("Clone", clone),
            ("Default branch", link(branch, f"{place.base}/-/tree/{quote(branch)}")),
            ("Last commit", _commit_line(place, commit)),
            ("Pipeline", _pipeline_link(place, pipelines[0]) if pipelines else "none for this commit"),
        ]
        files = await self._listing(place, branch, "")
        readme = await self._repositories.read(project, branch, "README.md")
        text = [element("h2", "README.md"), element("pre", readme.decode(errors="replace"))] if readme else []
        return project_page(
            place, "Project", project.path_with_namespace, facts(pairs), element("h2", "Files"), files, text
        )

    async def tree(self, place: Place) -> web.Response:
        """A folder at a revision."""
        found = await self._split(place.project, place.rest)
        if found is None:
            return missing(f"There is no revision in {place.rest!r}.")
        ref, path = found
        listing = await self._listing(place, ref, path)
        title = f"{path or place.project.data['path']} at {ref}"
        return project_page(place, "Project", title, self._path(place, ref, path), listing)

    async def blob(self, place: Place) -> web.Response:
        """A file at a revision."""
        found = await self._split(place.project, place.rest)
        content = await self._repositories.read(place.project, *found) if found else None
        if found is None or content is None:
            return missing(f"There is no file {place.rest!r}.")
        ref, path = found
        raw = link("raw", f"{place.base}/-/raw/{quote(ref)}/{quote(path)}")
        return project_page(place, "Project", path, self._path(place, ref, path), element("p", raw), _shown(content))

    async def raw(self, place: Place) -> web.Response:
        """A file's bytes, never as something that a browser would run."""
        found = await self._split(place.project, place.rest)
        content = await self._repositories.read(place.project, *found) if found else None
        if content is None:
            return missing(f"There is no file {place.rest!r}.")
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
        kind = "application/octet-stream" if b"\0" in content[:8000] else "text/plain"
        charset = None if kind != "text/plain" else "utf-8"
        return web.Response(body=content, content_type=kind, charset=charset, headers=headers)

    async def commits(self, place: Place) -> web.Response:
        """The history of a revision, newest first."""
        number = int(place.query["page"]) if place.query.get("page", "").isdigit() else 1
        start = place.rest or place.project.default_branch
        if not start:
            return project_page(place, "Commits", "Commits", _EMPTY)
        found = await self._split(place.project, start)
        if found is None:
            return missing(f"There is no revision {start!r}.")
        ref, path = found
        skip = (max(number, 1) - 1) * _PER_PAGE
        newest = await self._repositories.resolve(place.project, ref) or ref
        arguments = [f"--skip={skip}", f"--max-count={_PER_PAGE + 1}", newest, "--", *([path] if path else [])]
        rows = await self._repositories.commits(place.project, *arguments)
        older = link("older commits", f"{place.base}/-/commits/{quote(ref)}?page={number + 1}")
        listed = table(
            ["Commit", "Message", "Author", "When"],
            [
                (_sha(place, row["id"]), row["title"], row["author_name"], when(row["committed_date"]))
                for row in rows[:_PER_PAGE]
            ],
            empty="No commits.",
        )
        more = element("p", older) if len(rows) > _PER_PAGE else None
        return project_page(place, "Commits", f"Commits on {ref}", listed, more)

    async def commit(self, place: Place) -> web.Response:
        """One commit with its message, pipelines and changes."""
        project, revision = place.project, place.rest
        commit = await self._repositories.commit(project, revision) if revision else None
        if commit is None:
            return missing(f"There is no commit {revision!r}.")
        shown = await self._repositories.git(
            project, "show", "--no-color", "--no-ext-diff", "--no-textconv", "--format=", "--stat-width=100",
            "--patch-with-stat", commit["id"], "--",
        )  # fmt: skip
        runs = [p for p in self._site.ci.pipelines_of(project.id) if p["sha"] == commit["id"]]
        pairs: list[tuple[str, Child]] = [
            ("Commit", code(commit["id"])),
            ("Author", f"{commit['author_name']} <{commit['author_email']}>"),
            ("When", when(commit["committed_date"])),
            ("Parents", [[_sha(place, parent), " "] for parent in commit["parent_ids"]]),
            ("Pipelines", [[_pipeline_link(place, run), " "] for run in runs] if runs else "none"),
        ]
        message = element("pre", commit["message"].strip())
        files = link("Browse the files at this commit", f"{place.base}/-/tree/{commit['id']}")
        return project_page(
            place, "Commits", commit["title"], message, facts(pairs), element("p", files),
            element("h2", "Changes"), _diff(shown),
        )  # fmt: skip

    async def branches(self, place: Place) -> web.Response:
        """Every branch and tag with the commit it points to."""
        sections = []
        for name, prefix in (("Branches", "refs/heads"), ("Tags", "refs/tags")):
            refs = await self._repositories.refs(place.project, prefix)
            rows = [await self._ref_row(place, ref.removeprefix(f"{prefix}/"), sha) for ref, sha in refs.items()]
            sections += [element("h2", name), table(["Name", "Commit", "Message", "When"], rows, empty="None yet.")]
        return project_page(place, "Branches", "Branches and tags", sections)

    async def _ref_row(self, place: Place, name: str, sha: str) -> tuple[Child, ...]:
        commit = await self._repositories.commit(place.project, sha) or {}
        default = [" ", badge("default")] if name == place.project.default_branch else []
        target = link(name, f"{place.base}/-/tree/{quote(name)}")
        return (
            [target, *default],
            _sha(place, commit.get("id", sha)),
            commit.get("title"),
            when(commit.get("committed_date")),
        )

    async def _split(self, project: Project, text: str) -> tuple[str, str] | None:
        """``<ref>/<path>`` taken apart: the longest branch or tag that it begins with, else its first word."""
        names = [
            ref.split("/", 2)[2]
            for prefix in ("refs/heads", "refs/tags")
            for ref in await self._repositories.refs(project, prefix)
        ]
        fitting = [name for name in names if text == name or text.startswith(f"{name}/")]
        ref = max(fitting, key=len) if fitting else text.partition("/")[0]
        if not ref or ref.startswith("-") or await self._repositories.resolve(project, ref) is None:
            return None
        path = posixpath.normpath(text[len(ref) :].strip("/") or ".")
        return (ref, "" if path == "." else path) if not path.startswith("..") else None

    async def _listing(self, place: Place, ref: str, path: str) -> Markup:
        where = ["--", f"{path}/"] if path else []
        commit = await self._repositories.resolve(place.project, ref) or ref
        try:
            output = await self._repositories.git(
                place.project, "ls-tree", "-z", "--long", "--full-tree", commit, *where
            )
        except GitError:
            output = b""
        rows = sorted(
            _entry(place, ref, path, line) for line in output.decode(errors="replace").split("\0") if "\t" in line
        )
        return table(["Name", "Size"], [(name, size) for _, _, name, size in rows], empty="There is no such folder.")

    @staticmethod
    def _path(place: Place, ref: str, path: str) -> Markup:
        parts = path.split("/") if path else []
        links: list[Child] = [link(ref, f"{place.base}/-/tree/{quote(ref)}")]
        for index, part in enumerate(parts):
            links += [" / ", link(part, f"{place.base}/-/tree/{quote(ref)}/{quote('/'.join(parts[: index + 1]))}")]
        return element("p", *links)


def _entry(place: Place, ref: str, folder: str, line: str) -> tuple[bool, str, Child, Child]:
    """(is a file, name, link, size) of one line of ``git ls-tree --long``."""
    meta, _, path = line.partition("\t")
    _, kind, _, size = meta.split()
    name = path[len(folder) + 1 :] if folder else path
    page = {"tree": "tree", "blob": "blob"}.get(kind)
    target = f"{place.base}/-/{page}/{quote(ref)}/{quote(path)}"
    shown = link(f"{name}/" if kind == "tree" else name, target) if page else render(f"{name} (submodule)")
    return kind != "tree", name, shown, f"{int(size):,} bytes" if size.isdigit() else ""


def _shown(content: bytes) -> Markup:
    if b"\0" in content[:8000]:
        return element("p", f"A binary file of {len(content):,} bytes.", class_="quiet")
    cut = element("p", f"Only the first {_SHOWN_FILE:,} bytes are shown.", class_="note")
    return render(
        [cut if len(content) > _SHOWN_FILE else None, element("pre", content[:_SHOWN_FILE].decode(errors="replace"))]
    )


def _diff(output: bytes) -> Markup:
    text = output[:_SHOWN_DIFF].decode(errors="replace")
    lines = []
    for line in text.splitlines():
        tone = "add" if line.startswith("+") else "del" if line.startswith("-") else None
        lines.append(element("span", line, class_=tone) if tone else render(line))
    cut = element("p", "The rest of the changes is not shown.", class_="note") if len(output) > _SHOWN_DIFF else None
    return render([element("pre", Markup("\n".join(lines))), cut])


def _sha(place: Place, sha: str) -> Markup:
    return link(code(sha[:8]), f"{place.base}/-/commit/{sha}")


def _commit_line(place: Place, commit: dict[str, Any]) -> Child:
    return [_sha(place, commit["id"]), " ", commit["title"], " ", when(commit["committed_date"])]


def _pipeline_link(place: Place, pipeline: dict[str, Any]) -> Markup:
    text = [f"#{pipeline['id']} ", badge(pipeline["status"])]
    return link(text, f"{place.base}/-/pipelines/{pipeline['id']}")
