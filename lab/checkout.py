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

_LOGIN = "git-login"
_BRANCHES = "+refs/heads/*:refs/heads/*"


def clone(endpoints: Endpoints, settings: Settings, state: State, folder: Path) -> Path:
    """Check the code branch out; pushes and pulls log in by themselves, for this repository's host only.

    The token lies in `.lab/secrets` (0600) and nowhere in the clone.

    Raises:
        UsageError: the folder exists and is not empty.
        LabError: git's own words.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("LAB-CLONE-01", f"{folder} exists already.", hint="invoke clone OTHER-FOLDER")
    remote = git.as_root(endpoints, settings.project.path)
    state.put_secret(_LOGIN, f"username={remote.username}\npassword={remote.password}\n")
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = ("clone", "--quiet", "--branch", settings.project.branch, remote.url, folder)
    git.git(*words, cwd=folder.parent, remote=remote)
    configure(folder, remote, state.path(f"secrets/{_LOGIN}"))
    return folder


def configure(folder: Path, remote: git.Remote, login: Path) -> None:
    """Give a repository the way to GitLab and the helper that reads ``login``; its other remotes stay as they are."""
    helper = f'!f() {{ test "$1" = get && cat {shlex.quote(str(login.resolve()))}; }}; f'
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
