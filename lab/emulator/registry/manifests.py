"""Manifests, tags, referrers and the catalogue over HTTP.

Sources: OCI distribution-spec 1.1; distribution registry/handlers/{manifests,tags,catalog}.go.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from lab.emulator.docker import oci
from lab.emulator.docker.references import TAG
from lab.emulator.registry.authorization import Gate
from lab.emulator.registry.blobs import digest_in, repository
from lab.emulator.registry.digest import Digest
from lab.emulator.registry.errors import DistributionError
from lab.emulator.registry.storage import Manifest, Storage

LARGEST = 4 << 20
"""Bytes of the largest manifest that is taken [OCI distribution-spec, Pushing Manifests]."""
_SCHEMA_1 = {
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
}
_PAGE = 1000
_ANYTHING = {"*/*", "application/*"}


class Manifests:
    """Routes for manifests, tags, referrers and the catalogue."""

    def __init__(self, storage: Storage, gate: Gate) -> None:
        self._storage = storage
        self._gate = gate

    def add_routes(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get("/v2/{name:.+}/manifests/{reference}", self.get)
        app.router.add_put("/v2/{name:.+}/manifests/{reference}", self.put)
        app.router.add_delete("/v2/{name:.+}/manifests/{reference}", self.delete)
        app.router.add_get("/v2/{name:.+}/tags/list", self.tags, allow_head=False)
        app.router.add_get("/v2/{name:.+}/referrers/{digest}", self.referrers, allow_head=False)
        app.router.add_get("/v2/_catalog", self.catalogue, allow_head=False)

    async def get(self, request: web.Request) -> web.Response:
        """``GET`` and ``HEAD`` of a manifest by tag or digest."""
        name = repository(request)
        self._gate.require(request, ("repository", name, "pull"))
        manifest = self._find(name, request.match_info["reference"])
        _check_accept(request, manifest)
        headers = {
            "Content-Type": manifest.media_type,
            "Docker-Content-Digest": manifest.digest,
            "ETag": f'"{manifest.digest}"',
        }
        if request.headers.get("If-None-Match", "").strip('"') == manifest.digest:
            return web.Response(status=304, headers=headers)
        return web.Response(body=manifest.content, headers=headers)

    async def put(self, request: web.Request) -> web.Response:
        """Store a manifest whose parts are there already."""
        name, reference = repository(request), request.match_info["reference"]
        self._gate.require(request, ("repository", name, "pull"), ("repository", name, "push"))
        content = await _body(request)
        tag, digest = _address(reference, content)
        document, media_type = _parse(request, content)
        self._check_parts(name, document)
        subject = _subject(document)
        self._storage.put_manifest(name, Manifest(digest, media_type, content), tag, subject)
        headers = {
            "Location": f"http://{request.host}/v2/{name}/manifests/{digest}",
            "Docker-Content-Digest": digest,
        }
        if subject:
            headers["OCI-Subject"] = subject
        return web.Response(status=201, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a tag, or a manifest with all its tags."""
        name, reference = repository(request), request.match_info["reference"]
        self._gate.require(request, ("repository", name, "delete"))
        if ":" in reference:
            removed = self._storage.delete_manifest(name, digest_in(reference))
        else:
            removed = bool(TAG.match(reference)) and self._storage.delete_tag(name, reference)
        if not removed:
            raise self._unknown(name, reference)
        return web.Response(status=202)

    async def tags(self, request: web.Request) -> web.Response:
        """The tags in order, a page at a time when ``n`` is given."""
        name = repository(request)
        self._gate.require(request, ("repository", name, "pull"))
        if not self._storage.exists(name):
            raise DistributionError("NAME_UNKNOWN", detail={"name": name})
        page, headers = _page(request, self._storage.tags(name), None)
        return web.json_response({"name": name, "tags": page}, headers=headers)

    async def catalogue(self, request: web.Request) -> web.Response:
        """All repositories; for administrators only."""
        self._gate.require(request, ("registry", "catalog", "*"))
        page, headers = _page(request, self._storage.repositories(), _PAGE)
        return web.json_response({"repositories": page}, headers=headers)

    async def referrers(self, request: web.Request) -> web.Response:
        """The manifests that name ``digest`` as their subject, as an image index."""
        name = repository(request)
        self._gate.require(request, ("repository", name, "pull"))
        found = [_descriptor(manifest) for manifest in self._storage.referrers(name, _digest(request))]
        headers = {}
        if wanted := request.query.get("artifactType"):
            found = [entry for entry in found if entry.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": found}
        return web.Response(body=json.dumps(index).encode(), content_type=oci.INDEX, headers=headers)

    def _find(self, name: str, reference: str) -> Manifest:
        if ":" in reference:
            digest: Digest | None = digest_in(reference)
        else:
            digest = self._storage.tagged(name, reference) if TAG.match(reference) else None
        manifest = self._storage.manifest(name, digest) if digest else None
        if manifest is None:
            raise self._unknown(name, reference)
        return manifest

    def _unknown(self, name: str, reference: str) -> DistributionError:
        if ":" in reference:
            detail: Any = {"Name": name, "Revision": reference}
        else:
            detail = {"Tag": reference}
        return DistributionError("MANIFEST_UNKNOWN", detail=detail)

    def _check_parts(self, name: str, document: dict[str, Any]) -> None:
        """Everything a manifest points to must be in the repository, except what has addresses of its own."""
        blobs = [document.get("config"), *(document.get("layers") or []), *(document.get("blobs") or [])]
        for descriptor in filter(None, blobs):
            digest = _digest_of(descriptor)
            if not descriptor.get("urls") and self._storage.blob(name, digest) is None:
                raise DistributionError("MANIFEST_BLOB_UNKNOWN", detail={"digest": digest})
        for descriptor in document.get("manifests") or []:
            digest = _digest_of(descriptor)
            if not self._storage.has_manifest(name, digest):
                raise DistributionError("MANIFEST_BLOB_UNKNOWN", detail={"digest": digest})


def _digest(request: web.Request) -> Digest:
    return digest_in(request.match_info["digest"])


async def _body(request: web.Request) -> bytes:
    content = bytearray()
    async for chunk in request.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > LARGEST:
            raise DistributionError("MANIFEST_INVALID", status=413, detail=f"larger than {LARGEST} bytes")
    return bytes(content)


def _address(reference: str, content: bytes) -> tuple[str | None, Digest]:
    """Tag (or None) and digest under which ``content`` is stored."""
    if ":" not in reference:
        if not TAG.match(reference):
            raise DistributionError("TAG_INVALID", detail={"Tag": reference})
        return reference, Digest.calculate(content)
    digest = digest_in(reference)
    if Digest.calculate(content, digest.algorithm) != digest:
        raise DistributionError("DIGEST_INVALID")
    return None, digest


def _parse(request: web.Request, content: bytes) -> tuple[dict[str, Any], str]:
    """The document and its media type, checked."""
    try:
        document = json.loads(content)
    except ValueError as error:
        raise DistributionError("MANIFEST_INVALID", detail=str(error)) from error
    if not isinstance(document, dict):
        raise DistributionError("MANIFEST_INVALID", detail="not a JSON object")
    named = str(document.get("mediaType") or "")
    given = request.headers.get("Content-Type", "").partition(";")[0].strip()
    media_type = given or named
    if media_type in _SCHEMA_1 or document.get("schemaVersion") == 1:
        raise DistributionError("MANIFEST_INVALID", detail="image manifests of schema version 1 are not taken")
    if media_type not in {*oci.MANIFESTS, *oci.INDEXES}:
        raise DistributionError("MANIFEST_INVALID", detail=f"unsupported manifest type {media_type or 'none'}")
    if document.get("schemaVersion") != 2:
        raise DistributionError("MANIFEST_INVALID", detail=f"schemaVersion {document.get('schemaVersion')!r}")
    if named and named != media_type:
        raise DistributionError("MANIFEST_INVALID", detail=f"mediaType is {named}, but Content-Type is {media_type}")
    _check_shape(document, index=media_type in oci.INDEXES)
    return document, media_type


def _check_shape(document: dict[str, Any], *, index: bool) -> None:
    lists = ("manifests",) if index else ("layers",)
    for key in lists:
        if not isinstance(document.get(key), list) or not all(isinstance(each, dict) for each in document[key]):
            raise DistributionError("MANIFEST_INVALID", detail=f"{key} is not a list of descriptors")
    if not index and not isinstance(document.get("config"), dict):
        raise DistributionError("MANIFEST_INVALID", detail="config is not a descriptor")


def _digest_of(descriptor: dict[str, Any]) -> Digest:
    try:
        return Digest.of(str(descriptor.get("digest")))
    except ValueError as error:
        raise DistributionError("MANIFEST_INVALID", detail=str(error)) from error


def _subject(document: dict[str, Any]) -> Digest | None:
    subject = document.get("subject")
    if subject is None:
        return None
    if not isinstance(subject, dict):
        raise DistributionError("MANIFEST_INVALID", detail="subject is not a descriptor")
    return _digest_of(subject)


def _descriptor(manifest: Manifest) -> dict[str, Any]:
    """How the list of referrers shows a manifest [OCI distribution-spec, Listing Referrers]."""
    document = manifest.document
    found: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.content),
    }
    artifact = document.get("artifactType") or (document.get("config") or {}).get("mediaType")
    if artifact:
        found["artifactType"] = artifact
    if document.get("annotations"):
        found["annotations"] = document["annotations"]
    return found


