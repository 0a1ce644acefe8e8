"""How refs move: one path for git pushes and for the API, with checks before and announcements after."""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lab.emulator.gitlab import git, pktline
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.journal import Journal
from lab.emulator.gitlab.model import MAINTAINER, ZERO_SHA, ApiError, Caller, Project, Push
from lab.emulator.gitlab.paging import iso
from lab.emulator.gitlab.push_policy import NO_FORCE, Command, PushPolicy

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

log = logging.getLogger(__name__)

LONGEST_PUSH = 600.0
"""Seconds that git may take to store one push."""
UPSTREAM_DELAY = 1.0
"""Seconds after which GitLab's background jobs have dealt with a push (profile ``upstream``)."""
_ANNOUNCED = ("refs/heads/", "refs/tags/")
_FEW = 50
"""Refs whose names may stand on a command line."""
_EMULATED_OPTIONS = ("ci.", "integrations.")
_PRE_RECEIVE = f"""#!/bin/sh
# Ends a push that GitLab refuses. The refusal comes from the server; only force pushes are judged here, because
# that takes the pushed objects, which are in quarantine until this script agrees.
if [ -n "$GITLAB_REFUSAL" ]; then
    printf '%s\\n' "GitLab: $GITLAB_REFUSAL" >&2
    exit 1
fi
while read -r before after ref; do
    case " $GITLAB_UNFORCED " in
    *" $ref "*)
        git merge-base --is-ancestor "$before" "$after" && continue
        echo "GitLab: {NO_FORCE}" >&2
        exit 1
        ;;
    esac
done
"""


