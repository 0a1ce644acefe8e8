"""Pulls images for the kubelet and unpacks them, each content once.

The cache keeps blobs and names like the ``docker`` command's store, and one unpacked root file system per image.
Error texts are what containerd reports to a kubelet [containerd core/remotes/docker, internal/cri].
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from lab.emulator.docker import challenge, oci
from lab.emulator.docker.oci import Descriptor
from lab.emulator.docker.references import InvalidReferenceError, Reference, parse
from lab.emulator.docker.store import Image as StoredImage
from lab.emulator.docker.store import Store
from lab.emulator.unpacking import UnpackError, rootfs, unpack

log = logging.getLogger(__name__)

Credentials = Callable[[str], tuple[str, str] | None]
Unpack = Callable[[Store, Path, StoredImage], Path]
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)
_CHUNK = 1 << 20


class PullError(Exception):
    """An image that cannot be had; ``reason`` is the container's waiting reason, ``message`` its text."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Image:
    """An unpacked image."""

    reference: str
    """Normalised, ``127.0.0.1:5050/root/hichat:latest``."""
    digest: str
    """Of the manifest (or index) that the reference stood for."""
    config: dict[str, Any]
    """The configuration's ``config``: Env, Entrypoint, Cmd, WorkingDir, User, ExposedPorts, Labels ..."""
    rootfs: Path
    """The unpacked files; shared by all containers, so nobody may write to them."""

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels."""
        return dict(self.config.get("Labels") or {})

    @property
    def base(self) -> str | None:
        """The base that the emulator's builder replaced by an empty layer, or None."""
        return self.labels.get(oci.BASE_LABEL)

    @property
    def identity(self) -> str:
        """Repository and digest, as ``containerStatuses[].imageID`` has it."""
        return f"{parse(self.reference).name}@{self.digest}"


def name_of(reference: str) -> Reference:
    """Parse an image name of a pod; raises `PullError` InvalidImageName in the kubelet's words."""
    try:
        return parse(reference)
    except InvalidReferenceError as error:
        message = f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": {error}'
        raise PullError("InvalidImageName", message) from error


def present(reference: str, cache: Path) -> Image | None:
    """The image when it was pulled before under this name (``imagePullPolicy: IfNotPresent``), else None."""
    name = name_of(reference)
    store = Store(cache)
    found = store.by_reference(name)
    if found is None:
        return None
    files = rootfs(cache, found.digest)
    return Image(str(name), found.digest, dict(found.config.get("config") or {}), files) if files.exists() else None


@dataclass(frozen=True)
class Endpoint:
    """One place that may serve a repository."""

    base: str
    """Address of the repository, ``http://127.0.0.1:5050/v2/root/hichat``."""
    host: str
    """Its host and port."""
    query: str = ""
    """What every address ends with, question mark included."""
    verify: bool = True
    """Whether the certificate is checked."""
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password of this machine, for pods that bring none."""


def plain(name: Reference) -> list[Endpoint]:
    """The registry of the name itself, over HTTP."""
    return [Endpoint(f"http://{name.host}/v2/{name.path}", name.host)]


async def pull(
    session: aiohttp.ClientSession,
    reference: str,
    credentials: Credentials,
    cache: Path,
    *,
    endpoints: Callable[[Reference], list[Endpoint]] = plain,
    unpack: Unpack = unpack,
) -> Image:
    """Resolve ``reference`` at its registry and bring what the cache lacks.

    Endpoints are tried in their order; when all fail, the error is the last one's, as with containerd.

    ``credentials`` gives user name and password for a registry's ``host:port``, or None.

    Raises:
        PullError: the name is invalid, or the registry refuses, lacks it or cannot be reached.
    """
    name = name_of(reference)
    store = await asyncio.to_thread(Store, cache)
    try:
        remote, (digest, content, manifest) = await _resolved(session, name, credentials(name.domain), endpoints(name))
        if "manifests" in manifest:
            _, content, manifest = await remote.manifest(_for_this_machine(digest, manifest))
        layers = [Descriptor.read(entry) for entry in manifest["layers"]]
        await asyncio.gather(*(remote.fetch(store, d) for d in (Descriptor.read(manifest["config"]), *layers)))
        image = await asyncio.to_thread(store.put_image, content)
    except _Failed as error:
        message = f'rpc error: code = {error.code} desc = failed to pull and unpack image "{name}": {error}'
        raise PullError("ErrImagePull", message) from error
    except (KeyError, TypeError, ValueError) as error:
        message = f'rpc error: code = Unknown desc = failed to pull and unpack image "{name}": bad manifest: {error!r}'
        raise PullError("ErrImagePull", message) from error
    try:
        files = await asyncio.to_thread(unpack, store, cache, image)
    except UnpackError as error:
        raise PullError("ErrImagePull", str(error)) from error
    if name.tag:
        store.tag(name, image.digest)
    return Image(str(name), digest, dict(image.config.get("config") or {}), files)


async def _resolved(
    session: aiohttp.ClientSession, name: Reference, login: tuple[str, str] | None, endpoints: list[Endpoint]
) -> tuple[_Remote, tuple[str, bytes, dict[str, Any]]]:
    """The first endpoint that knows the reference, and the manifest there; raises the last one's `_Failed`."""
    problem = _Failed("Unknown", f'failed to resolve reference "{name}": no available registry endpoint')
    for endpoint in endpoints:
        remote = _Remote(session, name, login or endpoint.login, endpoint)
        try:
            return remote, await remote.manifest(name.selector)
        except _Failed as error:
            log.info("trying next host: %s (host %s)", error, endpoint.host)
            problem = error
    raise problem