def _check_accept(request: web.Request, manifest: Manifest) -> None:
    """Refuse OCI manifests to a client that says it cannot read them, in distribution's words.

    Distribution refuses them to clients that send no ``Accept`` or a wildcard too; the specification does not ask
    for that.
    """
    given = ",".join(request.headers.getall("Accept", []))
    accepted = {part.partition(";")[0].strip() for part in given.split(",") if part.strip()}
    if not accepted or accepted & (_ANYTHING | {manifest.media_type}):
        return
    for media_type, words in ((oci.MANIFEST, "OCI manifest"), (oci.INDEX, "OCI index")):
        if manifest.media_type == media_type:
            message = f"{words} found, but accept header does not support {words.replace('index', 'indexe')}s"
            raise DistributionError("MANIFEST_UNKNOWN", message=message)


def _page(request: web.Request, entries: list[str], default: int | None) -> tuple[list[str], dict[str, str]]:
    """The entries after ``last``, at most ``n``, and the link to the next ones."""
    text = request.query.get("n")
    try:
        count = int(text) if text else default
    except ValueError:
        count = -1
    if count is not None and count < 0:
        raise DistributionError("PAGINATION_NUMBER_INVALID", detail={"n": text})
    last = request.query.get("last", "")
    rest = [entry for entry in entries if entry > last]
    if count is None or len(rest) <= count:
        return rest, {}
    page = rest[:count]
    if not page:
        return page, {}
    query = urlencode({"last": page[-1], "n": count})
    return page, {"Link": f'<{quote(request.path)}?{query}>; rel="next"'}