class Pushes:
    """Stores pushes and tells the rest of GitLab about every ref that moved."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab
        self.policy = PushPolicy(gitlab.access, gitlab.protected_branches)
        self._journal = Journal(gitlab.database, gitlab.projects, "gitlab.pushes")
        self._hooks = gitlab.config.data / "git-hooks"

    async def receive(self, project: Project, caller: Caller, body: IO[bytes]) -> bytes:
        """Run ``git receive-pack`` on a request body and answer its output.

        Raises `pktline.ProtocolError` for a body that is no push, `GitError` when git takes too long.
        """
        request = pktline.read_request(body)
        body.seek(0)
        pushes = [Push(project, c.ref, c.before, c.after, caller, request.options) for c in request.commands]
        async with self._gitlab.repositories.writing(project):
            refusal = self.policy.refuses(caller, project, request.commands, web=False)
            unforced = self.policy.unforced(project, request.commands)
            entry = self._journal.note(pushes)
            try:
                output = await self._store(project, body, refusal, unforced)
                stored = pktline.accepted(output, request)
            except GitError:
                await self._finish(entry, pushes)
                raise
            await self._finish(entry, [push for push in pushes if stored is None or push.ref in stored])
        return _foreign_options(request) + output

    async def update(self, project: Project, caller: Caller, command: Command) -> None:
        """Move one ref for the API; the objects are there already.

        Raises ApiError 400 with the pre-receive text, or when the ref has moved meanwhile. The caller of this
        method holds ``repositories.writing``.
        """
        reason = self.policy.refuses(caller, project, [command], web=True)
        if not reason and self.policy.unforced(project, [command]):
            ancestor = await self._gitlab.repositories.is_ancestor(project, command.before, command.after)
            reason = None if ancestor else NO_FORCE
        if reason:
            raise ApiError.message(400, reason.strip())
        push = Push(project, command.ref, command.before, command.after, caller)
        entry = self._journal.note([push])
        arguments = ("-d", command.ref) if command.after == ZERO_SHA else (command.ref, command.after)
        try:
            await self._gitlab.repositories.git(project, "update-ref", *arguments, command.before)
        except GitError as error:
            self._journal.forget(entry)
            log.info("update-ref refused: %s", error)
            raise ApiError.message(400, "Could not update the branch. Please try again.") from error
        await self._finish(entry, [push])

    async def recover(self) -> None:
        """Announce what was stored, but not announced, when the process was killed."""
        for entry, pushes, _ in self._journal.left():
            await self._finish(entry, pushes)

    async def _finish(self, entry: int, pushes: list[Push]) -> None:
        """Announce those of ``pushes`` that git has stored, then forget the note about them.

        With the profile ``upstream`` the protection of a first branch and the announcement come a moment after the
        push has been answered, as from GitLab's background jobs (contracts B.8).
        """
        moved = [push for push in pushes if push.ref.startswith(_ANNOUNCED) and push.before != push.after]
        patterns = _ANNOUNCED if len(moved) > _FEW else tuple({push.ref for push in moved})
        now = await self._gitlab.repositories.refs(moved[0].project, *patterns) if moved else {}
        stored = [push for push in moved if now.get(push.ref, ZERO_SHA) == push.after]
        first = await self._choose_default_branch(stored)
        if self._gitlab.config.upstream:
            self._gitlab.tasks.spawn(self._announce_later(entry, stored, first), "background work of a push")
        else:
            self._announce(entry, stored, first)

    async def _announce_later(self, entry: int, pushes: list[Push], first: str | None) -> None:
        await asyncio.sleep(UPSTREAM_DELAY)
        self._announce(entry, pushes, first)

    def _announce(self, entry: int, pushes: list[Push], first: str | None) -> None:
        """Protect a ``first`` default branch, then tell everybody."""
        if pushes:
            project = pushes[0].project
            if first and not self._gitlab.protected_branches.protects(project.id, first):
                self._gitlab.protected_branches.create(
                    project.id, first, push_access_level=MAINTAINER, merge_access_level=MAINTAINER
                )
            project.data |= {"last_activity_at": iso(), "updated_at": iso()}
            self._gitlab.projects.save(project)
            self._gitlab.announce(pushes)
        self._journal.forget(entry)

    async def _choose_default_branch(self, pushes: list[Push]) -> str | None:
        """A first push makes its branch the default one; of several, main or master wins (contracts B.6)."""
        branches = [push.branch for push in pushes if push.branch and push.after != ZERO_SHA]
        if not branches or pushes[0].project.default_branch:
            return None
        project = pushes[0].project
        chosen = next((name for name in ("main", "master") if name in branches), min(branches))
        await self._gitlab.repositories.git(project, "symbolic-ref", "HEAD", f"refs/heads/{chosen}")
        project.data |= {"default_branch": chosen, "empty_repo": False}
        self._gitlab.projects.save(project)
        return chosen

    async def _store(self, project: Project, body: IO[bytes], refusal: str | None, unforced: list[str]) -> bytes:
        arguments = ["receive-pack", "--stateless-rpc", "."]
        variables = {}
        if refusal or unforced:
            arguments = ["-c", f"core.hooksPath={self._hook_folder()}", *arguments]
            variables = {"GITLAB_REFUSAL": refusal or "", "GITLAB_UNFORCED": " ".join(unforced)}
        path = self._gitlab.repositories.path(project)
        process = await git.spawn(path, *arguments, stdin=body, stdout=PIPE, variables=variables)
        try:
            output, errors = await asyncio.wait_for(process.communicate(), LONGEST_PUSH)
        except asyncio.TimeoutError:
            raise GitError(("receive-pack",), -1, f"no end within {LONGEST_PUSH:.0f} s") from None
        finally:
            await git.reap(process)
        if process.returncode:
            log.info("receive-pack on project %s: %s", project.id, errors.decode(errors="replace").strip())
        return output

    def _hook_folder(self) -> Path:
        script = self._hooks / "pre-receive"
        if not script.exists() or script.read_text() != _PRE_RECEIVE:
            self._hooks.mkdir(parents=True, exist_ok=True)
            partial = self._hooks / "pre-receive.new"
            partial.write_text(_PRE_RECEIVE)
            partial.chmod(0o700)
            partial.replace(script)
        return self._hooks


def _foreign_options(request: pktline.Request) -> bytes:
    """What the client is told about push options that do nothing here."""
    unknown = [option for option in request.options if not option.startswith(_EMULATED_OPTIONS)]
    if not unknown or not request.sideband:
        return b""
    return pktline.message("\n".join(f"WARNING: not emulated: push option {option}" for option in unknown))
