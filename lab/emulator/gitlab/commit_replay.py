"""Cherry-picks and reverts: the change of one commit, or its opposite, as a new commit on a branch."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from lab.emulator.gitlab import git
from lab.emulator.gitlab.commits import Commit
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import ZERO_SHA, ApiError, Caller, Project
from lab.emulator.gitlab.push_policy import Command

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

CHERRY_PICK, REVERT = "cherry-pick", "revert"
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_FAILED = (
    "Sorry, we cannot {verb} this commit automatically. This commit may already have been {done}, or a more recent "
    "commit may have updated some of its content."
)
_DONE = {CHERRY_PICK: "cherry-picked", REVERT: "reverted"}


class CommitReplay:
    """Applies a commit's patch to a branch in an index of its own; there is no work tree."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab

    async def replay(
        self, project: Project, caller: Caller, branch: str, commit: Commit, verb: str, *, message: str, dry_run: bool
    ) -> str:
        """Make the commit and move the branch; answers its id (with ``dry_run`` nothing is moved).

        Raises ApiError 400 with ``error_code`` ``conflict`` or ``empty``, 403 for a branch that the caller may not
        push to, 404 without such a branch. A merge commit is taken against its first parent, as GitLab does.
        """
        head = f"refs/heads/{branch}"
        policy = self._gitlab.pushes.policy
        if policy.upload(caller, project) or not policy.may_push_to(caller, project, branch):
            raise ApiError.message(403, "403 Forbidden - You are not allowed to push into this branch")
        async with self._gitlab.repositories.writing(project):
            tip = await self._gitlab.repositories.ref(project, head)
            if tip == ZERO_SHA:
                raise ApiError.not_found("Branch")
            tree = await self._tree(project, tip, commit, verb)
            author = commit.author if verb == CHERRY_PICK else None
            text = message or _message(commit, verb)
            sha = await self._commit(project, caller, (tree, tip), author=author, message=text)
            if not dry_run:
                await self._gitlab.pushes.update(project, caller, Command(tip, sha, head))
        return sha

    async def _tree(self, project: Project, tip: str, commit: Commit, verb: str) -> str:
        ends = [commit.parents[0] if commit.parents else _EMPTY_TREE, commit.id]
        if verb == REVERT:
            ends.reverse()
        folder = self._gitlab.repositories.path(project)
        index = folder / f"index.{uuid.uuid4()}"
        place = {"GIT_INDEX_FILE": str(index)}
        try:
            patch = await git.run(folder, "diff-tree", "-p", "--binary", "--full-index", *ends)
            await git.run(folder, "read-tree", tip, variables=place)
            if patch:
                await git.run(folder, "apply", "--cached", "--3way", stdin=patch, variables=place)
            tree = (await git.run(folder, "write-tree", variables=place)).decode().strip()
        except GitError as error:
            if error.unanswered:
                raise
            raise _refusal(verb, "conflict") from error
        finally:
            index.unlink(missing_ok=True)
        if tree == (await git.run(folder, "rev-parse", f"{tip}^{{tree}}")).decode().strip():
            raise _refusal(verb, "empty")
        return tree

    async def _commit(
        self,
        project: Project,
        caller: Caller,
        place: tuple[str, str],
        *,
        author: tuple[str, str, str] | None,
        message: str,
    ) -> str:
        """A commit of the tree and on the parent in ``place``; without an author of its own it is the caller's."""
        user = self._gitlab.users.get(caller.user_id)
        name, email = (user.name, user.email) if user else (caller.username, "")
        now = f"{int(time.time())} +0000"
        author = author or (name, email, now)
        people = {
            "GIT_AUTHOR_NAME": author[0], "GIT_AUTHOR_EMAIL": author[1], "GIT_AUTHOR_DATE": author[2],
            "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": email, "GIT_COMMITTER_DATE": now,
        }  # fmt: skip
        folder = self._gitlab.repositories.path(project)
        arguments = ("commit-tree", place[0], "-p", place[1])
        return (await git.run(folder, *arguments, stdin=message.encode(), variables=people)).decode().strip()


def _message(commit: Commit, verb: str) -> str:
    if verb == REVERT:
        return f'Revert "{commit.title}"\n\nThis reverts commit {commit.id}'
    return f"{commit.message.rstrip()}\n\n(cherry picked from commit {commit.id})"


def _refusal(verb: str, code: str) -> ApiError:
    return ApiError(400, {"message": _FAILED.format(verb=verb, done=_DONE[verb]), "error_code": code})
