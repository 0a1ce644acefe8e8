"""The only door to git: commits made and pushed without touching the user's own configuration, credentials or files.

A remote is addressed by its identity; ``url.<route>.insteadOf`` takes the way that this host has to it. The token goes
through a credential helper that reads it from the environment, so it is on no command line and in no file.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import LabError
from lab.model import Endpoints
from lab.shell import Completed, run

# `-c credential.helper=` empties the list first: a person's own helper must neither answer nor store our token.
_HELPER = '!f() { test "$1" = get && echo "username=$LAB_GIT_USER" && echo "password=$LAB_GIT_PASSWORD"; }; f'
_ALONE = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_TIMEOUT = 120.0
_ATTEMPTS = 5
_SHOWN = 2000


@dataclass(frozen=True)
class Remote:
    """A repository on GitLab and a login for it."""

    identity: str
    """GitLab's external URL."""
    route: str
    """Base URL that reaches it from here."""
    path: str
    """Path of the project, ``root/hichat``."""
    username: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """The clone URL as everybody writes it."""
        return f"{self.identity}/{self.path}.git"


@dataclass(frozen=True)
class Person:
    """Author and committer of a commit."""

    name: str
    email: str
    date: str = ""
    """Fixed time, ``2026-01-01T00:00:00Z``, for a commit that must come out the same each time; empty is now."""

    def variables(self) -> dict[str, str]:
        """The environment that git takes them from."""
        found: dict[str, str] = {}
        for role in ("AUTHOR", "COMMITTER"):
            found |= {f"GIT_{role}_NAME": self.name, f"GIT_{role}_EMAIL": self.email}
            if self.date:
                found[f"GIT_{role}_DATE"] = self.date
        return found


def as_root(endpoints: Endpoints, path: str) -> Remote:
    """The project with the root token; GitLab takes any user name beside a personal access token."""
    return Remote(endpoints.gitlab, endpoints.gitlab_route, path, "root", endpoints.root_token)


def git(
    *words: str | Path,
    cwd: Path,
    remote: Remote | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    check: bool = True,
    alone: bool = True,
    timeout: float = _TIMEOUT,
) -> Completed:
    """Run git in ``cwd``; with ``remote`` it can reach and log in to that repository.

    ``alone`` keeps the user's and the system's configuration out.

    Raises:
        LabError: git ended with an error (while ``check`` holds) or is missing.
        TimedOut: the time was over.
    """
    options: list[str] = ["-c", "safe.directory=*", "-c", "gc.auto=0"]
    variables = {**(_ALONE if alone else {}), **(env or {})}
    if remote:
        options += ["-c", "credential.helper=", "-c", f"credential.helper={_HELPER}", "-c", "http.proxy="]
        if remote.route != remote.identity:
            options += ["-c", f"url.{remote.route}/.insteadOf={remote.identity}/"]
        variables |= {"LAB_GIT_USER": remote.username, "LAB_GIT_PASSWORD": remote.password}
    secrets = [remote.password] if remote else []
    done = run(["git", *options, *words], timeout=timeout, cwd=cwd, env=variables, stdin=stdin, check=False,
               secrets=secrets)  # fmt: skip
    if check and done.code != 0:
        raise LabError(
            "LAB-GIT-02",
            f"`git {words[0]}` failed{f' for {remote.url}' if remote else ''}.",
            evidence=(done.stderr.strip() or done.stdout.strip())[-_SHOWN:],
            hint="Git's own words are above" + ("; `invoke verify` checks GitLab and its tokens." if remote else "."),
        )
    return done


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty bare repository that lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="lab-git-") as folder:
        path = Path(folder)
        git("init", "--quiet", "--bare", "--initial-branch=main", ".", cwd=path)
        yield path


@contextmanager
def snapshot(folder: Path, message: str, person: Person) -> Iterator[tuple[Path, str]]:
    """A repository that holds ``folder`` as its only commit: yields its path and the commit's SHA.

    The same files, message and dated person give the same SHA on every machine.
    """
    with scratch() as path, tempfile.TemporaryDirectory(prefix="lab-tree-") as copy:
        tree = shutil.copytree(folder, Path(copy) / "tree", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        git("--git-dir", path, "--work-tree", tree, "add", "--all", "--force", ".", cwd=tree)
        written = git("write-tree", cwd=path).stdout.strip()
        sha = git("commit-tree", written, "-m", message, cwd=path, env=person.variables()).stdout.strip()
        yield path, sha


def push(repository: Path, remote: Remote, revision: str, branch: str) -> None:
    """Push a commit to a branch, never with force.

    Raises:
        LabError: GitLab refused it; the evidence holds git's text.
    """
    git("push", "--quiet", remote.url, f"{revision}:refs/heads/{branch}", cwd=repository, remote=remote)


def append(remote: Remote, branch: str, message: str, person: Person, files: Mapping[str, str] | None = None) -> str:
    """Put one commit on top of a remote branch and push it; without ``files`` it changes nothing.

    Somebody else's push in between is met by starting again from the new tip.

    Args:
        remote: where the branch is.
        branch: it must exist.
        message: the commit's message; ``{trailers}`` in it becomes the trailers of the commit below.
        person: author and committer.
        files: content by path; what is not named stays.

    Returns:
        The SHA of the pushed commit.
    """
    with scratch() as path:
        for attempt in range(1, _ATTEMPTS + 1):
            git("fetch", "--quiet", "--depth=1", remote.url, f"+refs/heads/{branch}:refs/tip", cwd=path, remote=remote)
            sha = _commit_on_tip(path, message, person, files or {})
            pushed = git("push", "--quiet", remote.url, f"{sha}:refs/heads/{branch}", cwd=path, remote=remote,
                         check=False)  # fmt: skip
            if pushed.code == 0:
                return sha
            moved = any(text in pushed.stderr for text in ("fetch first", "non-fast-forward", "cannot lock ref"))
            if not moved or attempt == _ATTEMPTS:
                raise LabError(
                    "LAB-GIT-01", f"The push to {branch} was refused.", evidence=pushed.stderr.strip(),
                    hint="GitLab's own words are above; `invoke verify` checks tokens and protected branches.",
                )  # fmt: skip
    raise AssertionError  # the loop above always ends in a return or a raise


def _commit_on_tip(path: Path, message: str, person: Person, files: Mapping[str, str]) -> str:
    if "{trailers}" in message:
        below = git("log", "-1", "--format=%(trailers:only,unfold)", "refs/tip", cwd=path).stdout.strip()
        message = message.replace("{trailers}", below)
    git("read-tree", "refs/tip", cwd=path)
    for name, content in files.items():
        blob = git("hash-object", "-w", "--stdin", cwd=path, stdin=content).stdout.strip()
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", cwd=path)
    tree = git("write-tree", cwd=path).stdout.strip() if files else "refs/tip^{tree}"
    return git(
        "commit-tree", tree, "-p", "refs/tip", "-F", "-", cwd=path, env=person.variables(), stdin=message.strip() + "\n"
    ).stdout.strip()
