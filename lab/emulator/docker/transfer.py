"""Push to and pull from a registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import quote

from lab.emulator.docker import oci
from lab.emulator.docker.client import Answer, RegistryClient, RegistryError
from lab.emulator.docker.credentials import Credentials
from lab.emulator.docker.errors import DockerError, NotEmulatedError
from lab.emulator.docker.oci import Descriptor
from lab.emulator.docker.references import Reference
from lab.emulator.docker.store import Image, Store

CHUNK = 8 << 20
"""A blob above this size is uploaded in pieces of it."""
Say = Callable[[str], None]


def client_for(reference: Reference, actions: str, credentials: Credentials) -> RegistryClient:
    """A client for one repository."""
    scope = f"repository:{reference.path}:{actions}"
    return RegistryClient(reference.host, [scope], credentials.get(reference.domain))


def push(store: Store, image: Image, reference: Reference, credentials: Credentials, say: Say) -> None:
    """Upload ``image`` under ``reference``; what the registry has already is not sent again.

    Raises:
        RegistryError: refused or unreachable.
    """
    with closing(client_for(reference, "pull,push", credentials)) as client:
        digests = list(dict.fromkeys(layer.digest for layer in image.layers))
        for digest in digests:
            say(f"{_short(digest)}: Preparing")
        for digest in digests:
            sent = _push_blob(client, reference, store, digest)
            say(f"{_short(digest)}: {'Pushed' if sent else 'Layer already exists'}")
        _push_blob(client, reference, store, image.id)
        body = store.blob(image.digest).read_bytes()
        client.request(
            "PUT",
            f"/v2/{reference.path}/manifests/{reference.selector}",
            body=body,
            headers={"Content-Type": image.manifest.get("mediaType", oci.MANIFEST)},
            expected=(201,),
        )
    say(f"{reference.selector}: digest: {image.digest} size: {len(body)}")


def _push_blob(client: RegistryClient, reference: Reference, store: Store, digest: str) -> bool:
    """Upload one blob; False when the registry holds it already."""
    head = client.request("HEAD", f"/v2/{reference.path}/blobs/{digest}", expected=(200, 404))
    head.read()
    if head.status == 200:
        return False
    answer = client.request("POST", f"/v2/{reference.path}/blobs/uploads/", body=b"", expected=(202,))
    answer.read()
    path = store.blob(digest)
    with path.open("rb") as file:
        if path.stat().st_size <= CHUNK:
            _finish(client, answer, digest, file.read())
            return True
        offset = 0
        while chunk := file.read(CHUNK):
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{offset}-{offset + len(chunk) - 1}",
            }
            answer = client.request("PATCH", _location(answer), body=chunk, headers=headers, expected=(202,))
            answer.read()
            offset += len(chunk)
    _finish(client, answer, digest, b"")
    return True


def _finish(client: RegistryClient, answer: Answer, digest: str, body: bytes) -> None:
    location = _location(answer)
    target = f"{location}{'&' if '?' in location else '?'}digest={quote(digest, safe='')}"
    headers = {"Content-Type": "application/octet-stream"}
    client.request("PUT", target, body=body, headers=headers, expected=(201,)).read()


def _location(answer: Answer) -> str:
    location = answer.headers.get("Location")
    if not location:
        raise RegistryError(f"{answer.url}: the registry's answer carries no Location")
    return location


def pull(store: Store, reference: Reference, credentials: Credentials, say: Say) -> Image:
    """Download an image for this machine and name it.

    Raises:
        RegistryError: refused, unknown or unreachable.
        DockerError: the content does not match its digest, or there is none for this machine.
    """
    with closing(client_for(reference, "pull", credentials)) as client:
        body, manifest = _manifest(client, reference, reference.selector)
        if manifest.get("mediaType") in oci.INDEXES or "manifests" in manifest:
            chosen = oci.choose(manifest)
            if chosen is None:
                raise DockerError(f"no matching manifest for linux/{oci.architecture()} in the manifest list entries")
            body, manifest = _manifest(client, reference, str(chosen["digest"]))
        layers = [Descriptor.read(layer) for layer in manifest["layers"]]
        for layer in layers:
            if layer.media_type not in oci.READABLE_LAYERS:
                raise NotEmulatedError(f"layers of type {layer.media_type}")
        _pull_blob(client, reference, store, Descriptor.read(manifest["config"]))
        for layer in layers:
            fetched = _pull_blob(client, reference, store, layer)
            say(f"{_short(layer.digest)}: {'Pull complete' if fetched else 'Already exists'}")
    image = store.put_image(body)
    if reference.tag:
        store.tag(reference, image.digest)
    return image


def _manifest(client: RegistryClient, reference: Reference, selector: str) -> tuple[bytes, dict[str, Any]]:
    answer = client.request("GET", f"/v2/{reference.path}/manifests/{selector}", headers={"Accept": oci.ACCEPT})
    body = answer.read()
    if selector.startswith("sha256:") and oci.digest_of(body) != selector:
        raise DockerError(f"manifest verification failed for digest {selector}")
    manifest = json.loads(body)
    if manifest.get("schemaVersion") != 2:
        raise NotEmulatedError("image manifests of schema version 1")
    return body, manifest


def _pull_blob(client: RegistryClient, reference: Reference, store: Store, blob: Descriptor) -> bool:
    """Download one blob; False when the store holds it already."""
    if store.has(blob.digest):
        return False
    answer = client.request("GET", f"/v2/{reference.path}/blobs/{blob.digest}")
    with store.incoming() as incoming:
        for data in answer.chunks():
            incoming.write(data)
        if incoming.digest != blob.digest:
            raise DockerError(f"filesystem layer verification failed for digest {blob.digest}")
    return True


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]
