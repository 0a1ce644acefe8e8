"""Commits made by the API: actions on files become one commit and one moved ref (contracts B.9, B.10)."""

from __future__ import annotations

import base64
import binascii
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import ZERO_SHA, ApiError, Caller, Project
from lab.emulator.gitlab.push_policy import Command
from lab.emulator.gitlab.ref_names import valid

if TYPE_CHECKING:
    from lab.emulator.gitlab.server import GitLab

REGULAR, EXECUTABLE = "100644", "100755"
EXISTS, MISSING = "A file with this name already exists", "A file with this name doesn't exist"
_ACTIONS = ("create", "delete", "move", "update", "chmod")
_NOT_ALLOWED = "403 Forbidden - You are not allowed to push into this branch"


@dataclass
class Change:
    """What the API asks to commit."""

    branch: str
    message: str
    actions: list[dict[str, Any]]
    start_branch: str = ""
    start_sha: str = ""
    force: bool = False
    author_name: str = ""
    author_email: str = ""
    allow_empty: bool = False


@dataclass
class _Tree:
    """Files of the starting commit, and the edits on them: path -> (mode, blob id or content), None for removed."""

    files: dict[str, tuple[str, str]]
    edits: dict[str, tuple[str, str | bytes] | None] = field(default_factory=dict)

    def get(self, path: str) -> tuple[str, str | bytes] | None:
        return self.edits[path] if path in self.edits else self.files.get(path)

    def is_folder(self, path: str) -> bool:
        prefix = f"{path}/"
        return any(name.startswith(prefix) and self.get(name) for name in {*self.files, *self.edits})

    def under_file(self, path: str) -> bool:
        parts = path.split("/")
        return any(self.get("/".join(parts[:depth])) for depth in range(1, len(parts)))


class CommitWriter:
    """Makes commits without a work tree, through ``git fast-import``."""

    def __init__(self, gitlab: GitLab) -> None:
        self._gitlab = gitlab

    async def first(self, project: Project, caller: Caller, branch: str) -> str:
        """The README commit with which GitLab starts a repository on its own; answers its id."""
        text = f"# {project.data['name']}\n"
        if project.data.get("description"):
            text += f"\n{project.data['description']}\n"
        readme = {"action": "create", "file_path": "README.md", "content": text}
        return await self.create(project, caller, Change(branch, "Initial commit", [readme]))

    async def create(self, project: Project, caller: Caller, change: Change) -> str:
        """Commit ``change`` and move its branch; answers the new commit's id.

        Raises ApiError 400 for actions that do not fit the tree, 403 for a branch that the caller may not push to.
        """
        _check(change)
        policy = self._gitlab.pushes.policy
        if policy.upload(caller, project) or not policy.may_push_to(caller, project, change.branch):
            raise ApiError.message(403, _NOT_ALLOWED)
        head = f"refs/heads/{change.branch}"
        async with self._gitlab.repositories.writing(project):
            tip = await self._gitlab.repositories.ref(project, head)
            parent = await self._parent(project, change, tip)
            tree = _Tree(await self._files(project, parent) if parent else {})
            for action in change.actions:
                await self._apply(project, parent, tree, action)
            sha = await self._write(project, caller, change, parent, tree)
            await self._gitlab.pushes.update(project, caller, Command(tip, sha, head))
        return sha

    async def _parent(self, project: Project, change: Change, tip: str) -> str | None:
        start = change.start_branch or change.start_sha
        if not start or (change.start_branch == change.branch and tip != ZERO_SHA):
            if tip != ZERO_SHA:
                return tip
            if project.default_branch is None:
                return None
            raise ApiError.message(400, "You can only create or edit files when you are on a branch")
        if tip != ZERO_SHA and not change.force:
            text = f"A branch called '{change.branch}' already exists. Switch to that branch in order to make changes"
            raise ApiError.message(400, text)
        name = f"refs/heads/{change.start_branch}" if change.start_branch else change.start_sha
        sha = await self._gitlab.repositories.resolve(project, name)
        if sha is None:
            raise ApiError.message(400, "You can only create or edit files when you are on a branch")
        return sha

    async def _files(self, project: Project, commit: str) -> dict[str, tuple[str, str]]:
        out = await self._gitlab.repositories.git(project, "ls-tree", "-r", "-z", commit)
        files = {}
        for line in out.decode(errors="surrogateescape").split("\0"):
            meta, tab, path = line.partition("\t")
            if tab:
                mode, _, sha = meta.split()
                files[path] = (mode, sha)
        return files

    async def _apply(self, project: Project, parent: str | None, tree: _Tree, action: dict[str, Any]) -> None:
        kind, path = str(action["action"]), _path(action.get("file_path"))
        source = _path(action.get("previous_path") or path) if kind == "move" else path
        known = tree.get(source)
        if kind != "create" and known is None:
            raise ApiError.message(400, MISSING)
        if kind == "create" or (kind == "move" and source != path):
            _check_room(tree, path)
        if action.get("last_commit_id") and parent:
            await self._check_last(project, parent, source, str(action["last_commit_id"]))
        mode, blob = known or (REGULAR, b"")
        if action.get("content") is not None or kind in {"create", "update"}:
            blob = _content(action)
        if action.get("execute_filemode") is not None:
            mode = EXECUTABLE if str(action["execute_filemode"]).lower() in {"true", "1"} else REGULAR
        if kind in {"delete", "move"}:
            tree.edits[source] = None
        if kind != "delete":
            tree.edits[path] = (mode, blob)

    async def _check_last(self, project: Project, parent: str, path: str, wanted: str) -> None:
        found = await self._gitlab.repositories.log(project, "-1", parent, "--", f":(literal){path}")
        if found and found[0].id != wanted:
            text = "You are attempting to update a file that has changed since you started editing it."
            raise ApiError.message(400, text)

    async def _write(self, project: Project, caller: Caller, change: Change, parent: str | None, tree: _Tree) -> str:
        user = self._gitlab.users.get(caller.user_id)
        name, email = (user.name, user.email) if user else (caller.username, "")
        reference = f"refs/tmp/{uuid.uuid4()}"
        now = int(time.time())
        author = _person(change.author_name or name, change.author_email or email, now)
        lines = [f"commit {reference}\nauthor {author}\ncommitter {_person(name, email, now)}\n".encode()]
        lines.append(_data(change.message.encode()))
        if parent:
            lines.append(f"from {parent}\n".encode())
        removed = [path for path, edit in tree.edits.items() if edit is None and path in tree.files]
        lines += [b"D " + _quoted(path) + b"\n" for path in removed]
        for path, edit in tree.edits.items():
            if edit:
                lines.append(_file(path, *edit))
        repositories = self._gitlab.repositories
        try:
            await repositories.git(project, "fast-import", "--quiet", input=b"".join(lines))
            return await repositories.ref(project, reference)
        except GitError as error:
            raise ApiError.message(400, f"Could not create the commit: {error.stderr.strip()[:200]}") from error
        finally:
            await repositories.git(project, "update-ref", "-d", reference)


