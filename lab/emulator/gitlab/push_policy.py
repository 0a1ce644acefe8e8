"""What may be fetched and pushed, with the words in which GitLab refuses (git_access.rb, branch_check.rb)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.emulator.gitlab.access import Access
from lab.emulator.gitlab.model import DEVELOPER, MAINTAINER, REPORTER, ZERO_SHA, Caller, Project
from lab.emulator.gitlab.protection import ProtectedBranches

NO_FORCE = "You are not allowed to force push code to a protected branch on this project."
_HEADS = "refs/heads/"
_HEX_NAME = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?(-/|/|$)")


@dataclass(frozen=True)
class Command:
    """One ref to move, as a push asks for it."""

    before: str
    after: str
    ref: str

    @property
    def branch(self) -> str | None:
        """The branch's name, or None for any other ref."""
        return self.ref[len(_HEADS) :] if self.ref.startswith(_HEADS) else None


class PushPolicy:
    """The checks of a fetch and of a push; every answer is None, or the text that refuses it."""

    def __init__(self, access: Access, protection: ProtectedBranches) -> None:
        self._access = access
        self._protection = protection

    def download(self, caller: Caller, project: Project) -> str | None:
        """Whether the caller may read code."""
        if caller.kind not in {"job", "anonymous"} and not caller.scopes & {
            "api",
            "read_repository",
            "write_repository",
        }:
            return "You are not allowed to download code."
        if project.data["visibility"] == "private" and self._access.level(caller, project) < REPORTER:
            return "You are not allowed to download code from this project."
        return None

    def upload(self, caller: Caller, project: Project) -> str | None:
        """Whether the caller may push anything at all."""
        if caller.kind == "job":
            allowed = bool(project.data.get("ci_push_repository_for_job_token_allowed"))
            if not allowed or caller.project_id != project.id:
                return "You are not allowed to upload code."
        elif caller.kind == "deploy" or not caller.scopes & {"api", "write_repository"}:
            return "You are not allowed to upload code."
        if project.data.get("archived"):
            return "You can't push code to an archived project."
        if self._access.level(caller, project) < DEVELOPER:
            return "You are not allowed to push code to this project."
        return None

    def refuses(self, caller: Caller, project: Project, commands: list[Command], *, web: bool) -> str | None:
        """The first reason against ``commands``; ``web`` says that they come through the API."""
        for command in commands:
            if reason := self._refuses(caller, project, command, web=web):
                return reason
        return None

    def may_push_to(self, caller: Caller, project: Project, branch: str) -> bool:
        """Whether the caller may push to a branch, protected or not."""
        level = self._access.level(caller, project)
        if project.default_branch is None:
            return level >= MAINTAINER
        if self._protection.protects(project.id, branch):
            return self._protection.may_push(project.id, branch, level)
        return level >= DEVELOPER

    def unforced(self, project: Project, commands: list[Command]) -> list[str]:
        """The refs of ``commands`` whose history must not be rewritten; the objects decide later."""
        return [
            command.ref
            for command in commands
            if command.branch
            and ZERO_SHA not in {command.before, command.after}
            and self._protection.protects(project.id, command.branch)
            and not self._protection.may_force(project.id, command.branch)
        ]

    def _refuses(self, caller: Caller, project: Project, command: Command, *, web: bool) -> str | None:
        branch = command.branch
        if branch is None:
            return None
        deletes = command.after == ZERO_SHA
        if deletes and branch == project.default_branch:
            return "The default branch of a project cannot be deleted."
        if not deletes and _HEX_NAME.match(branch):
            return "You cannot create a branch with a SHA-1 or SHA-256 branch name"
        if project.default_branch is None:
            return None if self.may_push_to(caller, project, branch) else _no_default_branch(project)
        if not self._protection.protects(project.id, branch):
            return None
        if deletes:
            return self._refuses_delete(caller, project, web=web)
        if self.may_push_to(caller, project, branch):
            return None
        if command.before == ZERO_SHA:
            return self._refuses_create(caller, project, branch, web=web)
        return "You are not allowed to push code to protected branches on this project."

    def _refuses_delete(self, caller: Caller, project: Project, *, web: bool) -> str | None:
        if not self._access.maintains(caller, project):
            return (
                "You are not allowed to delete protected branches from this project. "
                "Only a project maintainer or owner can delete a protected branch."
            )
        return None if web else "You can only delete protected branches using the web interface."

    def _refuses_create(self, caller: Caller, project: Project, branch: str, *, web: bool) -> str | None:
        if not self._protection.may_merge(project.id, branch, self._access.level(caller, project)):
            return "You are not allowed to create protected branches on this project."
        return None if web else "You can only create protected branches using the web interface and API."


def _no_default_branch(project: Project) -> str:
    return (
        f"\nA default branch (e.g. main) does not yet exist for {project.path_with_namespace}\n"
        "Ask a project Owner or Maintainer to create a default branch:\n\n"
        f"  {project.data['web_url']}/-/project_members\n"
    )
