"""Unpacks an image as root: owners, modes and hard links are kept."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from lab.emulator.docker import layer
from lab.emulator.docker.store import Image, Store
from lab.emulator.unpacking import UnpackError, rootfs
from lab.emulator.workloads.rootfs import inside

_OPAQUE, _WHITEOUT = ".wh..wh..opq", ".wh."


def unpack(store: Store, cache: Path, image: Image) -> Path:
    """The image's files; a folder under its final name is complete. Raises UnpackError."""
    target = rootfs(cache, image.digest)
    if target.exists():
        return target
    temporary = target.with_name(f".{target.name[:12]}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for blob in image.layers:
            with layer.read(store, blob) as archive:
                for member in archive:
                    _apply(temporary, archive, member)
        temporary.rename(target)
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise UnpackError(f"failed to extract layer: {error}") from error
    return target


def _apply(root: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    parent, _, name = member.name.rstrip("/").removeprefix("./").rpartition("/")
    folder = inside(root, parent)
    if name in ("", "."):
        root.chmod(member.mode)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if name == _OPAQUE:
        for each in list(folder.iterdir()):
            _remove(each)
    elif name.startswith(_WHITEOUT):
        _remove(folder / name.removeprefix(_WHITEOUT))
    else:
        _write(root, folder / name, archive, member)


def _write(root: Path, place: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    if not (member.isdir() and place.is_dir() and not place.is_symlink()):
        _remove(place)
    if member.isdir():
        place.mkdir(exist_ok=True)
    elif member.issym():
        place.symlink_to(member.linkname)
    elif member.islnk():
        place.hardlink_to(inside(root, member.linkname))
        return
    elif member.isfile():
        source = archive.extractfile(member)
        with place.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)  # type: ignore[arg-type]
    else:
        return  # devices: the container has its own
    os.chown(place, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        place.chmod(member.mode)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
