"""How refs move: one path for git pushes and for the API, with checks before and announcements after."""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lab.emulator.gitlab import git, pktline
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import MAINTAINER, ZERO_SHA, ApiError, Caller, Project, Push
from lab.emulator.gitlab.paging import iso
from lab.emulator.gitlab.push_policy import NO_FORCE, Command, PushPolicy

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

log = logging.getLogger(__name__)

LONGEST_PUSH = 600.0
"""Seconds that git may take to store one push."""
_JOURNAL = "gitlab.pushes"
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
        self._hooks = gitlab.config.data / "git-hooks"

    async def receive(self, project: Project, caller: Caller, body: IO[bytes]) -> bytes:
        """Run ``git receive-pack`` on a request body and answer its output.

        Raises `pktline.ProtocolError` for a body that is no push, `GitError` when git takes too long.
        """
        request = pktline.read_request(body)
        body.seek(0)
        refusal = self.policy.refuses(caller, project, request.commands, web=False)
        unforced = self.policy.unforced(project, request.commands)
        async with self._gitlab.repositories.writing(project):
            entry = self._note(project, caller, request.commands, request.options)
            try:
                output = await self._store(project, body, refusal, unforced)
                stored = pktline.accepted(output, request)
            except GitError:
                await self._finish(project, caller, entry, request.commands, request.options)
                raise
            moved = request.commands if stored is None else [c for c in request.commands if c.ref in stored]
            await self._finish(project, caller, entry, moved, request.options)
        return _foreign_options(request) + output

    async def update(self, project: Project, caller: Caller, command: Command, *, force: bool = False) -> None:
        """Move one ref for the API; the objects are there already.

        Raises ApiError 400 with the pre-receive text, or when the ref has moved meanwhile. The caller of this
        method holds ``repositories.writing``.
        """
        reason = self.policy.refuses(caller, project, [command], web=True)
        if not reason and not force and self.policy.unforced(project, [command]):
            ancestor = await self._gitlab.repositories.is_ancestor(project, command.before, command.after)
            reason = None if ancestor else NO_FORCE
        if reason:
            raise ApiError.message(400, reason.strip())
        entry = self._note(project, caller, [command], ())
        arguments = ("-d", command.ref) if command.after == ZERO_SHA else (command.ref, command.after)
        try:
            await self._gitlab.repositories.git(project, "update-ref", *arguments, command.before)
        except GitError as error:
            self._gitlab.database.delete(_JOURNAL, entry)
            log.info("update-ref refused: %s", error)
            raise ApiError.message(400, "Could not update the branch. Please try again.") from error
        await self._finish(project, caller, entry, [command], ())

    async def recover(self) -> None:
        """Announce what was stored, but not announced, when the process was killed."""
        for key, body in self._gitlab.database.all(_JOURNAL):
            project = self._gitlab.projects.get(int(body["project"]))
            if project:
                caller = Caller(**{**body["caller"], "scopes": frozenset(body["caller"]["scopes"])})
                commands = [Command(*entry) for entry in body["commands"]]
                await self._finish(project, caller, int(key), commands, tuple(body["options"]))
            self._gitlab.database.delete(_JOURNAL, key)

    async def _finish(
        self, project: Project, caller: Caller, entry: int, commands: list[Command], options: tuple[str, ...]
    ) -> None:
        """Announce those of ``commands`` that git has stored, then forget the note about them."""
        moved = [c for c in commands if await self._gitlab.repositories.ref(project, c.ref) == c.after]
        await self._settle(project, caller, moved, options)
        self._gitlab.database.delete(_JOURNAL, entry)

    def _note(self, project: Project, caller: Caller, commands: list[Command], options: tuple[str, ...]) -> int:
        """Write down what is about to happen, so that `recover` can finish it."""
        entry = self._gitlab.database.next_id(_JOURNAL)
        body: dict[str, Any] = {
            "project": project.id,
            "caller": {**vars(caller), "scopes": sorted(caller.scopes)},
            "commands": [[c.before, c.after, c.ref] for c in commands],
            "options": list(options),
        }
        self._gitlab.database.put(_JOURNAL, entry, body)
        return entry

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

    async def _settle(self, project: Project, caller: Caller, moved: list[Command], options: tuple[str, ...]) -> None:
        """What follows a push: a first default branch and its protection, then the announcement of each ref."""
        refs = [c for c in moved if c.ref.startswith(("refs/heads/", "refs/tags/")) and c.before != c.after]
        if not refs:
            return
        await self._choose_default_branch(project, [c.branch for c in refs if c.branch and c.after != ZERO_SHA])
        project.data |= {"last_activity_at": iso(), "updated_at": iso()}
        self._gitlab.projects.save(project)
        self._gitlab.announce([Push(project, c.ref, c.before, c.after, caller, options) for c in refs])

    async def _choose_default_branch(self, project: Project, branches: list[str]) -> None:
        """A first push makes its branch the default one and protects it; of several, main or master wins (B.6)."""
        if project.default_branch or not branches:
            return
        chosen = next((name for name in ("main", "master") if name in branches), min(branches))
        await self._gitlab.repositories.git(project, "symbolic-ref", "HEAD", f"refs/heads/{chosen}")
        project.data |= {"default_branch": chosen, "empty_repo": False}
        if not self._gitlab.protected_branches.protects(project.id, chosen):
            self._gitlab.protected_branches.create(
                project.id, chosen, push_access_level=MAINTAINER, merge_access_level=MAINTAINER
            )


def _foreign_options(request: pktline.Request) -> bytes:
    """What the client is told about push options that do nothing here."""
    unknown = [option for option in request.options if not option.startswith(_EMULATED_OPTIONS)]
    if not unknown or not request.sideband:
        return b""
    return pktline.message("\n".join(f"WARNING: not emulated: push option {option}" for option in unknown))
