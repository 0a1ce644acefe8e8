"""Unpacks images as root, each layer once: an image is a list of layer folders, laid over each other by overlayfs.

Owners, modes and hard links are kept; whiteouts become what overlayfs understands (overlayfs.rst).
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from pathlib import Path

from lab.emulator.docker import layer
from lab.emulator.docker.oci import Descriptor
from lab.emulator.docker.store import Image, Store
from lab.emulator.unpacking import UnpackError, rootfs
from lab.emulator.workloads.rootfs import inside

_OPAQUE, _WHITEOUT = ".wh..wh..opq", ".wh."
_LIST = "layers"


def unpack(store: Store, cache: Path, image: Image) -> Path:
    """The image's folder, which is complete when it has its list of layers. Raises UnpackError."""
    target = rootfs(cache, image.digest)
    if target.exists():
        return target
    try:
        folders = [_layer(store, cache, blob) for blob in image.layers]
        made = target.with_name(f".{target.name[:12]}-{os.urandom(4).hex()}")
        made.mkdir(parents=True)
        (made / _LIST).write_text("\n".join(map(str, folders)))
        _move(made, target)
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise UnpackError(f"failed to extract layer: {error}") from error
    return target


def layers(image: Path) -> list[str]:
    """The folders of an unpacked image, the lowest first."""
    return (image / _LIST).read_text().splitlines()


def _layer(store: Store, cache: Path, blob: Descriptor) -> Path:
    target = cache / "layers" / blob.digest.partition(":")[2][:16]
    if not target.exists():
        made = target.with_name(f".{target.name}-{os.urandom(4).hex()}")
        made.mkdir(parents=True)
        with layer.read(store, blob) as archive:
            for member in archive:
                _apply(made, archive, member)
        _move(made, target)
    return target


def _move(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.exists():  # no other pull was faster
            raise
        shutil.rmtree(made)


def _apply(root: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    parent, _, name = member.name.rstrip("/").removeprefix("./").rpartition("/")
    folder = inside(root, parent)
    if name in ("", "."):
        root.chmod(member.mode)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if name == _OPAQUE:
        os.setxattr(folder, "trusted.overlay.opaque", b"y")
    elif name.startswith(_WHITEOUT):
        os.mknod(folder / name.removeprefix(_WHITEOUT), stat.S_IFCHR, os.makedev(0, 0))
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
