"""The local image store: content-addressed blobs, and names that point to manifests.

Several commands use it at once: every file is written beside its place and renamed, and none is changed
afterwards except a name, whose last writer wins as in Docker.

    blobs/sha256/<hex>     manifests, configurations, layers
    images/<hex>           image id (digest of the configuration) -> digest of the manifest
    names/<quoted name>    host/path:tag -> digest of the manifest
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

from lab.emulator.docker import oci
from lab.emulator.docker.errors import DockerError
from lab.emulator.docker.oci import Descriptor
from lab.emulator.docker.references import InvalidReferenceError, Reference, parse

CHUNK = 1 << 20
_SHORTEST_ID = 4


@dataclass(frozen=True)
class Image:
    """An image of the store."""

    digest: str
    """Of the manifest: what a registry calls it."""
    manifest: dict[str, Any]
    config: dict[str, Any]

    @property
    def id(self) -> str:
        """Docker's image id, the digest of the configuration."""
        return str(self.manifest["config"]["digest"])

    @property
    def layers(self) -> list[Descriptor]:
        """The layers, lowest first."""
        return [Descriptor.read(layer) for layer in self.manifest["layers"]]

    @property
    def size(self) -> int:
        """Bytes of all layers as they are transferred."""
        return sum(layer.size for layer in self.layers)


class Incoming:
    """A blob that is being written; its digest is known at the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Append ``data``."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    @property
    def digest(self) -> str:
        """Digest of what was written so far."""
        return "sha256:" + self._hash.hexdigest()


class Store:
    """Images on disk under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._names = folder / "names"
        self._images = folder / "images"
        for made in (self._blobs, self._names, self._images):
            made.mkdir(parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        """Where a blob lies or would lie."""
        return self._blobs / digest.partition(":")[2]

    def has(self, digest: str) -> bool:
        """Whether the blob is there, complete."""
        return self.blob(digest).exists()

    @contextmanager
    def incoming(self) -> Iterator[Incoming]:
        """Write a blob; it appears under its digest when the block ends well, else it is dropped."""
        temporary = self._temporary(self._blobs)
        try:
            with temporary.open("wb") as file:
                blob = Incoming(file)
                yield blob
            temporary.replace(self.blob(blob.digest))
        finally:
            temporary.unlink(missing_ok=True)

    def add(self, data: bytes) -> str:
        """Store a small blob; returns its digest."""
        with self.incoming() as blob:
            blob.write(data)
        return blob.digest

    def put_image(self, manifest: bytes) -> Image:
        """Store a manifest whose configuration and layers are there already."""
        digest = self.add(manifest)
        image = self._read(digest)
        self._point(self._images / image.id.partition(":")[2], digest)
        return image

    def tag(self, reference: Reference, digest: str) -> None:
        """Let a name point to the manifest ``digest``."""
        self._point(self._names / quote(f"{reference.name}:{reference.tag}", safe=""), digest)

    def untag(self, reference: Reference) -> bool:
        """Remove a name; False when there was none."""
        try:
            (self._names / quote(f"{reference.name}:{reference.tag}", safe="")).unlink()
        except FileNotFoundError:
            return False
        return True

    def names(self) -> dict[str, str]:
        """Every name and the manifest's digest it points to, sorted."""
        found = {}
        for path in sorted(self._names.iterdir()):
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):  # removed by another command meanwhile
                    found[unquote(path.name)] = path.read_text()
        return found

    def names_of(self, image: Image) -> list[Reference]:
        """The names that point to ``image``."""
        return [parse(name) for name, digest in self.names().items() if digest == image.digest]

    def find(self, text: str) -> Image | None:
        """The image that a name, a digest or the beginning of an id stands for."""
        with suppress(InvalidReferenceError):
            if image := self.by_reference(parse(text)):
                return image
        wanted = text.removeprefix("sha256:")
        if len(wanted) < _SHORTEST_ID or not all(c in "0123456789abcdef" for c in wanted):
            return None
        matches = [path for path in self._images.iterdir() if path.name.startswith(wanted)]
        return self._read(matches[0].read_text()) if len(matches) == 1 else None

    def by_reference(self, reference: Reference) -> Image | None:
        """The image of a name, or of a name with digest."""
        if reference.digest:
            known = {parse(name).name for name, digest in self.names().items() if digest == reference.digest}
            return self._read(reference.digest) if reference.name in known else None
        try:
            pointer = self._names / quote(f"{reference.name}:{reference.tag}", safe="")
            return self._read(pointer.read_text())
        except FileNotFoundError:
            return None

    def require(self, text: str) -> Image:
        """Like `find`; raises DockerError in Docker's words when there is no such image."""
        image = self.find(text)
        if image is None:
            try:
                name = parse(text).familiar
            except InvalidReferenceError as error:
                problem = f'"{text}" is not a valid repository/tag: {error}'
                raise DockerError(f"Error parsing reference: {problem}") from error
            raise DockerError(f"Error response from daemon: No such image: {name}")
        return image

    def _read(self, digest: str) -> Image:
        manifest = json.loads(self.blob(digest).read_bytes())
        config = json.loads(self.blob(manifest["config"]["digest"]).read_bytes())
        return Image(digest, manifest, config)

    def _point(self, path: Path, digest: str) -> None:
        temporary = self._temporary(path.parent)
        temporary.write_text(digest)
        temporary.replace(path)

    @staticmethod
    def _temporary(folder: Path) -> Path:
        return folder / f".{os.getpid()}-{os.urandom(6).hex()}"


def manifest_of(config: Descriptor, layers: list[Descriptor]) -> bytes:
    """An OCI image manifest."""
    return oci.encode(
        {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "config": config.document(),
            "layers": [layer.document() for layer in layers],
        }
    )
