"""The one small door through which the doctor looks at a machine, so that a recorded one can stand in for it."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Protocol

from lab import shell
from lab.engines import ports
from lab.errors import LabError


@dataclass(frozen=True)
class Facts:
    """What a process knows about itself and its machine without asking anybody."""

    uid: int
    user: str
    home: str
    """The user's home folder."""
    architecture: str
    """As ``uname -m`` says it: x86_64, aarch64 …"""
    cpus: int
    python: str
    """Version, ``3.11.2``."""
    executable: str
    virtual: bool
    """Whether Python runs in a virtual environment."""


@dataclass(frozen=True)
class Entry:
    """A file or folder."""

    mode: int
    """Permission bits, 0o700."""
    uid: int
    writable: bool
    """For this user."""


@dataclass(frozen=True)
class Space:
    """Room on the file system that a path lies on; bytes and numbers of files, as this user may use them."""

    total: int
    free: int
    files: int
    files_free: int


@dataclass(frozen=True)
class Said:
    """What a program printed, and its exit code."""

    code: int
    text: str


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


class Machine(ports.Files, Protocol):
    """Every reading that the doctor makes, and the two changes that need no root."""

    home: str
    """The folder with lab.yaml and .lab/."""
    root: str
    """The clone that the lab runs from."""
    environ: Mapping[str, str]
    facts: Facts

    def entry(self, path: str) -> Entry | None:
        """Mode and owner, or None when there is nothing."""

    def space(self, path: str) -> Space | None:
        """Room at a path or at its nearest existing parent; None when that cannot be told."""

    def run(self, argv: Sequence[str], timeout: float) -> Said | None:
        """Run a program; None when it is missing or does not end in ``timeout`` seconds."""

    def refusal(self, host: str, port: int) -> str:
        """Why nobody could listen on a port right now; empty when it is free."""

    def engine(self, address: str, path: str, timeout: float) -> Reply | str:
        """GET from an engine's API at ``unix:///…`` or ``tcp://host:port``; a text says why there is no answer."""

    def fetch(self, method: str, url: str, headers: Mapping[str, str], timeout: float) -> Reply | str:
        """An HTTP request; a text says why there is no answer."""

    def resolve(self, name: str) -> list[str]:
        """Addresses of a host name; none when nobody knows it. May take as long as the resolver takes."""

    def now(self) -> float:
        """Seconds since 1970 by this machine's clock."""

    def chmod(self, path: str, mode: int) -> None:
        """Set permission bits."""

    def remove(self, path: str) -> None:
        """Remove a file that may be gone already."""


class ThisMachine(ports.HostFiles):
    """The machine that we run on.

    Args:
        home: folder with lab.yaml and .lab/.
        root: the clone that the lab runs from.
        environ: the environment variables.
    """

    def __init__(self, home: Path, root: Path, environ: Mapping[str, str]) -> None:
        self.home = str(home)
        self.root = str(root)
        self.environ = environ
        self.facts = Facts(
            uid=os.getuid(),
            user=environ.get("USER", ""),
            home=environ.get("HOME", ""),
            architecture=platform.machine(),
            cpus=os.cpu_count() or 1,
            python=platform.python_version(),
            executable=sys.executable,
            virtual=sys.prefix != sys.base_prefix,
        )

    def entry(self, path: str) -> Entry | None:
        """Mode and owner, or None when there is nothing."""
        try:
            seen = Path(path).stat()
        except OSError:
            return None
        return Entry(seen.st_mode & 0o7777, seen.st_uid, os.access(path, os.W_OK))

    def space(self, path: str) -> Space | None:
        """Room at a path or at its nearest existing parent."""
        for folder in (Path(path), *Path(path).parents):
            with contextlib.suppress(OSError):
                seen = os.statvfs(folder)
                unit = seen.f_frsize
                return Space(seen.f_blocks * unit, seen.f_bavail * unit, seen.f_files, seen.f_favail)
        return None

    def run(self, argv: Sequence[str], timeout: float) -> Said | None:
        """Run a program; None when it is missing or too slow."""
        try:
            done = shell.run(argv, timeout=timeout, check=False, env={"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"})
        except (LabError, OSError):
            return None
        return Said(done.code, done.stdout.strip() or done.stderr.strip())

    def refusal(self, host: str, port: int) -> str:
        """Why nobody could listen on a port right now."""
        error = ports.refusal(host, port)
        return (error.strerror or str(error)) if error else ""

    def engine(self, address: str, path: str, timeout: float) -> Reply | str:
        """GET from an engine's API."""
        from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - only for the Docker engine

        kind, _, where = address.partition("://")
        connection = HTTPConnection("docker" if kind == "unix" else where, timeout=timeout)
        try:
            if kind == "unix":
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(timeout)
                connection.sock.connect(where)
            connection.request("GET", path)
            answer = connection.getresponse()
            return Reply(answer.status, _lower(answer.headers), answer.read().decode(errors="replace"))
        except (OSError, HTTPException) as error:
            return getattr(error, "strerror", "") or str(error) or type(error).__name__
        finally:
            connection.close()

    def fetch(self, method: str, url: str, headers: Mapping[str, str], timeout: float) -> Reply | str:
        """An HTTP request, through the proxy that the environment names."""
        from http.client import HTTPException  # noqa: PLC0415 - only for what lies outside
        from urllib import error as failure  # noqa: PLC0415
        from urllib import request  # noqa: PLC0415

        asked = request.Request(url, method=method, headers=dict(headers))  # noqa: S310 - our own constants
        try:
            with request.build_opener().open(asked, timeout=timeout) as answer:
                return Reply(answer.status, _lower(answer.headers), answer.read().decode(errors="replace"))
        except failure.HTTPError as error:
            with error:
                return Reply(error.code, _lower(error.headers))
        except (OSError, HTTPException, ValueError) as error:
            return str(getattr(error, "reason", error))

    def resolve(self, name: str) -> list[str]:
        """Addresses of a host name."""
        try:
            return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
        except (OSError, UnicodeError):
            return []

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def chmod(self, path: str, mode: int) -> None:
        """Set permission bits."""
        Path(path).chmod(mode)

    def remove(self, path: str) -> None:
        """Remove a file that may be gone already."""
        Path(path).unlink(missing_ok=True)


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
