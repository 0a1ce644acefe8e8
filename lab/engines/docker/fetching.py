"""One file over HTTP: goes on where it was cut off, is checked by its SHA-256, and appears in its place whole.

What has come so far lies beside it as ``.part``. A server that keeps breaking off is asked again as long as something
new comes; whoever gives nothing three times is given up.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from lab.errors import Interrupted, LabError
from lab.plan import StepContext
from lab.waiting import Pending

_SILENCE = 20.0
"""Seconds without a byte after which a connection counts as broken."""
_CHUNK = 1 << 16
_TRIES = 3
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK = (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EISDIR, errno.ENOTDIR)
_NEAR = ("127.0.0.1", "localhost", "::1")
_PROXIES = ("http", "https", "no")


@dataclass(frozen=True)
class Wish:
    """What is to be fetched."""

    url: str
    place: Path
    checksum: str
    """SHA-256 in hexadecimal."""
    program: bool = False
    """Whether it is to be executable."""

    @property
    def part(self) -> Path:
        """Where it lies until it is whole."""
        return self.place.with_name(f".{self.place.name}.{self.checksum[:8]}.part")

    @property
    def host(self) -> str:
        """The server's name."""
        return urlsplit(self.url).netloc


class _Broken(Exception):
    """The connection gave out; another one may do better."""


def fetch(wish: Wish, environ: Mapping[str, str], context: StepContext, *, timeout: float) -> None:
    """Fetch a file into its place.

    Args:
        wish: what, from where, to where.
        environ: looked at for ``http_proxy``, ``https_proxy`` and ``no_proxy``.
        context: told the bytes; its stop event ends the download.
        timeout: seconds for all of it.

    Raises:
        LabError: the server has no such file, another one, or cannot be reached; or the disk refuses it.
        TimedOut: the time was over; what has come is kept.
    """
    try:
        wish.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _Fetch(wish, environ, context).run(timeout)
    except OSError as error:
        raise _refused_by_disk(wish, error) from error


def keep(wish: Wish, chunks: Iterable[bytes]) -> None:
    """Put data that is here already into its place, whole and checked.

    Raises:
        LabError: it is another file than the pinned one, or the disk refuses it.
    """
    try:
        wish.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with wish.part.open("wb") as file:
            file.writelines(chunks)
        found = checksum(wish.part)
        if found != wish.checksum:
            wish.part.unlink()
            raise _other(wish, found)
        _settle(wish)
    except OSError as error:
        raise _refused_by_disk(wish, error) from error


