"""Which engine a lab runs on: asked for, recorded, or found out once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.engines.base import Engine
from lab.engines.docker import address
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
        environ: looked at for Docker's variables.

    Raises:
        UsageError: there is no such engine, or this lab already runs on another one.
        MachineError: Docker was asked for and does not answer, or this user may not talk to it.
    """
    if wanted not in NAMES:
        raise UsageError("LAB-ENG-03", f"There is no engine {wanted}.", hint="Engines: " + ", ".join(NAMES))
    known = recorded(state)
    if known:
        if wanted not in ("auto", known):
            raise UsageError(
                "LAB-ENG-01",
                f"This lab runs on the {known} engine; {wanted} was asked for.",
                hint="Remove the lab first: invoke down --purge",
            )
        return Choice(known, "recorded by the first `up`")
    if wanted == "embedded":
        return Choice("embedded", "asked for")
    seen = docker_state(environ)
    if seen.answers:
        return Choice("docker", "asked for" if wanted == "docker" else f"Docker at {seen.address} answers")
    if wanted == "docker" or seen.forbidden:
        raise MachineError(
            "LAB-ENG-02",
            f"Docker cannot be used: {seen.words}.",
            hint="invoke doctor says what mends it · without Docker: invoke up --engine embedded",
        )
    return Choice("embedded", f"Docker: {seen.words}")


def recorded(state: State) -> str:
    """The engine of the lab that is here: as `record` noted it, else as its traces in .lab/ tell; empty without a lab.

    A note that somebody damaged must not hide a lab that runs.
    """
    noted = str((state.fact("engine") or {}).get("name", ""))
    if noted in NAMES[1:]:
        return noted
    if (state.folder / "embedded").is_dir():
        return "embedded"
    return "docker" if state.fact("network") or (state.folder / "kubeconfig").exists() else ""


def likely(wanted: str, state: State, environ: Mapping[str, str]) -> str:
    """The engine that `choose` would take, as far as one can tell; never an error: for tasks that only look."""
    for name in (recorded(state), wanted):
        if name in NAMES[1:]:
            return name
    seen = docker_state(environ)
    return "docker" if seen.answers or seen.forbidden else "embedded"


def record(choice: Choice, state: State) -> None:
    """Note the decision, so that a later `up` cannot change it silently."""
    if (state.fact("engine") or {}).get("name") != choice.name:
        state.put_fact("engine", {"name": choice.name, "why": choice.why})


def create(choice: Choice, settings: Settings, state: State, environ: Mapping[str, str]) -> Engine:
    """The engine itself."""
    if choice.name == "docker":
        from lab.engines.docker.engine import DockerEngine  # noqa: PLC0415 - an embedded lab never needs it
        from lab.engines.docker.site import Site  # noqa: PLC0415

        return DockerEngine(Site(settings, state, environ))
    return EmbeddedEngine(settings, state)


@dataclass(frozen=True)
class Seen:
    """What a look at Docker's socket shows."""

    address: str
    words: str
    answers: bool = False
    forbidden: bool = False
    """There is an engine, but this user may not talk to it: that is not the same as no Docker."""


def docker_state(environ: Mapping[str, str]) -> Seen:
    """Look at the engine that Docker's own client would use; one short question to its socket."""
    where = address.resolve(environ, environ.get("HOME", ""), _read)
    if not where.startswith("unix://"):
        return Seen(where, f"{where} is not a socket of this machine")
    path = Path(where.removeprefix("unix://"))
    if not path.exists():
        return Seen(where, f"no socket at {path}")
    if not os.access(path, os.R_OK | os.W_OK):
        words = f"no permission for {path} (add your user to the group docker, then log in again)"
        return Seen(where, words, forbidden=True)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(path))
            client.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            if b" 200 " in client.recv(64):
                return Seen(where, f"{path} answers", answers=True)
            return Seen(where, f"{path} answers, but not as an engine")
        except OSError as error:
            return Seen(where, f"{path} does not answer ({error.strerror or error})")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
