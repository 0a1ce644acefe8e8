"""The folder that a person names: a git repository, one of its subfolders, a bare repository, or no repository at all.

Nothing is changed here. What is read is what lies in the working tree, because that is what the next commit will hold.
A folder may be huge: names are listed up to a limit, and only the few files that matter are opened.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import assets
from lab.adopt.finding import Finding
from lab.errors import UsageError
from lab.git import git

MOST_FILES = 20_000
"""How many entries of a folder without git are looked at, the upper levels first."""
MOST_BYTES = 256 * 1024
"""How much of one file is read."""
_SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", "target", "vendor", ".gradle", ".idea"})
_SHOWN = 3
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Repository:
    """What is there, by name; files are read when asked for."""

    root: Path
    """The folder that holds everything: what `project.source` will be."""
    folder: str
    """Where the application lies below `root`; empty for `root` itself."""
    kind: str
    """``git``, ``bare`` or ``plain``."""
    branch: str
    """The branch that is checked out; empty when HEAD is detached."""
    commits: int
    all_names: tuple[str, ...]
    """Every file, relative to `root`."""
    complete: bool = True
    """Whether `all_names` holds all of them."""
    called: str = ""
    """The name that the person gave; else the folder's is taken."""

    @property
    def names(self) -> tuple[str, ...]:
        """The application's files, relative to its folder."""
        if not self.folder:
            return self.all_names
        inside = f"{self.folder}/"
        return tuple(name[len(inside) :] for name in self.all_names if name.startswith(inside))

    @property
    def slug(self) -> str:
        """A name for project, Deployment and namespace: a DNS label."""
        name = self.called or (Path(self.folder).name if self.folder else self.root.name.removesuffix(".git"))
        label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_NAME].strip("-")
        return label if label[:1].isalpha() else f"app-{label}".strip("-")

    def at(self, name: str) -> str:
        """A file of the application as seen from `root`."""
        return f"{self.folder}/{name}" if self.folder else name

    def read(self, name: str) -> str | None:
        """The beginning of a file below `root`; None when there is no such file that can be read."""
        if self.kind == "bare":
            shown = git("cat-file", "blob", f"HEAD:{name}", cwd=self.root, check=False)
            return shown.stdout[:MOST_BYTES] if shown.code == 0 else None
        path = self.root / name
        try:
            # A link that leads out of the repository is not part of what will be pushed.
            if not path.resolve().is_relative_to(self.root) or not path.is_file():
                return None
            with path.open("rb") as file:
                return file.read(MOST_BYTES).decode("utf-8", errors="replace")
        except OSError:
            return None


def look(path: Path, called: str = "") -> Repository:
    """Find out what kind of folder it is and what it holds; ``called`` is the name that the project is to have.

    Raises:
        UsageError: it does not exist, is a file, may not be read, or belongs to the lab itself.
    """
    path = _folder(path)
    if path.is_relative_to(assets.ROOT):
        raise UsageError("LAB-ADOPT-04", f"{path} is the lab itself.", hint="Name the folder of your own project.")
    asked = git("rev-parse", "--is-bare-repository", cwd=path, check=False)
    if asked.code != 0:
        names, complete = _walk(path)
        return Repository(path, "", "plain", "main", 0, names, complete, called)
    if asked.stdout.strip() == "true":
        listed = git("ls-tree", "-r", "-z", "--name-only", "HEAD", cwd=path, check=False).stdout
        return Repository(path, "", "bare", _branch(path), _commits(path), _names(listed), called=called)
    top = git("rev-parse", "--show-toplevel", cwd=path, check=False)
    if top.code != 0:
        raise UsageError("LAB-ADOPT-05", f"{path} lies inside a .git folder.", hint="Name the folder that holds .git.")
    root = Path(top.stdout.rstrip("\n")).resolve()
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=root).stdout
    deleted = set(_names(git("ls-files", "-z", "--deleted", cwd=root).stdout))
    names = tuple(name for name in dict.fromkeys(_names(listed)) if name not in deleted)
    folder = "" if path == root else str(path.relative_to(root))
    return Repository(root, folder, "git", _branch(root), _commits(root), names, called=called)


