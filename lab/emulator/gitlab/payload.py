"""What a push tells the world: the bodies of push and tag hooks (contracts B.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.emulator.gitlab.commits import Commit, date
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import ZERO_SHA, Project, Push
from lab.emulator.gitlab.projects import VISIBILITY

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

MOST_COMMITS = 20
_STATUS = {"A": "added", "M": "modified", "T": "modified", "D": "removed"}


async def push_payload(gitlab: GitLab, push: Push) -> dict[str, Any]:
    """The body that GitLab posts for one moved ref."""
    project, kind = push.project, "push" if push.branch else "tag_push"
    commits, total = await _commits(gitlab, push)
    user = gitlab.users.get(push.caller.user_id)
    deleted = push.after == ZERO_SHA
    checkout = None if deleted else await gitlab.repositories.resolve(project, push.after)
    return {
        "object_kind": kind,
        "event_name": kind,
        "before": push.before,
        "after": push.after,
        "ref": push.ref,
        "ref_protected": bool(push.branch and gitlab.protected_branches.protects(project.id, push.branch)),
        "checkout_sha": checkout,
        "message": None,
        "user_id": user.id if user else None,
        "user_name": user.name if user else push.caller.username,
        "user_username": user.username if user else push.caller.username,
        "user_email": "",
        "user_avatar": None,
        "project_id": project.id,
        "project": project_block(project),
        "commits": commits,
        "total_commits_count": total,
        "push_options": _options(push.options),
        "repository": _repository_block(project),
    }


def project_block(project: Project) -> dict[str, Any]:
    """The project as hooks describe it."""
    data = project.data
    return {
        "id": project.id,
        "name": data["name"],
        "description": data["description"],
        "web_url": data["web_url"],
        "avatar_url": None,
        "git_ssh_url": data["ssh_url_to_repo"],
        "git_http_url": data["http_url_to_repo"],
        "namespace": data["namespace"]["name"],
        "visibility_level": VISIBILITY[data["visibility"]],
        "path_with_namespace": project.path_with_namespace,
        "default_branch": project.default_branch,
        "ci_config_path": data.get("ci_config_path") or "",
        "homepage": data["web_url"],
        "url": data["ssh_url_to_repo"],
        "ssh_url": data["ssh_url_to_repo"],
        "http_url": data["http_url_to_repo"],
    }


def _repository_block(project: Project) -> dict[str, Any]:
    data = project.data
    return {
        "name": data["name"],
        "url": data["ssh_url_to_repo"],
        "description": data["description"],
        "homepage": data["web_url"],
        "git_http_url": data["http_url_to_repo"],
        "git_ssh_url": data["ssh_url_to_repo"],
        "visibility_level": VISIBILITY[data["visibility"]],
    }


async def _commits(gitlab: GitLab, push: Push) -> tuple[list[dict[str, Any]], int]:
    """The last commits of the push, oldest first, and how many it has altogether."""
    project, repositories = push.project, gitlab.repositories
    if push.after == ZERO_SHA:
        return [], 0
    revisions = [push.after]
    default = project.default_branch
    if push.before != ZERO_SHA:
        revisions.append(f"^{push.before}")
    elif push.branch and push.branch != default and await repositories.resolve(project, f"refs/heads/{default}"):
        revisions.append(f"^refs/heads/{default}")
    try:
        if push.branch is None:  # a tag tells of the commit that it points to
            found, total = await repositories.log(project, "-1", push.after), 1
        else:
            found = await repositories.log(project, f"-{MOST_COMMITS}", *revisions)
            total = len(found)
            if total == MOST_COMMITS:
                total = int(await repositories.git(project, "rev-list", "--count", *revisions))
    except GitError:  # an object that is gone, for example after a forced push and a clean-up
        return [], 0
    changes = await _changes(gitlab, project, found)
    web_url = str(project.data["web_url"])
    return [_commit_block(commit, web_url, changes[commit.id]) for commit in reversed(found)], total


async def _changes(gitlab: GitLab, project: Project, commits: list[Commit]) -> dict[str, dict[str, list[str]]]:
    """Per commit the paths added, modified and removed against its first parent."""
    changes: dict[str, dict[str, list[str]]] = {
        commit.id: {"added": [], "modified": [], "removed": []} for commit in commits
    }
    if not commits:
        return changes
    lines = "".join(" ".join([commit.id, *commit.parents[:1]]) + "\n" for commit in commits)
    options = ("-r", "--root", "--no-renames", "--name-status", "-z")
    out = await gitlab.repositories.git(project, "diff-tree", "--stdin", *options, input=lines.encode())
    tokens = iter(out.decode(errors="replace").split("\0"))
    current = commits[0].id
    for token in tokens:
        head = token.split()[0] if token.strip() else ""
        if head in changes:
            current = head
        elif head[:1] in _STATUS:
            changes[current][_STATUS[head[:1]]].append(next(tokens, ""))
    return changes


def _commit_block(commit: Commit, web_url: str, changes: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "id": commit.id,
        "message": commit.message,
        "title": commit.title,
        "timestamp": date(commit.author[2]).replace(".000", ""),
        "url": f"{web_url}/-/commit/{commit.id}",
        "author": {"name": commit.author[0], "email": commit.author[1]},
        **changes,
    }


def _options(options: tuple[str, ...]) -> dict[str, Any]:
    """Push options as a tree: ``ci.skip`` is ``{"ci": {"skip": true}}``."""
    tree: dict[str, Any] = {}
    for option in options:
        path, _, value = option.partition("=")
        *parents, leaf = path.split(".")
        node = tree
        for name in parents:
            inner = node.setdefault(name, {})
            node = inner if isinstance(inner, dict) else {}
        node[leaf] = value or True
    return tree
