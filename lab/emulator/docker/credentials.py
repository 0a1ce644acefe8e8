"""Login data in Docker's ``config.json``, and nothing else of that file."""

from __future__ import annotations

import base64
import binascii
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.emulator.docker.errors import DockerError

HUB_KEY = "https://index.docker.io/v1/"
"""The key under which Docker keeps Docker Hub's login."""


def key_of(domain: str) -> str:
    """The key of a registry's login in ``auths``."""
    return HUB_KEY if domain in {"docker.io", "index.docker.io", "registry-1.docker.io"} else domain


class Credentials:
    """Logins of one user, by registry; other keys of the file are kept as they are."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.json"

    @classmethod
    def of_user(cls) -> Credentials:
        """Those of ``$DOCKER_CONFIG``, else of ``$HOME/.docker``."""
        folder = os.environ.get("DOCKER_CONFIG")
        return cls(Path(folder) if folder else Path.home() / ".docker")

    def get(self, domain: str) -> tuple[str, str] | None:
        """User name and password for a registry, or None; ``$DOCKER_AUTH_CONFIG`` is read where the file has none."""
        for document in (self._read(), self._environment()):
            entry = document.get("auths", {}).get(key_of(domain))
            if entry and (login := _decode(entry)):
                return login
        return None

    def registries(self) -> set[str]:
        """The registries that a login is known for, Docker Hub under its key."""
        return {*self._read().get("auths", {}), *self._environment().get("auths", {})}

    def put(self, domain: str, username: str, password: str) -> None:
        """Keep a login; the file is 0600."""
        document = self._read()
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        document.setdefault("auths", {})[key_of(domain)] = {"auth": token}
        self._write(document)

    def drop(self, domain: str) -> bool:
        """Forget a login; False when there was none."""
        document = self._read()
        if document.get("auths", {}).pop(key_of(domain), None) is None:
            return False
        self._write(document)
        return True

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DockerError(f"WARNING: Error loading config file: {self.path}: {error}") from error

    @staticmethod
    def _environment() -> dict[str, Any]:
        with suppress(ValueError):
            return dict(json.loads(os.environ.get("DOCKER_AUTH_CONFIG") or "{}"))
        return {}

    def _write(self, document: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.path.with_name(f".config.json.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(document, indent="\t"))
        temporary.replace(self.path)


def _decode(entry: dict[str, Any]) -> tuple[str, str] | None:
    if entry.get("username"):
        return str(entry["username"]), str(entry.get("password", ""))
    try:
        username, colon, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (username, password.rstrip("\0")) if colon else None
