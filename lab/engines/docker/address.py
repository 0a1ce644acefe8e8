"""Which Docker engine is meant: DOCKER_HOST, the current context, or the default socket, as Docker's client decides."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping

DEFAULT = "unix:///var/run/docker.sock"


def resolve(environ: Mapping[str, str], home: str, read: Callable[[str], str]) -> str:
    """The engine's address, ``unix:///...`` or ``tcp://host:port``.

    Args:
        environ: looked at for DOCKER_HOST, DOCKER_CONTEXT and DOCKER_CONFIG.
        home: the user's home folder.
        read: a file's text, empty when it cannot be read.
    """
    if environ.get("DOCKER_HOST"):
        return environ["DOCKER_HOST"]
    folder = environ.get("DOCKER_CONFIG") or f"{home}/.docker"
    with contextlib.suppress(ValueError, KeyError, AttributeError, TypeError):
        context = environ.get("DOCKER_CONTEXT") or json.loads(read(f"{folder}/config.json") or "{}").get(
            "currentContext", "default"
        )
        if context != "default":
            name = hashlib.sha256(context.encode()).hexdigest()
            meta = json.loads(read(f"{folder}/contexts/meta/{name}/meta.json") or "{}")
            return str(meta["Endpoints"]["docker"]["Host"])
    return DEFAULT
