"""The project on the user's disk: a clone with a login of its own, and a bundle before anything is removed."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from lab import git
from lab.errors import UsageError
from lab.forge import Forge
from lab.model import Endpoints
from lab.settings import Settings
from lab.state import State

_TOKEN = "root-token"  # noqa: S105 - the name of the file
"""The secret that every engine keeps root's token in, and puts a new one when it had to be made."""
_BRANCHES = "+refs/heads/*:refs/heads/*"


def clone(endpoints: Endpoints, settings: Settings, state: State, folder: Path) -> Path:
    """Check the code branch out; pushes and pulls log in by themselves, for this repository's host only.

    The token lies in `.lab/secrets` (0600) and nowhere in the clone, so a clone goes on when `up` makes another token.

    Raises:
        UsageError: the folder exists and is not empty.
        LabError: git's own words.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("LAB-CLONE-01", f"{folder} exists already.", hint="invoke clone OTHER-FOLDER")
    remote = git.as_root(endpoints, settings.project.path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = ("clone", "--quiet", "--branch", settings.project.branch, remote.url, folder)
    git.git(*words, cwd=folder.parent, remote=remote)
    configure(folder, remote, state.path(f"secrets/{_TOKEN}"))
    return folder


def configure(folder: Path, remote: git.Remote, token: Path) -> None:
    """Give a repository the way to GitLab and the helper that reads ``token``; its other remotes stay as they are."""
    said = f'printf "username=%s\\npassword=%s\\n" {remote.username} "$(cat {shlex.quote(str(token.resolve()))})"'
    helper = f'!f() {{ test "$1" = get && {said}; }}; f'
    if remote.route != remote.identity:
        git.git("config", f"url.{remote.route}/.insteadOf", f"{remote.identity}/", cwd=folder)
    for base in dict.fromkeys((remote.route, remote.identity)):
        # The empty entry forgets the user's own helpers, which would offer to keep the lab's token.
        git.git("config", "--replace-all", f"credential.{base}.helper", "", cwd=folder)
        git.git("config", "--add", f"credential.{base}.helper", helper, cwd=folder)
    for key, value in (("user.name", "Learner"), ("user.email", "learner@lab.test")):
        if git.git("config", "--get", key, cwd=folder, check=False, alone=False).code != 0:
            git.git("config", key, value, cwd=folder)


def bundle(endpoints: Endpoints, settings: Settings, _state: State, file: Path) -> Path | None:
    """Write every branch of the project into one file that ``git clone`` reads; None when there are no commits."""
    forge = Forge(endpoints, settings.project.path)
    if forge.project() is None or not forge.rows(forge.at("repository", "branches"), limit=1):
        return None
    remote = git.as_root(endpoints, settings.project.path)
    with git.scratch() as path, tempfile.TemporaryDirectory(prefix="lab-bundle-", dir=file.parent) as folder:
        git.git("fetch", "--quiet", remote.url, _BRANCHES, cwd=path, remote=remote)
        git.git("symbolic-ref", "HEAD", f"refs/heads/{settings.project.branch}", cwd=path)
        part = Path(folder) / file.name
        git.git("bundle", "create", "--quiet", part, "HEAD", "--branches", cwd=path)
        part.replace(file)
    return file