def checksum(place: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with place.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class _Fetch:
    """One download with its tries."""

    def __init__(self, wish: Wish, environ: Mapping[str, str], context: StepContext) -> None:
        self._wish = wish
        self._context = context
        self._opener = _opener(wish.url, environ)
        self._vain = 0
        self._deadline = 0.0

    def run(self, timeout: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._context.wait(
            f"{self._wish.url}", self._try, timeout=timeout, interval=0.2, longest=5,
            hint="What has come is kept. Run the same again, raise timeouts.pull, or set downloads.base.",
        )  # fmt: skip

    def _try(self) -> bool | Pending:
        before = _size(self._wish.part)
        try:
            self._load(before)
        except (_Broken, http.client.HTTPException, OSError) as error:
            if getattr(error, "errno", None) in _DISK:
                raise
            after = _size(self._wish.part)
            self._vain = 0 if after > before else self._vain + 1
            if self._vain >= _TRIES:
                raise _unreachable(self._wish, error) from error
            return Pending(f"{self._wish.host}: {_words(error)}; {after} bytes are here")
        return self._finish(resumed=before > 0)

    def _load(self, begin: int) -> None:
        """Ask for what is missing and add it to the part."""
        request = urllib.request.Request(self._wish.url, headers={"User-Agent": "gitops-lab"})  # noqa: S310 - http(s)
        if begin:
            request.add_header("Range", f"bytes={begin}-")
        try:
            response = self._opener.open(request, timeout=_SILENCE)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416:  # nothing is missing, or the part belongs to another file: its checksum tells
                    return
                if error.code >= 500 or error.code == 429:
                    raise _Broken(f"HTTP {error.code}") from error
                raise _refused(self._wish, error.code) from error
        with response:
            if "text/html" in response.headers.get("Content-Type", ""):
                raise _page(self._wish)
            if response.status != 206:
                begin = 0
            with self._wish.part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                self._copy(response, file, begin)

    def _copy(self, response: Any, file: BinaryIO, done: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else 0
        while chunk := response.read1(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            self._context.progress(done, max(total, done))
            if self._context.stop.is_set():
                raise Interrupted(f"Stopped while fetching {self._wish.url}.", hint="What has come is kept.")
            if time.monotonic() > self._deadline:
                raise _Broken(f"too slow, {done} of {total} bytes")
        if done < total:
            raise _Broken("it broke off")

    def _finish(self, *, resumed: bool) -> bool | Pending:
        wish, found = self._wish, checksum(self._wish.part)
        if found != wish.checksum:
            wish.part.unlink(missing_ok=True)
            if resumed:  # the two halves may be of different files: from the beginning, once
                return Pending("what was here did not fit; fetching all of it")
            raise _other(wish, found)
        _settle(wish)
        return True


def _settle(wish: Wish) -> None:
    wish.part.chmod(0o700 if wish.program else 0o600)
    wish.part.replace(wish.place)


def _opener(url: str, environ: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """With the proxy that ``environ`` names for this address; none for this machine itself."""
    known = {kind: environ.get(f"{kind}_proxy") or environ.get(f"{kind.upper()}_PROXY", "") for kind in _PROXIES}
    host = urlsplit(url).hostname or ""
    passed = host in _NEAR or urllib.request.proxy_bypass_environment(host, {"no": known.pop("no")})  # type: ignore[attr-defined]
    proxies = {} if passed else {kind: value for kind, value in known.items() if value}
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error or type(error).__name__)


def _unreachable(wish: Wish, error: Exception) -> LabError:
    return LabError(
        "LAB-FETCH-02", f"{wish.host} does not give {wish.place.name}.", evidence=f"{wish.url}: {_words(error)}",
        hint="Is there a network (https_proxy)? downloads.base in lab.yaml names another server; "
        "without any network: invoke up --bundle FILE",
    )  # fmt: skip


def _refused(wish: Wish, status: int) -> LabError:
    what = {404: "has no such file", 401: "wants a login", 403: "refuses it", 407: "is behind a proxy with a login"}
    return LabError(
        "LAB-FETCH-03", f"{wish.host} {what.get(status, f'answered {status}')}: {wish.place.name}.",
        evidence=f"HTTP {status} for {wish.url}", hint="Is downloads.base in lab.yaml right?",
    )  # fmt: skip


def _page(wish: Wish) -> LabError:
    return LabError(
        "LAB-FETCH-04", f"{wish.host} sent a web page instead of {wish.place.name}.", evidence=wish.url,
        hint="A page for logging into this network may be in between: open a browser. Or downloads.base is wrong.",
    )  # fmt: skip


def _other(wish: Wish, found: str) -> LabError:
    return LabError(
        "LAB-FETCH-05", f"This is another {wish.place.name} than the one that is pinned; it was thrown away.",
        evidence=f"SHA-256 expected {wish.checksum}\n           found {found}\n{wish.url}".strip(),
        hint="Run the same again; if it stays, do not use that server: somebody changed the file.",
    )  # fmt: skip


def _refused_by_disk(wish: Wish, error: OSError) -> LabError:
    full = error.errno in _FULL
    return LabError(
        "LAB-FETCH-06", f"{wish.place} cannot be written{': the disk is full' if full else ''}.", evidence=str(error),
        hint="Make room (df -h shows where), then run the same again; what has come is kept."
        if full else "Whose folder is it? ls -ld shows it.",
    )  # fmt: skip
