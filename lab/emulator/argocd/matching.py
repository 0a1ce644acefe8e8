"""Which Applications a push concerns: repository URLs, revisions and paths (contracts F.3, F.5)."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlsplit

from lab.emulator.argocd import semver

_USER = r"[\w.][\w.-]{0,30}[\w.$-]?"


def web_url_pattern(web_url: str) -> re.Pattern[str]:
    """The pattern that an Application's repoURL must match for a push to the project at ``web_url``.

    Scheme, port, case and a ``.git`` suffix do not matter; host and path do. Raises ValueError for a broken URL.
    Source: Argo CD util/webhook/webhook.go, GetWebURLRegex.
    """
    parts = urlsplit(web_url)
    host = re.escape(parts.hostname or "")
    path = re.escape(quote(parts.path.removeprefix("/"), safe="/%-._~!$&'()*+,;=:@"))
    return re.compile(
        rf"^((https?|ssh)://)?({_USER}@)?((alt)?ssh\.)?{host}(:\d+)?[:/]{path}(\.git)?\Z", re.IGNORECASE | re.ASCII
    )


def normalized_url(url: str) -> str:
    """The form in which two repository URLs are compared: lower case, trimmed, without one ``.git``."""
    text = url.strip().lower()
    scp = re.match(r"^(ssh://)?([^/@]+@)[^/]+:", text)
    if scp and "://" not in text:
        text = "ssh://" + text.replace(":", "/", 1)
    return text.removesuffix(".git").removeprefix("ssh://")


def same_url(left: str, right: str) -> bool:
    """Whether two repository URLs name one repository; scheme, port and trailing slash must be equal.

    Source: Argo CD util/git/git.go, SameURL.
    """
    return bool(left.strip()) and normalized_url(left) == normalized_url(right)


def revision_of(ref: str) -> str:
    """The third part of a ref: ``refs/heads/feature/x`` gives ``feature/x``; a short name is returned as it is."""
    return ref.split("/", 2)[-1]


def revision_touched(target: str, pushed: str, *, touched_head: bool) -> bool:
    """Whether a push of the revision ``pushed`` moves the targetRevision ``target``.

    ``touched_head`` says that the push was to the project's default branch.
    """
    wanted = revision_of(target)
    if wanted in ("", "HEAD"):
        return touched_head
    if target.startswith(("refs/heads/", "refs/tags/")):
        return pushed == wanted or semver.satisfies(pushed, wanted)
    return pushed == target or semver.satisfies(pushed, target)


def refresh_paths(annotation: str, source_path: str) -> list[str]:
    """The paths of ``argocd.argoproj.io/manifest-generate-paths``, relative to the repository's root."""
    paths = []
    for item in filter(None, (part.strip() for part in annotation.split(";"))):
        absolute = item.startswith("/")
        paths.append(item[1:] if absolute else posixpath.normpath(posixpath.join(source_path, item)))
    return paths


def files_touched(paths: Sequence[str], changed: Iterable[str]) -> bool:
    """Whether one of the ``changed`` files lies under one of ``paths``; true when either list is empty."""
    files = [_rooted(file) for file in changed]
    if not files or not paths:
        return True
    return any(_under(_rooted(path), file) for file in files for path in paths)


def _rooted(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _under(path: str, file: str) -> bool:
    inside = posixpath.normpath(path).rstrip("/") + "/"
    return file == path or posixpath.normpath(file).startswith(inside) or _matches(path, file)


def _matches(pattern: str, file: str) -> bool:
    """Go's filepath.Match: wildcards do not cross a slash."""
    wanted, given = pattern.split("/"), file.split("/")
    return len(wanted) == len(given) and all(
        fnmatch.fnmatchcase(part, glob) for part, glob in zip(given, wanted, strict=True)
    )
