"""A container's view of its file system: a private copy of the image's files with the volumes linked in.

There is no chroot without privileges. The process runs in the machine's own file system with its working folder
inside the copy, and absolute paths in its command and environment that exist in the copy are translated.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INTERPRETERS = ("python", "python3", f"python3.{sys.version_info.minor}")


@dataclass(frozen=True)
class Mount:
    """A volume in a container: ``source`` on this machine appears at ``path`` (absolute, in the container)."""

    path: str
    source: Path


def inside(root: Path, path: str) -> Path:
    """Where ``path`` of the container lies below ``root``; links are followed as if ``root`` were ``/``.

    Raises:
        OSError: a link points at itself.
    """
    ahead = [part for part in path.split("/") if part not in ("", ".")]
    parts: list[str] = []
    hops = 0
    while ahead:
        part = ahead.pop(0)
        if part == "..":
            parts = parts[:-1]
            continue
        here = root.joinpath(*parts, part)
        if not here.is_symlink():
            parts.append(part)
            continue
        hops += 1
        if hops > 40:
            raise OSError(f"too many levels of symbolic links: {path}")
        target = str(here.readlink())
        if target.startswith("/"):
            parts = []
        ahead = [piece for piece in target.split("/") if piece not in ("", ".")] + ahead
    return root.joinpath(*parts)


def build(image: Path, view: Path, mounts: Iterable[Mount]) -> None:
    """Make the view anew: the image's files, then the mounts; blocking.

    Raises:
        OSError: the disk is full, or a mount point cannot be made.
    """
    if view.exists():
        shutil.rmtree(view)
    view.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(image, view, symlinks=True, ignore=_special)
    view.chmod(0o700)
    for folder in ("tmp", "dev"):
        inside(view, folder).mkdir(parents=True, exist_ok=True)
    done: list[Mount] = []
    for mount in sorted(mounts, key=lambda each: each.path.count("/")):
        _link(view, mount, done)
        done.append(mount)


def _special(folder: str, names: list[str]) -> list[str]:
    """Names that cannot be copied: devices, sockets and pipes."""
    entries = ((name, Path(folder, name)) for name in names)
    return [name for name, path in entries if not (path.is_symlink() or path.is_dir() or path.is_file())]


def _link(view: Path, mount: Mount, others: Iterable[Mount]) -> None:
    around, rest = _around(others, mount.path)
    place = inside(around.source if around else view, rest)
    if place == view:
        raise OSError(f"not emulated: a volume mounted at {mount.path}")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    place.symlink_to(mount.source)


def _around(mounts: Iterable[Mount], path: str) -> tuple[Mount | None, str]:
    """The innermost mount that holds ``path``, and the rest of the path inside it."""
    clean = os.path.normpath(path)
    for mount in sorted(mounts, key=lambda each: -len(each.path)):
        point = os.path.normpath(mount.path)
        if clean == point or clean.startswith(point + "/"):
            return mount, clean[len(point) + 1 :]
    return None, clean


def present(view: Path, mounts: Iterable[Mount], path: str) -> Path | None:
    """The place of an absolute ``path`` of the container when it exists there, else None.

    Inside a mount every path counts as existing, and its links are left alone: they may change.
    """
    if not path.startswith("/") or path.strip("/") == "":
        return None
    around, rest = _around(mounts, path)
    if around is not None:
        return around.source / rest if rest else around.source
    found = inside(view, rest)
    return found if found.exists() else None


def translate(view: Path, mounts: Iterable[Mount], text: str) -> str:
    """``text`` with an absolute path of the container replaced by its real place.

    Understood are a path alone, ``--option=/path``, and lists of paths joined by ``:``.
    """
    mounts = list(mounts)
    head, equals, tail = text.partition("=")
    if equals and head.startswith("-") and tail.startswith("/"):
        return f"{head}={translate(view, mounts, tail)}"
    if not text.startswith("/"):
        return text
    pieces = [str(present(view, mounts, piece) or piece) for piece in text.split(":")]
    return ":".join(pieces)


def install_tools(folder: Path) -> None:
    """Offer this interpreter as ``python`` in ``folder``, without the packages of the emulator's environment."""
    folder.mkdir(parents=True, exist_ok=True)
    interpreter = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    for name in _INTERPRETERS:
        link = folder / name
        if link.is_symlink() and link.readlink() == interpreter:
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(interpreter)


def search_path(view: Path, tools: Path, image_path: str, *, emptied: bool) -> str:
    """``PATH`` of a process: the emulator's interpreter, the image's folders, the machine's.

    An image that brings its base along (the builder did not leave it empty) has its own tools first.
    """
    own = [str(found) for each in image_path.split(":") if (found := present(view, (), each))]
    order = [str(tools), *own] if emptied else [*own, str(tools)]
    return ":".join([*order, _HOST_PATH])


def find_program(name: str, path: str, folder: Path) -> str | None:
    """The executable that ``name`` means, looked up in ``path``; one with a slash is relative to ``folder``."""
    if "/" in name:
        candidate = folder / name
        return str(candidate) if os.access(candidate, os.X_OK) and candidate.is_file() else None
    return shutil.which(name, path=path)
