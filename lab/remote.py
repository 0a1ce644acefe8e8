"""What every system on the other end of a connection has in common: its refusals, our patience, and plain HTTP.

GitLab and Kubernetes have doors of their own (`forge`, `cluster`); what is no API of theirs (a registry's 401, the
application's answer, git's advertisement) is fetched here.
"""

from __future__ import annotations

import base64
import http.client
import importlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from lab.errors import LabError
from lab.waiting import Pending

T = TypeVar("T")
_importing = threading.Lock()
_READ_AT_MOST = 1 << 20


class RemoteError(LabError):
    """A system refused a request or could not be reached.

    Attributes:
        status: the HTTP status, or None when there was no answer at all.
    """

    def __init__(self, code: str, problem: str, *, status: int | None, evidence: str = "", hint: str = "") -> None:
        super().__init__(code, problem, evidence=evidence, hint=hint)
        self.status = status

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed a moment later: no answer, 429, or 5xx."""
        return self.status is None or self.status == 429 or self.status >= 500


def patient(
    probe: Callable[[], T | Pending], *, outage: float = 120.0, clock: Callable[[], float] = time.monotonic
) -> Callable[[], T | Pending]:
    """``probe``, answering `Pending` while a system restarts or is busy; for waits, never for a step's probe.

    ``outage`` is how many seconds without one good answer in between it takes for the error to be raised after all.
    """
    since: float | None = None

    def asked() -> T | Pending:
        nonlocal since
        try:
            answer = probe()
        except RemoteError as error:
            since = clock() if since is None else since
            if error.transient and clock() - since < outage:
                return Pending(f"{error.problem} {error.evidence}".strip())
            raise
        since = None
        return answer

    return asked


def cause(error: BaseException) -> str:
    """The innermost reason of a connection error, without the layers that clients wrap around it."""
    inner: Any = error
    while True:
        below = getattr(inner, "reason", None)
        if not isinstance(below, BaseException):
            below = next((item for item in inner.args if isinstance(item, BaseException)), None)
        if below is None:
            return f"{type(inner).__name__}: {inner}"
        inner = below


def load(*names: str) -> list[Any]:
    """Import heavy packages when they are first used, by one thread at a time.

    python-gitlab and the kubernetes client both import requests, whose modules import each other: two threads that do
    so at once can be handed a half-made module.
    """
    with _importing:
        return [importlib.import_module(name) for name in names]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as a JSON document; raises ValueError when it is none."""
        return json.loads(self.body)


def fetch(
    url: str, *, headers: Mapping[str, str] | None = None, login: tuple[str, str] | None = None, timeout: float = 5.0
) -> Answer:
    """GET a URL; no proxy, no redirect is followed.

    Args:
        url: ``http://``, or ``https://`` on this machine: its certificate is self-signed and not looked at.
        headers: for example ``Host``, for an ingress that is reached by address.
        login: user name and password for HTTP Basic.
        timeout: seconds for the connection and for each read.

    Raises:
        RemoteError: nobody answered; any status that was answered is returned.
    """
    parts = urlsplit(url)
    sent = dict(headers or {})
    if login:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
    connection = _connection(parts, timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers=sent)
        response = connection.getresponse()
        return Answer(
            response.status,
            response.read(_READ_AT_MOST),
            {name.lower(): value for name, value in response.getheaders()},
        )
    except (OSError, http.client.HTTPException) as error:
        seen = f"{type(error).__name__}: {error}"
        hint = "`invoke status` shows what runs; `invoke up` starts what does not."
        raise RemoteError("LAB-HTTP-01", f"{url} did not answer.", status=None, evidence=seen, hint=hint) from error
    finally:
        connection.close()


def _connection(parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port or 80, timeout=timeout)
    if host not in ("127.0.0.1", "localhost"):
        raise ValueError(f"no https to {host}: nobody would look at its certificate")
    trust = ssl._create_unverified_context()  # noqa: S323, SLF001 - loopback, and nothing secret is sent
    return http.client.HTTPSConnection(host, parts.port or 443, timeout=timeout, context=trust)