def _check(change: Change) -> None:
    if not valid(change.branch):
        raise ApiError.message(400, "Branch name is invalid")
    if not change.actions and not change.allow_empty:
        raise ApiError.message(400, "Provide at least one action, or set allow_empty to true")
    for action in change.actions:
        kind = action.get("action")
        if kind not in _ACTIONS:
            raise ApiError(400, {"error": "actions[0][action] does not have a valid value"})
        if kind == "chmod" and action.get("execute_filemode") is None:
            raise ApiError(400, {"error": "actions[0][execute_filemode] is missing"})


def _path(value: Any) -> str:
    path = str(value or "").strip("/")
    parts = path.split("/")
    if not path or any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts) or "\0" in path:
        raise ApiError.message(
            400, "You must provide a file path" if not path else "Path cannot include traversal syntax"
        )
    return path


def _check_room(tree: _Tree, path: str) -> None:
    if tree.get(path) or tree.under_file(path):
        raise ApiError.message(400, EXISTS)
    if tree.is_folder(path):
        raise ApiError.message(400, "A directory with this name already exists")


def _content(action: dict[str, Any]) -> bytes:
    text = str(action.get("content") or "")
    if action.get("encoding", "text") != "base64":
        return text.encode()
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error:
        raise ApiError.message(400, "400 Bad request - content is not valid base64") from None


def _person(name: str, email: str, now: int) -> str:
    """Name, address and time as git writes them; characters that would end the field are dropped."""
    clean = (text.translate(str.maketrans("", "", "<>\n\0")) for text in (name, email))
    return "{} <{}> {} +0000".format(*clean, now)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _file(path: str, mode: str, blob: str | bytes) -> bytes:
    if isinstance(blob, str):
        return f"M {mode} {blob} ".encode() + _quoted(path) + b"\n"
    return f"M {mode} inline ".encode() + _quoted(path) + b"\n" + _data(blob)


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return b'"' + escaped.encode(errors="surrogateescape") + b'"'
