"""A repository of the user's instead of the sample: is it usable, and what in it points at other hosts?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.errors import UsageError
from lab.git import git
from lab.settings import ProjectSettings

_HOST = re.compile(
    r"https?://(?:[^@/\s]*@)?(?![^@/\s]*@)([A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9])(?=[:/\s\"']|$)"
    r"|\b((?:\d{1,3}\.){3}\d{1,3})\b"
)
_LABEL = re.compile(r"\b((?:[a-z0-9-]+\.)+[a-z][a-z0-9-]*):\d{2,5}(?=[/\s\"']|$)", re.IGNORECASE)
"""A registry with a port, in an image name or alone."""
_HARMLESS = ("localhost", "127.0.0.1", "0.0.0.0", "kubernetes.default.svc")  # noqa: S104 - compared, never bound
_PUBLIC = ("docker.io", "gitlab.com", "github.com", "k8s.io", "goproxy.cn", "golang.org", "pypi.org", "npmjs.org")
_SHOWN = 12


@dataclass(frozen=True)
class Source:
    """What an inspection has found."""

    sha: str
    summary: str
    hosts: tuple[str, ...]
    """``file:line host`` of every host that stands in the pipeline or the manifests."""


def inspect(project: ProjectSettings) -> Source:
    """Look at the branch of a local repository that would be pushed; nothing is changed.

    Raises:
        UsageError: it is no git repository, has no such branch, or lacks a file that the loop needs.
    """
    path = project.source
    if path is None:
        raise ValueError("there is no project.source")
    sha = _tip(path, project.branch)
    files = git("ls-tree", "-r", "--name-only", sha, cwd=path).stdout.splitlines()
    for needed, why in (
        (_dockerfile(path, sha, files), "the pipeline builds an image from it"),
        (".gitlab-ci.yml", "GitLab makes no pipeline without it"),
        (project.image_file, "the pipeline writes the image's tag into it (project.image_file)"),
    ):
        if needed not in files:
            raise UsageError(
                "LAB-SOURCE-03", f"Branch {project.branch} of {path} lacks {needed}.", evidence=f"{why}",
                hint=_nearest(needed, files),
            )  # fmt: skip
    hosts = tuple(_hosts(path, sha, project, files))
    count = git("rev-list", "--count", sha, cwd=path).stdout.strip()
    return Source(sha, f"{path}, {project.branch} at {sha[:8]}, {count} commits", hosts[:_SHOWN])


def _tip(path: Path, branch: str) -> str:
    if not path.is_dir():
        raise UsageError("LAB-SOURCE-01", f"project.source {path} is no folder.", hint="Mend project.source.")
    if git("rev-parse", "--git-dir", cwd=path, check=False).code != 0:
        raise UsageError(
            "LAB-SOURCE-01", f"project.source {path} is no git repository.",
            hint=f"git -C {path} init && git -C {path} add . && git -C {path} commit -m first",
        )  # fmt: skip
    found = git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}", cwd=path, check=False)
    if found.code != 0:
        names = git("for-each-ref", "--format=%(refname:short)", "refs/heads", cwd=path).stdout.split()
        raise UsageError(
            "LAB-SOURCE-02", f"{path} has no branch {branch} with a commit.",
            evidence="its branches: " + (", ".join(names) or "none"),
            hint="Set project.branch in lab.yaml to the branch that holds the code.",
        )  # fmt: skip
    return found.stdout.strip()


def _dockerfile(path: Path, sha: str, files: list[str]) -> str:
    """The Dockerfile that is wanted: at the top, or in the folder that the pipeline builds."""
    if "Dockerfile" not in files and ".gitlab-ci.yml" in files:
        text = git("cat-file", "blob", f"{sha}:.gitlab-ci.yml", cwd=path).stdout
        below = [file for file in files if file.endswith("/Dockerfile")]
        return next((file for file in below if file.removesuffix("/Dockerfile") in text), "Dockerfile")
    return "Dockerfile"


def _nearest(needed: str, files: list[str]) -> str:
    name = needed.rpartition("/")[2].lower()
    near = [file for file in files if file.rpartition("/")[2].lower() == name or file.lower().endswith("/" + name)]
    return f"There is {near[0]}." if near else "Add it and commit."


def _hosts(path: Path, sha: str, project: ProjectSettings, files: list[str]) -> Iterator[str]:
    """Hosts in the files that talk to GitLab, the registry or the cluster; a variable is no host."""
    looked = [file for file in files if file == ".gitlab-ci.yml" or file.startswith(project.manifests + "/")]
    for file in looked:
        text = git("cat-file", "blob", f"{sha}:{file}", cwd=path).stdout
        yield from (f"{file}:{number} {host}" for number, host in hosts_in(text))


def hosts_in(text: str) -> Iterator[tuple[int, str]]:
    """Every host that stands in a text and is neither public nor this machine, with its line; comments do not count."""
    for number, line in enumerate(text.splitlines(), 1):
        seen = dict.fromkeys(host for match in _HOST.findall(line) for host in match if host)
        seen |= dict.fromkeys(_LABEL.findall(line))
        for host in seen:
            if not line.lstrip().startswith("#") and host not in _HARMLESS and not host.endswith(_PUBLIC):
                yield number, host
