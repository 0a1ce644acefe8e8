"""From what `docker save` writes to what a registry keeps on its disk: one image, as a tar archive of files.

The registry's storage is that of distribution (registry/storage/paths.go). A saved image has its layers as plain tar
files, so the manifest is made anew here; content and image id stay the same.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import IO, Any

from lab.engines.docker.references import Reference
from lab.errors import LabError

_ROOT = "docker/registry/v2"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20


def convert(saved: IO[bytes], reference: Reference, target: IO[bytes]) -> str:
    """Write the files that make a registry serve an image; both files are seekable.

    Returns:
        The digest of the manifest, ``sha256:...``.

    Raises:
        LabError: ``saved`` is not what `docker save` writes.
    """
    try:
        with tarfile.open(fileobj=saved) as source, tarfile.open(fileobj=target, mode="w") as archive:
            return _Storage(source, archive, reference).write()
    except (tarfile.TarError, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
        raise LabError(
            "LAB-STOCK-01", f"What Docker saved of {reference} cannot be read.",
            evidence=f"{type(error).__name__}: {error}"[:600], hint="Run the same again; `invoke pull` fetches it.",
        ) from error  # fmt: skip


class _Storage:
    """The storage of one image."""

    def __init__(self, source: tarfile.TarFile, archive: tarfile.TarFile, reference: Reference) -> None:
        self._source = source
        self._archive = archive
        self._reference = reference
        self._written: set[str] = set()

    def write(self) -> str:
        described = json.loads(self._open("manifest.json").read())[0]
        config = self._blob(described["Config"], _CONFIG)
        layers = [self._blob(name, _LAYER) for name in described["Layers"]]
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}, indent=1
        ).encode()
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        self._add(_data(digest), io.BytesIO(manifest), len(manifest))
        self._link(f"_manifests/revisions/{_path(digest)}", digest)
        tag = f"_manifests/tags/{self._reference.tag}"
        self._link(f"{tag}/index/{_path(digest)}", digest)
        self._link(f"{tag}/current", digest)
        return digest

    def _blob(self, name: str, kind: str) -> dict[str, Any]:
        """Copy a config or layer; its descriptor for the manifest."""
        digest, size, head = self._measure(name)
        self._add(_data(digest), self._open(name), size)
        self._link(f"_layers/{_path(digest)}", digest)
        packed = "+gzip" if kind == _LAYER and head == _GZIP else ""
        return {"mediaType": kind + packed, "size": size, "digest": digest}

    def _measure(self, name: str) -> tuple[str, int, bytes]:
        found, size, head = hashlib.sha256(), 0, b""
        file = self._open(name)
        while chunk := file.read(_CHUNK):
            head = head or chunk[:2]
            size += len(chunk)
            found.update(chunk)
        return f"sha256:{found.hexdigest()}", size, head

    def _open(self, name: str) -> IO[bytes]:
        file = self._source.extractfile(name)
        if file is None:
            raise KeyError(name)
        return file

    def _link(self, where: str, digest: str) -> None:
        text = digest.encode()
        self._add(f"{_ROOT}/repositories/{self._reference.repository}/{where}/link", io.BytesIO(text), len(text))

    def _add(self, path: str, file: IO[bytes], size: int) -> None:
        if path in self._written:
            return
        self._written.add(path)
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = size, 0o644
        self._archive.addfile(entry, file)


def _path(digest: str) -> str:
    return digest.replace(":", "/")


def _data(digest: str) -> str:
    algorithm, _, number = digest.partition(":")
    return f"{_ROOT}/blobs/{algorithm}/{number[:2]}/{number}/data"
