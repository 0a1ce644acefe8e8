"""The only door to the docker SDK: one engine, resolved once, for the SDK and for k3d alike.

The SDK is imported with the first request (0.2 s). Its errors become `DockerError`s with the engine's own words.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lab.engines.docker import address
from lab.errors import LabError, MachineError
from lab.remote import load

_TIMEOUT = 120.0
"""Seconds for a request; a stop waits this long for a container's end (contracts G.3)."""
_NEAR = ("127.0.0.1", "localhost", "::1")
_PORT = re.compile(r"(?:port is already allocated|failed to bind host port|address already in use)")
_POOLS = re.compile(r"address pools|non-overlapping IPv4 address pool")


class DockerError(LabError):
    """The engine refused something.

    Attributes:
        status: the HTTP status, or None when there was no answer.
    """

    def __init__(self, code: str, problem: str, *, status: int | None, evidence: str = "", hint: str = "") -> None:
        super().__init__(code, problem, evidence=evidence, hint=hint)
        self.status = status


class Ran(NamedTuple):
    """A command in a container that has ended."""

    code: int
    output: str


class Daemon:
    """One Docker engine; may be shared by threads.

    Args:
        environ: where Docker's variables are looked up.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.address = address.resolve(environ, environ.get("HOME", ""), _read)
        self._variables = {name: environ[name] for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH") if name in environ}
        self._lock = threading.Lock()
        self._client: Any = None

    @property
    def environ(self) -> dict[str, str]:
        """Variables that make a child program such as k3d use this very engine."""
        return {"DOCKER_HOST": self.address, "DOCKER_CONTEXT": "default", **self._variables}

    @property
    def client(self) -> Any:
        """The SDK's client; use it inside `asking`.

        Raises:
            MachineError: the engine is on another machine.
        """
        with self._lock:
            if self._client is None:
                self._refuse_remote()
                (docker,) = load("docker")
                with self.asking("connect"):
                    self._client = docker.DockerClient.from_env(
                        environment={"DOCKER_HOST": self.address, **self._variables}, timeout=_TIMEOUT
                    )
            return self._client

    @property
    def types(self) -> Any:
        """The SDK's types, such as ``EndpointConfig``."""
        return load("docker.types")[0]

    @property
    def errors(self) -> Any:
        """The SDK's errors, for what cannot be asked inside `asking`."""
        return load("docker.errors")[0]

    @functools.cached_property
    def version(self) -> Mapping[str, Any]:
        """What the engine is, ``Arch`` among it; asked once."""
        with self.asking("tell its version"):
            return dict(self.client.version())

    @functools.cached_property
    def info(self) -> Mapping[str, Any]:
        """What the engine has, ``MemTotal`` in bytes and ``DockerRootDir`` among it; asked once."""
        with self.asking("tell what it has"):
            return dict(self.client.info())

    def find(self, kind: str, name: str) -> Any | None:
        """A container, network, volume or image by name (``kind`` is the plural), or None when there is none."""
        with self.asking(f"look for {kind[:-1]} {name}"):
            try:
                return getattr(self.client, kind).get(name)
            except self.errors.NotFound:
                return None

    def execute(self, container: Any, *argv: str, user: str = "", environ: Mapping[str, str] | None = None) -> Ran:
        """Run a command in a container to its end; both outputs together.

        Docker sets no time limit: the command must have one of its own (``curl --max-time``, ``timeout 300 ...``).
        """
        with self.asking(f"run {argv[0]} in {container.name}"):
            code, output = container.exec_run(list(argv), user=user, environment=dict(environ or {}))
        return Ran(code, output.decode(errors="replace"))

    @contextlib.contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Turn the SDK's errors into the lab's.

        Args:
            what: what is being done, as it reads after "Docker could not".

        Raises:
            MachineError: nobody answers, or this user may not ask.
            DockerError: the engine refused.
        """
        errors, (requests,) = self.errors, load("requests.exceptions")
        try:
            yield
        except errors.APIError as error:
            raise _refusal(what, error) from error
        except requests.ReadTimeout as error:
            raise DockerError(
                "LAB-DOCKER-03", f"Docker could not {what} within {_TIMEOUT:g} s.", status=None,
                hint="Is the machine out of memory or disk? `invoke doctor` looks.",
            ) from error  # fmt: skip
        except (errors.DockerException, requests.RequestException, OSError) as error:
            raise self._silent(error) from error

    def _silent(self, error: BaseException) -> MachineError:
        text = str(error)
        if "Permission denied" in text:
            return MachineError(
                "LAB-DOCKER-02",
                f"This user may not talk to Docker at {self.address}.",
                evidence=text[:600],
                hint="sudo usermod -aG docker $USER, then log out and in again (WSL: wsl --shutdown on Windows).",
            )
        return MachineError(
            "LAB-DOCKER-01",
            f"The Docker engine at {self.address} does not answer.",
            evidence=text[:600],
            hint="Start Docker, then run the same again; `invoke doctor` says how.",
        )

    def _refuse_remote(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme == "unix" or (parts.scheme in ("tcp", "http", "https") and parts.hostname in _NEAR):
            return
        raise MachineError(
            "LAB-DOCKER-04",
            f"The Docker engine at {self.address} is on another machine.",
            evidence="The lab publishes its ports on 127.0.0.1 of the machine that the engine runs on.",
            hint="Unset DOCKER_HOST, or `docker context use default`; or run the lab over there.",
        )


def _refusal(what: str, error: Any) -> DockerError:
    status, said = error.response.status_code if error.response is not None else None, str(error.explanation or error)
    if _PORT.search(said):
        return DockerError(
            "LAB-DOCKER-05", f"Docker could not {what}: a port is taken.", status=status, evidence=said,
            hint="`invoke doctor` names the port's owner; change it with `invoke config.set ports.NAME NUMBER`.",
        )  # fmt: skip
    if "no space left on device" in said:
        return DockerError(
            "LAB-DOCKER-06", f"Docker could not {what}: the disk is full.", status=status, evidence=said,
            hint="docker system df shows what takes the room.",
        )  # fmt: skip
    if _POOLS.search(said):
        return DockerError(
            "LAB-DOCKER-07", f"Docker could not {what}: it has no free subnet left.", status=status, evidence=said,
            hint="docker network prune removes networks that nothing uses.",
        )  # fmt: skip
    return DockerError(
        "LAB-DOCKER-08", f"Docker could not {what}.", status=status, evidence=said[:1000], hint="invoke doctor"
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
