"""Blobs and their uploads over HTTP.

Sources: OCI distribution-spec 1.1; distribution registry/handlers/blob.go and blobupload.go.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from lab.emulator.docker.references import PATH
from lab.emulator.registry.authorization import Gate
from lab.emulator.registry.digest import Digest
from lab.emulator.registry.errors import DistributionError
from lab.emulator.registry.storage import Storage

_SMALL = 1 << 18
"""Bytes that are read, written or hashed at once without leaving the event loop."""
_CHUNK = 1 << 20
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d+)-(\d+)(?:/(?:\d+|\*))?\Z")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


def repository(request: web.Request) -> str:
    """The repository's name in the address; raises DistributionError NAME_INVALID."""
    name = request.match_info["name"]
    if not PATH.match(name):
        raise DistributionError("NAME_INVALID", detail={"name": name})
    return name


def digest_in(text: str) -> Digest:
    """A digest from an address; raises DistributionError DIGEST_INVALID."""
    try:
        return Digest.of(text)
    except ValueError as error:
        raise DistributionError("DIGEST_INVALID", detail=str(error)) from error


class Blobs:
    """Routes under ``/v2/<name>/blobs/``."""

    def __init__(self, storage: Storage, gate: Gate) -> None:
        self._storage = storage
        self._gate = gate
        self._busy: set[str] = set()

    def add_routes(self, app: web.Application) -> None:
        """Register the routes; uploads first, because a blob's address would match theirs."""
        uploads = "/v2/{name:.+}/blobs/uploads/"
        app.router.add_post(uploads, self.begin)
        app.router.add_post(uploads.rstrip("/"), self.begin)
        app.router.add_get(uploads + "{upload}", self.status, allow_head=False)
        app.router.add_patch(uploads + "{upload}", self.append)
        app.router.add_put(uploads + "{upload}", self.finish)
        app.router.add_delete(uploads + "{upload}", self.cancel)
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self.get)
        app.router.add_delete("/v2/{name:.+}/blobs/{digest}", self.delete)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """``GET`` and ``HEAD`` of a blob, whole or a range."""
        name = repository(request)
        self._gate.require(request, ("repository", name, "pull"))
        digest = digest_in(request.match_info["digest"])
        path = self._storage.blob(name, digest)
        if path is None:
            raise DistributionError("BLOB_UNKNOWN", detail={"digest": digest})
        headers = {
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
            "Content-Type": "application/octet-stream",
            "Cache-Control": "max-age=31536000",
            "Accept-Ranges": "bytes",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return await _send(request, path, path.stat().st_size, headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Take a blob from the repository."""
        name = repository(request)
        self._gate.require(request, ("repository", name, "delete"))
        digest = digest_in(request.match_info["digest"])
        if not self._storage.unlink(name, digest):
            raise DistributionError("BLOB_UNKNOWN", detail={"digest": digest})
        return web.Response(status=202, headers={"Docker-Content-Digest": digest})

    async def begin(self, request: web.Request) -> web.Response:
        """Begin an upload, mount a blob of another repository, or take a whole blob at once (``?digest=``)."""
        name = repository(request)
        wanted = [("repository", name, "pull"), ("repository", name, "push")]
        source = request.query.get("from", "")
        if PATH.match(source):
            wanted.append(("repository", source, "pull"))
        self._gate.require(request, *wanted)
        if "mount" in request.query and PATH.match(source):
            digest = digest_in(request.query["mount"])
            if self._storage.blob(source, digest) is not None:
                self._storage.link(name, digest)
                return self._created(request, name, digest)
        upload = self._storage.begin(name)
        if "digest" in request.query:
            return await self._complete(request, name, upload, digest_in(request.query["digest"]))
        return self._accepted(request, name, upload, 0)

    async def status(self, request: web.Request) -> web.Response:
        """How far an upload has come."""
        name, upload, data = self._upload(request)
        response = self._accepted(request, name, upload, data.stat().st_size)
        response.set_status(204)
        return response

    async def append(self, request: web.Request) -> web.Response:
        """A piece of an upload; with ``Content-Range`` it must continue where the last one ended."""
        name, upload, data = self._upload(request)
        async with self._alone(upload):
            _check_range(request, data.stat().st_size)
            await _receive(request, data)
            return self._accepted(request, name, upload, data.stat().st_size)

    async def finish(self, request: web.Request) -> web.Response:
        """The end of an upload, with or without a last piece."""
        name, upload, data = self._upload(request)
        if "digest" not in request.query:
            raise DistributionError("DIGEST_INVALID", detail="digest missing")
        digest = digest_in(request.query["digest"])
        async with self._alone(upload):
            _check_range(request, data.stat().st_size)
            return await self._complete(request, name, upload, digest)

    async def cancel(self, request: web.Request) -> web.Response:
        """Forget an upload."""
        _, upload, _ = self._upload(request)
        self._storage.cancel(upload)
        return web.Response(status=204, headers={"Docker-Upload-UUID": upload})

    async def _complete(self, request: web.Request, name: str, upload: str, digest: Digest) -> web.Response:
        data = self._storage.upload(name, upload)
        if data is None:
            raise DistributionError("BLOB_UPLOAD_UNKNOWN")
        await _receive(request, data)
        if data.stat().st_size <= _SMALL:
            matches = self._storage.finish(name, upload, digest)
        else:
            matches = await asyncio.to_thread(self._storage.finish, name, upload, digest)
        if not matches:
            raise DistributionError("DIGEST_INVALID", detail={"Digest": digest, "Reason": "content does not match"})
        return self._created(request, name, digest)

    def _upload(self, request: web.Request) -> tuple[str, str, Path]:
        name, upload = repository(request), request.match_info["upload"]
        self._gate.require(request, ("repository", name, "pull"), ("repository", name, "push"))
        data = self._storage.upload(name, upload)
        if data is None:
            raise DistributionError("BLOB_UPLOAD_UNKNOWN")
        return name, upload, data

    @asynccontextmanager
    async def _alone(self, upload: str) -> AsyncIterator[None]:
        """One writer per upload: a second one is told that its range does not fit."""
        if upload in self._busy:
            raise DistributionError("RANGE_INVALID", detail="another request writes to this upload")
        self._busy.add(upload)
        try:
            yield
        finally:
            self._busy.discard(upload)

    @staticmethod
    def _accepted(request: web.Request, name: str, upload: str, size: int) -> web.Response:
        headers = {
            "Location": f"http://{request.host}/v2/{name}/blobs/uploads/{upload}",
            "Range": f"0-{max(size - 1, 0)}",
            "Docker-Upload-UUID": upload,
        }
        return web.Response(status=202, headers=headers)

    @staticmethod
    def _created(request: web.Request, name: str, digest: Digest) -> web.Response:
        location = f"http://{request.host}/v2/{name}/blobs/{digest}"
        return web.Response(status=201, headers={"Location": location, "Docker-Content-Digest": digest})


def _check_range(request: web.Request, size: int) -> None:
    header = request.headers.get("Content-Range")
    if header is None:
        return
    match = _CONTENT_RANGE.match(header)
    fits = match is not None and int(match[1]) == size and int(match[2]) >= int(match[1])
    if not fits:
        raise DistributionError("RANGE_INVALID", headers={"Range": f"0-{max(size - 1, 0)}"})
    length = request.content_length
    if match and length is not None and length != int(match[2]) - int(match[1]) + 1:
        raise DistributionError("SIZE_INVALID")


async def _receive(request: web.Request, data: Path) -> None:
    """Append the body to a file without holding more than a piece of it in memory."""
    with data.open("ab") as file:
        async for chunk in request.content.iter_chunked(_CHUNK):
            if len(chunk) <= _SMALL:
                file.write(chunk)
            else:
                await asyncio.to_thread(file.write, chunk)


async def _send(request: web.Request, path: Path, size: int, headers: dict[str, str]) -> web.StreamResponse:
    first, last, status = _wanted_range(request, size)
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    length = last - first + 1
    if length <= _SMALL and request.method != "HEAD":
        with path.open("rb") as file:
            file.seek(first)
            return web.Response(body=file.read(length), status=status, headers=headers)
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    with path.open("rb") as file:
        file.seek(first)
        while length > 0:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK, length))
            await response.write(chunk)
            length -= len(chunk)
    await response.write_eof()
    return response


def _wanted_range(request: web.Request, size: int) -> tuple[int, int, int]:
    """First and last byte to send, and the status; a header that is not understood is ignored, as RFC 9110 has it."""
    match = _RANGE.match(request.headers.get("Range", "").strip())
    if not match or not (match[1] or match[2]):
        return 0, size - 1, 200
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        first, last = max(size - int(match[2]), 0), size - 1
    if first >= size or first > last:
        raise DistributionError("RANGE_INVALID", headers={"Content-Range": f"bytes */{size}"})
    return first, last, 206
