"""What the registry keeps, as files that appear complete or not at all.

Layout, after distribution's registry/storage/paths.go:

    blobs/<algorithm>/<2 digits>/<digest>                       content, shared by all repositories
    repositories/<name>/_layers/<algorithm>/<digest>            the repository may serve this blob
    repositories/<name>/_manifests/revisions/<algorithm>/<digest>   its media type
    repositories/<name>/_manifests/tags/<tag>                   digest
    repositories/<name>/_manifests/referrers/<algorithm>/<subject>/<digest>   empty
    uploads/<id>/{repository,data}                              unfinished uploads

Parts of repository names never begin with an underscore.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.emulator.registry.digest import Digest

_BLOCK = 1 << 20
_ABANDONED = 7 * 86400
"""Seconds after which an unfinished upload is dropped, as distribution does by default (168 h)."""
_UPLOAD = re.compile(r"[0-9a-f-]{36}\Z")


@dataclass(frozen=True)
class Manifest:
    """A stored manifest."""

    digest: Digest
    media_type: str
    content: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The parsed manifest."""
        return dict(json.loads(self.content))


class Storage:
    """Blobs, manifests, tags and uploads under one folder."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._repositories = folder / "repositories"
        self._uploads = folder / "uploads"
        self._spare = folder / "tmp"
        for made in (self._blobs, self._repositories, self._uploads, self._spare):
            made.mkdir(parents=True, exist_ok=True)
        for left in self._spare.iterdir():  # of a process that was killed
            left.unlink()
        for upload in self._uploads.iterdir():
            if upload.stat().st_mtime < time.time() - _ABANDONED:
                self.cancel(upload.name)

    # Repositories

    def exists(self, name: str) -> bool:
        """Whether anything was ever stored under ``name``."""
        return (self._repositories / name / "_layers").exists() or (self._repositories / name / "_manifests").exists()

    def repositories(self) -> list[str]:
        """Names of all repositories, sorted."""
        found = []
        for folder, names, _ in os.walk(self._repositories):
            if "_manifests" in names:
                found.append(str(Path(folder).relative_to(self._repositories)))
            names[:] = [name for name in names if not name.startswith("_")]
        return sorted(found)

    def remove_repository(self, name: str) -> None:
        """Forget a repository, not the ones whose names continue its own; blobs stay."""
        for part in ("_manifests", "_layers"):
            shutil.rmtree(self._repositories / name / part, ignore_errors=True)

    def rename_repository(self, old: str, new: str) -> None:
        """Move a repository, not the ones whose names continue its own; what was left under ``new`` goes."""
        for part in ("_manifests", "_layers"):
            source, target = self._repositories / old / part, self._repositories / new / part
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                source.rename(target)

    # Blobs

    def blob(self, name: str, digest: Digest) -> Path | None:
        """The file of a blob that belongs to the repository, or None."""
        return self.content(digest) if self._layer(name, digest).exists() else None

    def content(self, digest: Digest) -> Path:
        """Where the content of ``digest`` lies or would lie."""
        return self._blobs / digest.algorithm / digest.hex[:2] / digest.hex

    def link(self, name: str, digest: Digest) -> None:
        """Let a repository serve a blob that is stored."""
        self._write(self._layer(name, digest), b"")

    def unlink(self, name: str, digest: Digest) -> bool:
        """Take a blob from a repository; False when it had none."""
        return _removed(self._layer(name, digest))

    def document(self, name: str, digest: str) -> Any | None:
        """A blob of the repository parsed as JSON (an image's configuration), or None."""
        try:
            path = self.blob(name, Digest.of(digest))
            return json.loads(path.read_bytes()) if path and path.stat().st_size <= _BLOCK else None
        except ValueError:
            return None

    # Manifests

    def put_manifest(self, name: str, manifest: Manifest, tag: str | None, subject: Digest | None) -> None:
        """Store a manifest, let ``tag`` point to it and note what it refers to."""
        self._store(manifest.content, manifest.digest)
        self._write(self._revision(name, manifest.digest), manifest.media_type.encode())
        if subject:
            self._write(self._referrers(name, subject) / manifest.digest.replace(":", "-"), b"")
        if tag:
            self._write(self._tag(name, tag), manifest.digest.encode())

    def manifest(self, name: str, digest: Digest) -> Manifest | None:
        """A manifest of the repository, or None."""
        try:
            media_type = self._revision(name, digest).read_text()
            return Manifest(digest, media_type, self.content(digest).read_bytes())
        except FileNotFoundError:
            return None

    def has_manifest(self, name: str, digest: Digest) -> bool:
        """Whether the repository holds the manifest."""
        return self._revision(name, digest).exists()

    def delete_manifest(self, name: str, digest: Digest) -> bool:
        """Remove a manifest and the tags that point to it; False when there was none."""
        manifest = self.manifest(name, digest)
        if manifest is None:
            return False
        for tag in self.tags(name):
            if self.tagged(name, tag) == digest:
                self.delete_tag(name, tag)
        subject = manifest.document.get("subject") or {}
        with suppress(ValueError):
            _removed(self._referrers(name, Digest.of(subject.get("digest", ""))) / digest.replace(":", "-"))
        return _removed(self._revision(name, digest))

    def referrers(self, name: str, subject: Digest) -> list[Manifest]:
        """The repository's manifests whose subject is ``subject``, by digest."""
        try:
            names = sorted(path.name for path in self._referrers(name, subject).iterdir())
        except FileNotFoundError:
            return []
        found = [self.manifest(name, Digest(entry.replace("-", ":", 1))) for entry in names]
        return [manifest for manifest in found if manifest]

    # Tags

    def tags(self, name: str) -> list[str]:
        """The repository's tags, sorted."""
        try:
            return sorted(path.name for path in (self._repositories / name / "_manifests" / "tags").iterdir())
        except FileNotFoundError:
            return []

    def tagged(self, name: str, tag: str) -> Digest | None:
        """What a tag points to, or None."""
        try:
            return Digest(self._tag(name, tag).read_text())
        except FileNotFoundError:
            return None

    def delete_tag(self, name: str, tag: str) -> bool:
        """Remove a tag, not what it points to; False when there was none."""
        return _removed(self._tag(name, tag))

    # Uploads

    def begin(self, name: str) -> str:
        """Begin an upload; returns its id."""
        upload = str(uuid.uuid4())
        folder = self._uploads / upload
        folder.mkdir()
        (folder / "data").touch()
        self._write(folder / "repository", name.encode())
        return upload

    def upload(self, name: str, upload: str) -> Path | None:
        """The file that an upload has grown to so far, or None; also after a restart."""
        folder = self._uploads / upload
        try:
            known = _UPLOAD.match(upload) and (folder / "repository").read_text() == name
        except FileNotFoundError:
            return None
        return folder / "data" if known else None

    def finish(self, name: str, upload: str, digest: Digest) -> bool:
        """Turn an upload into a blob; False when its content is another. The upload is gone afterwards.

        Reads the whole file: call it in a thread unless the file is small.
        """
        data = self._uploads / upload / "data"
        matches = _hash_of(data, digest.algorithm) == digest.hex
        if matches:
            target = self.content(digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            data.replace(target)
            self.link(name, digest)
        self.cancel(upload)
        return matches

    def cancel(self, upload: str) -> None:
        """Forget an upload."""
        shutil.rmtree(self._uploads / upload, ignore_errors=True)

    # Files

    def _layer(self, name: str, digest: Digest) -> Path:
        return self._repositories / name / "_layers" / digest.algorithm / digest.hex

    def _revision(self, name: str, digest: Digest) -> Path:
        return self._repositories / name / "_manifests" / "revisions" / digest.algorithm / digest.hex

    def _tag(self, name: str, tag: str) -> Path:
        return self._repositories / name / "_manifests" / "tags" / tag

    def _referrers(self, name: str, subject: Digest) -> Path:
        return self._repositories / name / "_manifests" / "referrers" / subject.algorithm / subject.hex

    def _store(self, content: bytes, digest: Digest) -> None:
        if not self.content(digest).exists():
            self._write(self.content(digest), content)

    def _write(self, path: Path, content: bytes) -> None:
        temporary = self._spare / uuid.uuid4().hex
        temporary.write_bytes(content)
        try:
            temporary.replace(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _hash_of(path: Path, algorithm: str) -> str:
    found = hashlib.new(algorithm)
    for block in _blocks(path):
        found.update(block)
    return found.hexdigest()
