"""Images for containers: pull policy, pull secrets, and which images are only simulated."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from lab.emulator.images import Credentials, Image, PullError, name_of, present, pull
from lab.emulator.workloads.cluster import SECRETS, Cluster
from lab.emulator.workloads.objects import Obj


class Puller(Protocol):
    """`lab.emulator.images.pull`."""

    async def __call__(
        self, session: aiohttp.ClientSession, reference: str, credentials: Credentials, cache: Path
    ) -> Image:
        """Fetch an image; raises PullError."""


def is_simulated(reference: str, registry: str) -> bool:
    """Whether the image comes from elsewhere than the lab's registry, so that no process runs for it.

    A text that is no image reference is not simulated: pulling it says what is wrong.
    """
    try:
        return name_of(reference).domain != registry
    except PullError:
        return False


def pull_secrets(pod: Obj, cluster: Cluster) -> tuple[Credentials, list[str]]:
    """Logins by registry from the pod's imagePullSecrets, and the names of secrets that could not be found."""
    logins: dict[str, tuple[str, str]] = {}
    missing = []
    for reference in pod["spec"].get("imagePullSecrets") or ():
        found = cluster.find(SECRETS, pod["metadata"]["namespace"], reference["name"])
        if found is None:
            missing.append(reference["name"])
        else:
            logins = {**_logins(found), **logins}
    return logins.get, missing


def _logins(secret: Obj) -> dict[str, tuple[str, str]]:
    """The logins of a docker-registry secret; one that cannot be read gives none."""
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            auths: dict[str, Any] = json.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}
        else:
            auths = json.loads(base64.b64decode(data.get(".dockercfg") or "e30="))
        return {_host(key): _login(entry) for key, entry in auths.items()}
    except (ValueError, binascii.Error, AttributeError):
        return {}


def _host(key: str) -> str:
    """The registry that an entry of a docker configuration is for: scheme and path do not count."""
    return key.split("://", 1)[-1].split("/", 1)[0]


def _login(entry: dict[str, Any]) -> tuple[str, str]:
    if entry.get("auth") and not entry.get("password"):
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        return user, password
    return entry.get("username") or "", entry.get("password") or ""


class Images:
    """Pulls images, each reference once at a time."""

    def __init__(self, cache: Path, session: aiohttp.ClientSession, pull: Puller = pull) -> None:
        self._cache = cache
        self._session = session
        self._pull = pull
        self._locks: dict[str, asyncio.Lock] = {}

    def held(self, reference: str) -> Image | None:
        """The image when it was pulled before; raises PullError for an invalid name."""
        return present(reference, self._cache)

    async def pull(self, reference: str, credentials: Credentials) -> Image:
        """Fetch an image from its registry; raises PullError."""
        async with self._locks.setdefault(reference, asyncio.Lock()):
            return await self._pull(self._session, reference, credentials, self._cache)


def pull_policy(container: dict[str, Any]) -> str:
    """Always, IfNotPresent or Never; the default depends on the tag."""
    if container.get("imagePullPolicy"):
        return str(container["imagePullPolicy"])
    name = container["image"].rpartition("/")[2]
    return "Always" if ":" not in name or name.endswith(":latest") else "IfNotPresent"