def findings(repository: Repository) -> Iterator[Finding]:
    """What is to be said about the repository as such."""
    place = str(repository.root)
    if repository.kind == "plain":
        hint = f"git -C {place} init -b {repository.branch} && git -C {place} add . && git -C {place} commit -m first"
        yield Finding("git.repository", "missing", "It is no git repository; the lab pushes commits.", hint=hint)
    elif not repository.commits:
        yield Finding("git.commits", "missing", "It has no commit yet; the lab pushes commits.", hint="git commit")
    elif not repository.branch:
        hint = f"git -C {place} switch BRANCH"
        yield Finding("git.branch", "wrong", "HEAD is detached; the lab pushes a branch.", hint=hint)
    else:
        said = f"branch {repository.branch}, {repository.commits} commit{'s' * (repository.commits > 1)}"
        yield Finding("git.repository", "ok", said + (", bare" if repository.kind == "bare" else ""))
    if not repository.complete:
        yield Finding("git.size", "note", f"Only its first {MOST_FILES} files and folders were looked at.")
    if repository.kind == "git":
        yield from _unusual(repository)


def _unusual(repository: Repository) -> Iterator[Finding]:
    """What a push to the lab's GitLab does not carry along."""
    if repository.folder:
        said = f"It is a folder of {repository.root}; the lab pushes that whole repository and builds this folder."
        yield Finding("git.subfolder", "note", said)
    changed = git("status", "--porcelain", cwd=repository.root, check=False).stdout.splitlines()
    if changed and repository.commits:
        names = ", ".join(line[3:] for line in changed[:_SHOWN]) + (" …" if len(changed) > _SHOWN else "")
        said = f"{len(changed)} changes are not committed ({names}); the lab pushes commits."
        yield Finding("git.uncommitted", "note", said, hint=f"git -C {repository.root} status")
    if ".gitmodules" in repository.all_names:
        hint = "Set GIT_SUBMODULE_STRATEGY in .gitlab-ci.yml, or put the files into the repository."
        said = "Submodules are not pushed along, and jobs do not fetch them by themselves."
        yield Finding("git.submodules", "note", said, ".gitmodules", hint)
    attributes = repository.read(".gitattributes") or ""
    if "filter=lfs" in attributes:
        said = "Files in Git LFS are not pushed: the image would hold their pointers."
        yield Finding("git.lfs", "wrong", said, ".gitattributes", "Take what the image needs out of LFS.")


def _folder(path: Path) -> Path:
    try:
        found = path.expanduser().resolve()
        if not found.exists():
            raise UsageError("LAB-ADOPT-01", f"There is no {found}.", hint="invoke adopt FOLDER")
        if not found.is_dir():
            hint = f"invoke adopt {found.parent}"
            raise UsageError("LAB-ADOPT-02", f"{found} is a file; a folder is wanted.", hint=hint)
        if not os.access(found, os.R_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(found))
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UsageError(
            "LAB-ADOPT-03", f"{path} cannot be read.", evidence=str(error), hint="Look at its owner: ls -ld"
        ) from error
    return found


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name for name in listed.split("\0") if name)


def _branch(path: Path) -> str:
    return git("symbolic-ref", "--short", "--quiet", "HEAD", cwd=path, check=False).stdout.strip()


def _commits(path: Path) -> int:
    counted = git("rev-list", "--count", "HEAD", cwd=path, check=False)
    return int(counted.stdout) if counted.code == 0 else 0


def _walk(top: Path) -> tuple[tuple[str, ...], bool]:
    """Files below a folder, level by level; whether these are all."""
    names: list[str] = []
    ahead, seen = deque([top]), 0
    while ahead:
        for entry in _entries(ahead.popleft()):
            seen += 1
            if seen > MOST_FILES:
                return tuple(names), False
            if not entry.is_dir(follow_symlinks=False):
                names.append(os.path.relpath(entry.path, top))
            elif entry.name not in _SKIPPED:
                ahead.append(Path(entry.path))
    return tuple(names), True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:  # one folder that may not be read does not hide the others
        return []
