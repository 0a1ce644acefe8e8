"""Unpacks images: a folder for each content, complete once it has its final name."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from lab.emulator.docker import layer, oci
from lab.emulator.docker.store import Image, Store
from lab.emulator.docker.tree import DIRECTORY, LINK, Node, Tree, apply_layer

_CHUNK = 1 << 20


class UnpackError(Exception):
    """An image's files cannot be had; the text is what a kubelet would show."""


def rootfs(cache: Path, digest: str) -> Path:
    """Where an image's unpacked files lie, or will lie."""
    return cache / "rootfs" / digest.partition(":")[2]


def unpack(store: Store, cache: Path, image: Image) -> Path:
    """The image's files, unpacked once; a folder under its final name is complete.

    Raises:
        UnpackError: a layer is damaged, of an unknown type, or cannot be written.
    """
    target = rootfs(cache, image.digest)
    if target.exists():
        return target
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_name(f".{target.name[:12]}-{os.getpid()}-{os.urandom(4).hex()}")
    tree = Tree()
    archives = []
    try:
        for blob in image.layers:
            if blob.media_type not in oci.READABLE_LAYERS:
                raise UnpackError(f"not emulated: layers of type {blob.media_type}")
            archives.append(layer.read(store, blob))
            apply_layer(tree, archives[-1])
        write(tree, temporary)
        _move(temporary, target)
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise UnpackError(f"failed to extract layer: {error}") from error
    finally:
        for archive in archives:
            archive.close()
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _move(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.exists():  # no other pull of the same image was faster
            raise


def write(tree: Tree, folder: Path) -> None:
    """Write a tree below ``folder``, which must not exist.

    Every path is resolved inside the tree first, so no symbolic link can lead a file out of the folder. Owners are not
    kept (nobody but root could), and the owner may always read and write, so that the folder can be removed.
    """
    folder.mkdir()
    for path, node in tree.walk(""):
        parent, _, name = path.rpartition("/")
        inside = tree.resolve(parent)
        place = folder.joinpath(inside, name) if inside else folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if node.kind == DIRECTORY:
            place.mkdir(exist_ok=True)
            place.chmod((node.mode & 0o777) | 0o700)
        elif node.kind == LINK:
            place.unlink(missing_ok=True)
            place.symlink_to(node.target)
        else:
            _write_file(place, node)


def _write_file(place: Path, node: Node) -> None:
    if node.content is None or place.is_dir():
        return
    place.unlink(missing_ok=True)
    with node.content.open() as source, place.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
    place.chmod((node.mode & 0o777) | 0o600)
