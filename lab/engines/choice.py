"""Which engine a lab runs on: asked for, recorded, or found out once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.engines.base import Engine
from lab.engines.embedded import EmbeddedEngine
from lab.errors import MachineError, UsageError
from lab.settings import Settings
from lab.state import State

NAMES = ("auto", "docker", "embedded")


@dataclass(frozen=True)
class Choice:
    """An engine's name and why it was taken."""

    name: str
    why: str


def choose(wanted: str, state: State, environ: Mapping[str, str]) -> Choice:
    """Decide once, and keep to it for the life of the lab.

    Args:
        wanted: ``auto``, ``docker`` or ``embedded``, from the flag or lab.yaml.
        state: where the decision is recorded.
        environ: looked at for DOCKER_HOST.

    Raises:
        UsageError: there is no such engine, or this lab already runs on another one.
        MachineError: the Docker engine was asked for, which this version does not have.
    """
    if wanted not in NAMES:
        raise UsageError("LAB-ENG-03", f"There is no engine {wanted}.", hint="Engines: " + ", ".join(NAMES))
    recorded = str((state.fact("engine") or {}).get("name", ""))
    if recorded == "embedded":
        if wanted not in ("auto", recorded):
            raise UsageError(
                "LAB-ENG-01",
                f"This lab runs on the {recorded} engine; {wanted} was asked for.",
                hint="Remove the lab first: invoke down --purge",
            )
        return Choice(recorded, "recorded by the first `up`")
    if wanted == "docker":
        raise MachineError(
            "LAB-ENG-02",
            "The Docker engine is not part of this version.",
            evidence=f"Docker: {docker_state(environ)}",
            hint="Use the embedded engine: invoke up --engine embedded",
        )
    if wanted == "embedded":
        return Choice("embedded", "asked for")
    return Choice("embedded", f"Docker: {docker_state(environ)}; this version runs on the embedded engine only")


def record(choice: Choice, state: State) -> None:
    """Note the decision, so that a later `up` cannot change it silently."""
    if (state.fact("engine") or {}).get("name") != choice.name:
        state.put_fact("engine", {"name": choice.name, "why": choice.why})


def create(choice: Choice, settings: Settings, state: State) -> Engine:
    """The engine itself."""
    return {"embedded": EmbeddedEngine}[choice.name](settings, state)


def docker_state(environ: Mapping[str, str]) -> str:
    """What a look at Docker's socket shows: ``answers``, ``no permission ...``, ``no socket ...``."""
    host = environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        return f"remote engine {host}, not asked"
    path = Path(host.removeprefix("unix://"))
    if not path.exists():
        return f"no socket at {path}"
    if not os.access(path, os.R_OK | os.W_OK):
        return f"no permission for {path} (add your user to the group docker, then log in again)"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(path))
            client.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return "answers" if b" 200 " in client.recv(64) else f"{path} answers, but not as an engine"
        except OSError as error:
            return f"{path} does not answer ({error.strerror or error})"