def _for_this_machine(digest: str, index: dict[str, Any]) -> str:
    chosen = oci.choose(index)
    if chosen is None:
        raise _Failed("NotFound", f"no match for platform in manifest {digest}: not found")
    return str(chosen["digest"])


class _Failed(Exception):
    """A pull that ended; ``code`` is the gRPC code that the kubelet shows."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Remote:
    """One repository of a registry."""

    def __init__(
        self, session: aiohttp.ClientSession, name: Reference, login: tuple[str, str] | None, endpoint: Endpoint
    ) -> None:
        self._session = session
        self._name = name
        self._login = login
        self._token: str | None = None
        self._endpoint = endpoint

    async def manifest(self, selector: str) -> tuple[str, bytes, dict[str, Any]]:
        """Digest, bytes and document of a manifest."""
        url = f"{self._endpoint.base}/manifests/{selector}{self._endpoint.query}"
        async with await self._get(url, {"Accept": oci.ACCEPT}, resolving=True) as response:
            content = await response.read()
        digest = oci.digest_of(content)
        if selector.startswith("sha256:") and selector != digest:
            raise _Failed("Unknown", f"failed to resolve reference: unexpected digest {digest}, wanted {selector}")
        return digest, content, dict(json.loads(content))

    async def fetch(self, store: Store, blob: Descriptor) -> None:
        """Bring a blob into the store unless it is there."""
        if store.has(blob.digest):
            return
        url = f"{self._endpoint.base}/blobs/{blob.digest}{self._endpoint.query}"
        async with await self._get(url, {}, resolving=False) as response:
            with store.incoming() as incoming:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    await asyncio.to_thread(incoming.write, chunk)
                if incoming.digest != blob.digest:
                    raise _Failed(
                        "Unknown",
                        f"failed commit on ref: unexpected commit digest {incoming.digest}, expected {blob.digest}",
                    )

    async def _get(self, url: str, headers: Mapping[str, str], *, resolving: bool) -> aiohttp.ClientResponse:
        response = await self._request(url, headers)
        if response.status == 401 and (wanted := challenge.bearer(response.headers.get("WWW-Authenticate"))):
            response.release()
            self._token = await self._fetch_token(wanted)
            response = await self._request(url, headers)
        if response.status == 200:
            return response
        response.release()
        raise self._problem(response, resolving=resolving)

    async def _request(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        sent = dict(headers)
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            return await self._session.get(url, headers=sent, timeout=_TIMEOUT, ssl=self._endpoint.verify)
        except aiohttp.ClientConnectorError as error:
            text = f'failed to do request: Head "{url}": {_dial(error, self._endpoint.host)}'
            raise _Failed("Unknown", self._resolving(text)) from error
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            text = f'failed to do request: Head "{url}": {error or type(error).__name__}'
            raise _Failed("Unknown", self._resolving(text)) from error

    async def _fetch_token(self, wanted: dict[str, str]) -> str:
        scope = f"repository:{self._name.path}:pull"
        asked = wanted.get("scope", "").split()  # of a mirror, whose repositories may have other names
        address = challenge.token_address(wanted, list(dict.fromkeys([*asked, scope])))
        kind = "oauth" if self._login else "anonymous"
        headers = {}
        if self._login:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self._login).encode()).decode()
        try:
            async with self._session.get(
                address, headers=headers, timeout=_TIMEOUT, ssl=self._endpoint.verify
            ) as response:
                body = await response.read()
                if response.status != 200:
                    status = f"{response.status} {response.reason}"
                    text = f"unexpected status from GET request to {address}: {status}"
                    raise _Failed(
                        "Unknown", self._resolving(f"failed to authorize: failed to fetch {kind} token: {text}")
                    )
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            host = str(URL(address).authority)
            why = _dial(error, host) if isinstance(error, aiohttp.ClientConnectorError) else error
            text = f'failed to authorize: failed to fetch {kind} token: Get "{address}": {why}'
            raise _Failed("Unknown", self._resolving(text)) from error
        token = challenge.token_of(body)
        if token is None:
            text = f"failed to authorize: failed to fetch {kind} token: no token in the answer of {address}"
            raise _Failed("Unknown", self._resolving(text))
        return token

    def _problem(self, response: aiohttp.ClientResponse, *, resolving: bool) -> _Failed:
        if response.status == 404:
            text = f"{self._name}: not found"
            return _Failed("NotFound", self._resolving(text) if resolving else f"failed to copy: {text}")
        if response.status == 401:
            problem = (challenge.bearer(response.headers.get("WWW-Authenticate")) or {}).get("error", "invalid token")
            text = (
                "pull access denied, repository does not exist or may require authorization: "
                f"server message: {problem}: authorization failed"
            )
            return _Failed("Unknown", self._resolving(text))
        status = f"{response.status} {response.reason}"
        text = f"unexpected status from HEAD request to {response.url}: {status}"
        return _Failed("Unknown", self._resolving(text) if resolving else f"failed to copy: {text}")

    def _resolving(self, text: str) -> str:
        return f'failed to resolve reference "{self._name}": {text}'


def _dial(error: aiohttp.ClientConnectorError, host: str) -> str:
    """Why there is no connection, in Go's words."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {host.rpartition(':')[0] or host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorSSLError) and "WRONG_VERSION_NUMBER" in str(error):
        return "http: server gave HTTP response to HTTPS client"
    refused = isinstance(error.os_error, ConnectionRefusedError)
    return f"dial tcp {host}: connect: {'connection refused' if refused else error.os_error}"
