"""Layers: reproducible archives, written to the store and read from it."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from typing import Any

from lab.emulator.docker import oci
from lab.emulator.docker.errors import DockerError
from lab.emulator.docker.oci import Descriptor
from lab.emulator.docker.store import Incoming, Store
from lab.emulator.docker.tree import DIRECTORY, LINK, Node

_GZIP = 16 + zlib.MAX_WBITS
_COPY = 1 << 18


@dataclass(frozen=True)
class Layer:
    """A layer of an image: the compressed blob and the digest of what is in it."""

    blob: Descriptor
    diff_id: str


class _Compressor(io.BufferedIOBase):
    """Compresses an archive into a blob and hashes it on the way; the gzip header holds no time."""

    def __init__(self, blob: Incoming) -> None:
        super().__init__()
        self._blob = blob
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        self._hash = hashlib.sha256()

    def write(self, data: Any, /) -> int:
        self._hash.update(data)
        self._blob.write(self._gzip.compress(data))
        return len(data)

    def finish(self) -> str:
        self._blob.write(self._gzip.flush())
        return "sha256:" + self._hash.hexdigest()


def write(store: Store, entries: dict[str, Node], time: int) -> Layer:
    """Store ``entries`` (path -> node) as a layer, every file with modification time ``time``.

    Equal entries give equal bytes: sorted, no owner names, no other times.
    """
    with store.incoming() as blob:
        compressor = _Compressor(blob)
        with tarfile.open(fileobj=compressor, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(entries):
                _add(archive, path, entries[path], time)
        diff_id = compressor.finish()
    return Layer(Descriptor(oci.LAYER_GZIP, blob.digest, blob.size), diff_id)


def _add(archive: tarfile.TarFile, path: str, node: Node, time: int) -> None:
    info = tarfile.TarInfo(path)
    info.mode, info.uid, info.gid, info.mtime = node.mode, node.uid, node.gid, time
    if node.kind == DIRECTORY:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif node.kind == LINK:
        info.type, info.linkname = tarfile.SYMTYPE, node.target
        archive.addfile(info)
    elif node.content is not None:
        info.size = node.size
        with node.content.open() as file:
            try:
                archive.addfile(info, file)
            except OSError as error:
                raise DockerError(f"failed to solve: {path}: {error} (did the file change meanwhile?)") from error


def read(store: Store, blob: Descriptor) -> tarfile.TarFile:
    """A stored layer as a seekable archive; its unpacked form lives in an unnamed temporary file."""
    path = store.blob(blob.digest)
    if not blob.media_type.endswith("gzip"):
        return tarfile.open(path, mode="r:")
    unpacked = tempfile.TemporaryFile(dir=store.folder)  # noqa: SIM115 - lives as long as the archive
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, unpacked, _COPY)
    unpacked.seek(0)
    return tarfile.open(fileobj=unpacked, mode="r:")
