"""Bare git repositories, one for each project, read and written with git's own commands."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lab.emulator.gitlab import git
from lab.emulator.gitlab.commits import FORMAT, Commit, parse
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import ZERO_SHA, Project

_SHA = re.compile(r"[0-9a-f]{40}")


class Repositories:
    """Git repositories under one folder, named by project id so that a rename moves nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def path(self, project: Project) -> Path:
        """Where the bare repository lies."""
        return self._folder / f"{project.id}.git"

    async def create(self, project: Project, default_branch: str) -> None:
        """Make an empty repository, complete or not at all."""
        path = self.path(project)
        partial = path.with_suffix(".partial")
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
        await asyncio.to_thread(partial.mkdir, parents=True, mode=0o700)
        await git.run(partial, "init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}", ".")
        partial.rename(path)

    async def remove(self, project: Project) -> None:
        """Delete the repository's files."""
        doomed = self.path(project)
        if doomed.exists():
            doomed = doomed.rename(doomed.with_suffix(".removed"))
            await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)
        self._locks.pop(project.id, None)

    async def sweep(self, known: set[int]) -> None:
        """Delete what a killed process left: half-made and half-removed repositories, and those of no project."""
        if self._folder.exists():
            for path in self._folder.iterdir():
                if path.suffix != ".git" or int(path.stem) not in known:
                    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)

    @asynccontextmanager
    async def writing(self, project: Project) -> AsyncIterator[None]:
        """Hold the project's refs: one writer at a time, so that pushes are announced in their order."""
        async with self._locks[project.id]:
            yield

    async def git(self, project: Project, *arguments: str, input: bytes = b"") -> bytes:  # noqa: A002 - subprocess's name
        """The output of a git command in the repository; raises `GitError`."""
        return await git.run(self.path(project), *arguments, stdin=input)

    async def resolve(self, project: Project, rev: str) -> str | None:
        """The commit id that ``rev`` (branch, tag, ref or id) names, or None. A branch wins over a tag."""
        if not rev or rev.startswith("-") or any(char in rev for char in "\0\n:^~?*[\\ "):
            return None
        names = (rev,) if _SHA.fullmatch(rev) or rev.startswith("refs/") else (f"refs/heads/{rev}", rev)
        for name in names:
            try:
                out = await self.git(
                    project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
                )
            except GitError as error:
                if error.unanswered:
                    raise
                continue
            return out.decode().split()[-1]
        return None

    async def ref(self, project: Project, name: str) -> str:
        """The object id that a full ref name points to, `ZERO_SHA` without such a ref."""
        try:
            out = await self.git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", name)
        except GitError as error:
            if error.unanswered:
                raise
            return ZERO_SHA
        return out.decode().split()[-1]

    async def refs(self, project: Project, *prefixes: str) -> dict[str, str]:
        """Every ref that is, or lies under, one of ``prefixes`` (``refs/heads``): full name -> object id, by name."""
        out = await self.git(project, "for-each-ref", "--format=%(refname) %(objectname)", *prefixes)
        return dict(line.split(" ", 1) for line in out.decode().splitlines())

    async def read(self, project: Project, rev: str, path: str) -> bytes | None:
        """The content of a file, or None when revision or file do not exist."""
        sha = await self.resolve(project, rev)
        if sha is None:
            return None
        try:
            return await self.git(project, "cat-file", "blob", f"{sha}:{path.lstrip('/')}")
        except GitError as error:
            if error.unanswered:
                raise
            return None

    async def log(self, project: Project, *arguments: str) -> list[Commit]:
        """The commits that ``git log`` lists for ``arguments``; raises `GitError` for unknown revisions."""
        return parse(await self.git(project, "log", "-z", "--date=raw", f"--format={FORMAT}", *arguments))

    async def commit(self, project: Project, rev: str) -> dict[str, Any] | None:
        """The API's commit object of ``rev``, or None."""
        sha = await self.resolve(project, rev)
        if sha is None:
            return None
        found = await self.log(project, "--no-walk=unsorted", sha)
        return found[0].shown(str(project.data["web_url"]))

    async def commits(self, project: Project, *arguments: str) -> list[dict[str, Any]]:
        """API commit objects, newest first; ``arguments`` are revisions and options of ``git log``."""
        return [commit.shown(str(project.data["web_url"])) for commit in await self.log(project, *arguments)]

    async def is_ancestor(self, project: Project, old: str, new: str) -> bool:
        """Whether ``old`` is ``new`` or an ancestor of it."""
        try:
            await self.git(project, "merge-base", "--is-ancestor", old, new)
        except GitError as error:
            if error.unanswered:
                raise
            return False
        return True

    async def changed_paths(self, project: Project, before: str, after: str) -> list[str]:
        """Files that differ between two commits; every file when one of them is `ZERO_SHA` or unknown."""
        if after == ZERO_SHA:
            return []
        if before == ZERO_SHA or await self.resolve(project, before) is None:
            out = await self.git(project, "ls-tree", "-r", "-z", "--name-only", after)
        else:
            out = await self.git(project, "diff", "--name-only", "--no-renames", "-z", before, after)
        return [name for name in out.decode(errors="replace").split("\0") if name]
