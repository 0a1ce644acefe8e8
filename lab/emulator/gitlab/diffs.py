"""Differences between commits in the API's form."""

from __future__ import annotations

from typing import Any

from lab.emulator.gitlab.model import Project
from lab.emulator.gitlab.repositories import Repositories

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""Object id of the tree without entries; git knows it in every repository."""


async def stats(repositories: Repositories, project: Project, commit: dict[str, Any]) -> dict[str, int]:
    """Lines added and removed against the first parent."""
    before = (commit["parent_ids"] or [_EMPTY_TREE])[0]
    out = await repositories.git(project, "diff", "--numstat", "-z", "--no-renames", before, commit["id"])
    added = removed = 0
    for line in out.decode(errors="replace").split("\0"):
        plus, minus, *_ = [*line.split("\t"), "", ""]
        added += int(plus) if plus.isdigit() else 0
        removed += int(minus) if minus.isdigit() else 0
    return {"additions": added, "deletions": removed, "total": added + removed}


async def diffs(repositories: Repositories, project: Project, before: str | None, after: str) -> list[dict[str, Any]]:
    """One entry for each file that differs; renames are found as git finds them."""
    base = before or _EMPTY_TREE
    raw = await repositories.git(project, "diff", "--raw", "-z", "-M", "--abbrev=40", base, after)
    entries = _entries(raw.decode(errors="replace"))
    patch = await repositories.git(project, "diff", "-M", "--no-color", "--no-ext-diff", base, after)
    bodies = _bodies(patch.decode(errors="replace"))
    return [{**entry, "diff": body} for entry, body in zip(entries, bodies, strict=True)]


def _entries(raw: str) -> list[dict[str, Any]]:
    tokens = iter(raw.split("\0"))
    found = []
    for token in tokens:
        if not token.startswith(":"):
            continue
        old_mode, new_mode, _, _, status = token[1:].split()
        old = next(tokens)
        new = next(tokens) if status[0] in "RC" else old
        found.append(
            {
                "old_path": old,
                "new_path": new,
                "a_mode": old_mode,
                "b_mode": new_mode,
                "new_file": status[0] == "A",
                "renamed_file": status[0] == "R",
                "deleted_file": status[0] == "D",
                "generated_file": False,
                "collapsed": False,
                "too_large": False,
            }
        )
    return found


def _bodies(patch: str) -> list[str]:
    """The hunks of each file, without git's own header lines."""
    bodies: list[list[str]] = []
    header = False
    for line in patch.splitlines(keepends=True):
        if line.startswith("diff --git "):
            bodies.append([])
            header = True
        elif header and line.startswith(("@@", "Binary files")):
            header = False
        if not header and bodies:
            bodies[-1].append(line)
    return ["".join(lines) for lines in bodies]
