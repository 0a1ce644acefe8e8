"""Media types and documents of OCI images, and of Docker's, which are the same in other words.

Sources: OCI image-spec 1.1 (manifest.md, config.md, media-types.md), distribution's schema2.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)
ACCEPT = ", ".join((*MANIFESTS, *INDEXES))
"""What a client that pulls accepts."""
READABLE_LAYERS = (LAYER, LAYER_GZIP, DOCKER_LAYER, "application/vnd.docker.image.rootfs.diff.tar")

BASE_LABEL = "emulator.lab/base"
"""Label of an image whose base the emulator's builder replaced by an empty layer: the base's reference."""
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}


def architecture() -> str:
    """This machine's architecture, as images name it."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def digest_of(data: bytes) -> str:
    """The content address of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(document: dict[str, Any]) -> bytes:
    """A document as it is stored and hashed: stable for equal content."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Descriptor:
    """What points to a blob."""

    media_type: str
    digest: str
    size: int

    def document(self) -> dict[str, Any]:
        """The descriptor as manifests carry it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    @classmethod
    def read(cls, document: dict[str, Any]) -> Descriptor:
        """Parse a manifest's descriptor; raises KeyError when a member is missing."""
        return cls(document["mediaType"], document["digest"], int(document["size"]))


def choose(index: dict[str, Any]) -> dict[str, Any] | None:
    """The descriptor in an image index for this machine, or None."""
    for candidate in index.get("manifests", []):
        platform = candidate.get("platform") or {}
        if platform.get("os") == "linux" and platform.get("architecture") == architecture():
            return dict(candidate)
    return None
