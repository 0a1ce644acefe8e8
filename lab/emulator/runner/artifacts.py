"""Archives of a job's files: which files, and how they are packed and unpacked."""

from __future__ import annotations

import gzip
import subprocess
import zipfile
from pathlib import Path
from typing import Any


class UnsafeArchiveError(Exception):
    """An archive wants to write outside of its folder."""


def files(project: Path, wanted: dict[str, Any]) -> list[Path]:
    """The files of ``project`` that an entry of the payload's ``artifacts`` (or ``cache``) names, sorted."""
    found: set[Path] = set()
    for pattern in wanted.get("paths") or []:
        found |= _match(project, pattern)
    if wanted.get("untracked"):
        listing = subprocess.run(
            ["git", "ls-files", "--others", "-z"], cwd=project, capture_output=True, check=False, timeout=60
        ).stdout
        found |= {project / name for name in listing.decode(errors="surrogateescape").split("\0") if name}
    for pattern in wanted.get("exclude") or []:
        found -= _match(project, pattern)
    root = project.resolve()
    return sorted(path for path in found if path.resolve().is_relative_to(root))


def _match(project: Path, pattern: str) -> set[Path]:
    """Files that a pattern names, those in folders that it names included; hidden ones too."""
    relative = pattern.removeprefix(str(project)).lstrip("/").removeprefix("./") or "."
    found: set[Path] = set()
    for path in project.glob(relative) if relative != "." else [project]:
        if path.is_dir() and not path.is_symlink():
            found |= {inner for inner in path.rglob("*") if inner.is_file() or inner.is_symlink()}
        else:
            found.add(path)
    return {path for path in found if ".git" not in path.relative_to(project).parts[:1]}


def pack_zip(project: Path, members: list[Path], target: Path) -> None:
    """Write a zip archive with names relative to ``project``."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in members:
            archive.write(path, path.relative_to(project))


def pack_gzip(members: list[Path], target: Path) -> None:
    """Write the members one after the other, each as a gzip stream, as gitlab-runner does for reports."""
    with target.open("wb") as out:
        for path in members:
            with gzip.GzipFile(path.name, "wb", fileobj=out) as stream:
                stream.write(path.read_bytes())


def unpack_zip(archive: Path, project: Path) -> int:
    """Extract into ``project``; returns the number of files. Raises `UnsafeArchiveError`."""
    root = project.resolve()
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            target = (root / info.filename).resolve()
            if not target.is_relative_to(root):
                raise UnsafeArchiveError(info.filename)
            packed.extract(info, root)
            mode = info.external_attr >> 16 & 0o777
            if mode and not info.is_dir():
                target.chmod(mode)
        return len(packed.infolist())
