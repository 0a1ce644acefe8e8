"""A registry over HTTP, for the ``docker`` command: token handshake, blobs, manifests."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO
from urllib.parse import urlsplit

from lab.emulator.docker import challenge
from lab.emulator.docker.errors import DockerError

TIMEOUT = 60
"""Seconds without a byte before a registry counts as dead."""
_BLOCK = 1 << 18
_REDIRECTS = 5

Body = bytes | IO[bytes] | None


class RegistryError(DockerError):
    """A registry's answer that is not a success."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Answer:
    """A response: status and headers; the body is read once."""

    def __init__(self, response: http.client.HTTPResponse, url: str) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.url = url

    def read(self) -> bytes:
        """The whole body."""
        return self._response.read()

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces."""
        while data := self._response.read(_BLOCK):
            yield data


class RegistryClient:
    """Requests to one registry host, with the scopes that one operation needs."""

    def __init__(self, host: str, scopes: list[str], login: tuple[str, str] | None) -> None:
        self.host = host
        self._scopes = scopes
        self._login = login
        self._token: str | None = None
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}
        self.base = f"{'http' if plain(host) else 'https'}://{host}"

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()

    def ping(self) -> Answer:
        """``GET /v2/`` with the handshake: what ``docker login`` does."""
        return self.request("GET", "/v2/", expected=(200,))

    def request(
        self,
        method: str,
        target: str,
        *,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        expected: tuple[int, ...] = (200,),
    ) -> Answer:
        """One request; fetches a token when asked for one and tries again, also when a token has expired.

        Raises:
            RegistryError: the status is not among ``expected``, or the registry cannot be reached.
        """
        url = target if "://" in target else self.base + target
        answer = self._send(method, url, body, dict(headers or {}))
        if answer.status == http.client.UNAUTHORIZED and (wanted := challenge.bearer(_challenge(answer))):
            refused = answer.read()
            if self._token and wanted.get("error") == "insufficient_scope":
                raise _failure(method, answer, refused)
            self._token = self._fetch_token(wanted, url)
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
            answer = self._send(method, url, body, dict(headers or {}))
        if answer.status not in expected:
            raise _failure(method, answer, answer.read())
        return answer

    def _fetch_token(self, wanted: dict[str, str], url: str) -> str:
        account = self._login[0] if self._login else None
        address = challenge.token_address(wanted, self._scopes, account)
        headers = {}
        if self._login:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self._login).encode()).decode()
        answer = self._exchange("GET", address, None, headers)
        body = answer.read()
        if answer.status != http.client.OK:
            reason = ", ".join(challenge.messages(body)) or f"unexpected status from GET request: {answer.status}"
            raise RegistryError(f'Get "{url}": {reason}' if url.endswith("/v2/") else reason, answer.status)
        token = challenge.token_of(body)
        if token is None:
            raise RegistryError(f"authorization server did not include a token in the response ({address})")
        return token

    def _send(self, method: str, url: str, body: Body, headers: dict[str, str]) -> Answer:
        for _ in range(_REDIRECTS):
            if self._token and urlsplit(url).netloc == self.host:  # never to where a registry redirects
                headers["Authorization"] = f"Bearer {self._token}"
            answer = self._exchange(method, url, body, headers)
            if answer.status not in {301, 302, 307, 308} or method not in {"GET", "HEAD"}:
                return answer
            answer.read()
            url = answer.headers["Location"]
            headers = {k: v for k, v in headers.items() if k != "Authorization"}
        raise RegistryError(f"{method} {url}: too many redirects")

    def _exchange(self, method: str, url: str, body: Body, headers: dict[str, str]) -> Answer:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        if body is not None and not isinstance(body, bytes) and "Content-Length" not in headers:
            headers = {**headers, "Content-Length": str(os.fstat(body.fileno()).st_size)}
        connection = self._connection(parts.scheme, parts.netloc)
        with _translated(method, url):
            try:
                connection.request(method, target, body=body, headers=headers)
                return Answer(connection.getresponse(), url)
            except (http.client.RemoteDisconnected, http.client.CannotSendRequest, BrokenPipeError):
                # A kept-alive connection that the server closed meanwhile; once, on a fresh one.
                connection.close()
                if body is not None and not isinstance(body, bytes):
                    body.seek(0)
                connection.request(method, target, body=body, headers=headers)
                return Answer(connection.getresponse(), url)

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        key = scheme, netloc
        if key not in self._connections:
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._connections[key] = kind(netloc, timeout=TIMEOUT, blocksize=_BLOCK)
        return self._connections[key]


def plain(host: str) -> bool:
    """Whether a registry is spoken to without TLS: loopback, as Docker has it, and the lab's own."""
    if host in {os.environ.get("LAB_REGISTRY"), os.environ.get("CI_REGISTRY")}:
        return True
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    with suppress(OSError):
        return ipaddress.ip_address(socket.gethostbyname(name)).is_loopback
    return False


def _challenge(answer: Answer) -> str | None:
    return answer.headers.get("WWW-Authenticate")


def _failure(method: str, answer: Answer, body: bytes) -> RegistryError:
    """The error that Docker's client makes of an answer (distribution, registry/client/errors.go)."""
    wanted = challenge.bearer(_challenge(answer)) or {}
    if wanted.get("error") == "insufficient_scope":
        return RegistryError("denied: requested access to the resource is denied", answer.status)
    found = challenge.messages(body)
    path = urlsplit(answer.url).path
    return RegistryError("; ".join(found) or f"unexpected status from {method} {path}: {answer.status}", answer.status)


@contextmanager
def _translated(method: str, url: str) -> Iterator[None]:
    """Network errors in the words of Go's client."""
    netloc = urlsplit(url).netloc
    verb = method.capitalize()
    try:
        yield
    except ConnectionRefusedError as error:
        raise RegistryError(f'{verb} "{url}": dial tcp {netloc}: connect: connection refused') from error
    except socket.gaierror as error:
        raise RegistryError(f'{verb} "{url}": dial tcp: lookup {netloc.rpartition(":")[0]}: no such host') from error
    except TimeoutError as error:
        raise RegistryError(f'{verb} "{url}": net/http: request canceled (no answer in {TIMEOUT} s)') from error
    except (OSError, http.client.HTTPException) as error:
        raise RegistryError(f'{verb} "{url}": {error or type(error).__name__}') from error
