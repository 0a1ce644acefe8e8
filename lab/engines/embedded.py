"""The embedded engine: one background process on loopback, for machines without Docker and for rehearsal."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import secrets
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from subprocess import DEVNULL, Popen

from lab import assets, logs
from lab.causes import Evidence
from lab.emulator.config import Config
from lab.engines.background import gone, lock_owner
from lab.engines.base import LogSource
from lab.engines.ports import require_free
from lab.errors import LabError
from lab.model import Check, Endpoints
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.remote import fetch
from lab.settings import Settings
from lab.shell import run
from lab.state import State
from lab.waiting import Pending, wait_until

HOST = "127.0.0.1"
_GRACE = 10.0
_SECRETS = ("root-password", "root-token")


class EmbeddedEngine:
    """Starts and stops the emulator's process and knows its addresses."""

    name = "embedded"
    forge_ready: tuple[str, ...] = ("endpoints",)
    runner_ready: tuple[str, ...] = ("endpoints",)
    cluster_ready: tuple[str, ...] = ("endpoints",)
    about = (
        "GitLab, the registry, the runner, Kubernetes and Argo CD are emulated by one process on 127.0.0.1; git, the "
        "pipeline's scripts and your application are real and run as processes of your user, without containers."
    )

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings = settings
        self._state = state
        self._data = state.folder / "embedded"
        self._config_file = state.folder / "embedded.json"

    def steps(self) -> Sequence[Step]:
        """One step: the process runs with the present settings and every port answers."""
        ports = self._settings.ports
        return [
            Step(
                name="endpoints",
                title=f"Emulator on {HOST}, ports {ports.gitlab}, {ports.registry}, {ports.argocd}, {ports.app}",
                probe=self._probe,
                act=self._start,
                explain=f"{Path(sys.executable).name} -m lab.emulator {self._config_file} &",
            )
        ]

    def endpoints(self) -> Endpoints:
        """Identity and route are the same here: everything is on loopback."""
        ports = self._settings.ports
        gitlab, registry = f"http://{HOST}:{ports.gitlab}", f"{HOST}:{ports.registry}"
        return Endpoints(
            gitlab=gitlab,
            gitlab_route=gitlab,
            registry=registry,
            registry_route=f"http://{registry}",
            kubeconfig=self._data / "kubeconfig",
            argocd=f"https://{HOST}:{ports.argocd}",
            webhook=f"https://{HOST}:{ports.argocd}/api/webhook",
            app=f"http://{HOST}:{ports.app}",
            root_token=self._state.secret("root-token") or "",
        )

    def attach_runner(self, token: str) -> None:
        """Write the runner's config.toml and have the emulator read it again."""
        text = assets.render(
            "runner/config.toml",
            **self._runner_values(),
            token=token,
        )
        path = self._data / "runner" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(path)
        pid = self._pid()
        if pid:
            os.kill(pid, signal.SIGHUP)

    def _runner_values(self) -> dict[str, object]:
        url = f"http://{HOST}:{self._settings.ports.gitlab}"
        return {
            "name": "lab", "url": url, "executor": "shell", "concurrent": 4, "environment": "[]", "image": "",
            "helper": "", "network": "", "extra_hosts": "[]", "volumes": "[]",
        }  # fmt: skip

    def health(self) -> list[Check]:
        """Whether the process lives and each of its ports answers."""
        pid = self._pid()
        hint = "invoke up"
        checks = [
            Check("engine.process", "Emulator process", pid is not None, f"pid {pid}" if pid else "not running", hint)
        ]
        for what, url in self._urls():
            seen = _answer(what, url)
            checks.append(Check(f"engine.{what}", f"{what} answers", seen is None, seen or url, hint))
        return checks

    def evidence(self) -> Sequence[Evidence]:
        """Nothing: what the emulator's parts have to say, their APIs say."""
        return ()

    def stop(self) -> str:
        """End the emulator and everything it started."""
        return self.down()

    def down(self) -> str:
        """End the emulator; its data stays.

        Raises:
            TimedOut: the process did not end although it was killed.
        """
        pid = self._pid()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _GRACE
            wait_until("the emulator to end", lambda: self._ended(pid, deadline), timeout=_GRACE + 5, longest=0.1)
        # An emulator that ended well leaves no record of a child behind.
        if self._config_file.exists() and any(self._data.glob("*/children/*.json")):
            if self._written() is None:
                self._config().write(self._config_file)
            run([sys.executable, "-m", "lab.emulator", self._config_file, "--sweep"], timeout=30, cwd=assets.ROOT)
        return f"Emulator (pid {pid}) stopped." if pid else "Emulator was not running."

    def has_data(self) -> bool:
        """Whether the emulator's folder is there."""
        return self._data.exists()

    def purge(self, *, images: bool) -> str:
        """Remove the emulator's data; it keeps no images outside of them."""
        del images
        if self._data.exists():
            rmtree(self._data)
        self._config_file.unlink(missing_ok=True)
        return f"Removed {self._data}."

    def logs(self) -> Mapping[str, LogSource]:
        """The emulator's own log, and that of Argo CD's server."""
        files = {"emulator": self._state.folder / "emulator.log", "argocd": self._data / "argocd" / "server.log"}
        return {name: functools.partial(logs.file, path) for name, path in files.items()}

    def _config(self) -> Config:
        ports = self._settings.ports
        return Config(
            data=self._data,
            bind=HOST,
            gitlab_url=f"http://{HOST}:{ports.gitlab}",
            registry=f"{HOST}:{ports.registry}",
            gitlab_port=ports.gitlab,
            registry_port=ports.registry,
            kubernetes_port=ports.kubernetes,
            argocd_port=ports.argocd,
            app_port=ports.app,
            argocd_url=f"https://{HOST}:{ports.argocd}",
            root_password=self._secret("root-password", "Lab-"),
            root_token=self._secret("root-token", "glpat-"),
            profile=self._settings.emulator.profile,
        )

    def _written(self) -> Config | None:
        """The settings that the emulator was started with; None when they are missing or damaged."""
        try:
            return Config.read(self._config_file)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _secret(self, name: str, prefix: str) -> str:
        value = self._state.secret(name)
        if not value:
            value = prefix + secrets.token_urlsafe(18)
            self._state.put_secret(name, value)
        return value

    def _probe(self, _context: StepContext) -> Probe:
        pid = self._pid()
        if not pid:
            return Needed("no emulator runs")
        if not all(self._state.secret(name) for name in _SECRETS):
            return Needed("a password or token of the lab was lost")
        if self._written() != self._config():
            return Needed("the emulator runs with other settings")
        for what, url in self._urls():
            seen = _answer(what, url)
            if seen:
                return Needed(f"{what} does not answer: {seen}")
        if self._token_refused():
            return Needed("GitLab refuses the lab's root token; a new start makes it valid again")
        return Satisfied(f"pid {pid}")

    def _token_refused(self) -> bool:
        url = f"http://{HOST}:{self._settings.ports.gitlab}/api/v4/personal_access_tokens/self"
        return fetch(url, headers={"PRIVATE-TOKEN": self._state.secret("root-token") or ""}).status == 401

    def _start(self, context: StepContext) -> str:
        self._make_room(context)
        log = self._state.folder / "emulator.log"
        self._data.mkdir(mode=0o700, exist_ok=True)
        (self._data / "ready").unlink(missing_ok=True)
        with (
            os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output,
            (self._data / "lock").open("a+") as lock,
        ):
            start = output.tell()
            # The emulator inherits the lock: there is no moment at which it runs and nobody can see that.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.truncate(0)
            process = Popen(
                [sys.executable, "-m", "lab.emulator", str(self._config_file), "--lock-fd", str(lock.fileno())],
                cwd=assets.ROOT, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True,
                pass_fds=(lock.fileno(),),
            )  # fmt: skip
        context.wait(
            "the emulator's first answer",
            lambda: self._started(process, log, start),
            timeout=self._settings.timeouts.start,
            interval=0.02,
            longest=0.1,
            hint=f"Read {log}.",
            diagnose=lambda: [Evidence("machine", _since(log, start), "emulator")],
        )
        return f"started, pid {process.pid}"

    def _make_room(self, context: StepContext) -> None:
        """End an emulator that runs with other settings, but not before the new ports are known to be free."""
        running, before = self._pid(), self._written()
        if running is None or before:
            held = {getattr(before, f"{key}_port") for key, _ in self._ports()} if running else set()
            self._require_free(held)
        self._config().write(self._config_file)
        if running:
            context.report("ending the emulator that runs")
            self.down()
            self._require_free(set())

    def _require_free(self, but: set[int]) -> None:
        for key, port in self._ports():
            if port not in but:
                require_free(HOST, key, port)

    def _started(self, process: Popen[bytes], log: Path, start: int) -> bool | Pending:
        if process.poll() is not None:
            tail = _since(log, start).strip().splitlines()[-12:]
            raise LabError(
                "LAB-EMU-01", f"The emulator ended with code {process.returncode}.",
                evidence="\n".join(tail), hint=f"Read {log}.",
            )  # fmt: skip
        if not (self._data / "ready").exists():
            return Pending("starting")
        return True

    def _ports(self) -> Iterator[tuple[str, int]]:
        ports = self._settings.ports
        for key in ("gitlab", "registry", "kubernetes", "argocd", "app"):
            yield key, getattr(ports, key)

    def _urls(self) -> Iterator[tuple[str, str]]:
        ports = self._settings.ports
        yield "gitlab", f"http://{HOST}:{ports.gitlab}/-/health"
        yield "registry", f"http://{HOST}:{ports.registry}/v2/"
        yield "kubernetes", f"https://{HOST}:{ports.kubernetes}/readyz"
        yield "argocd", f"https://{HOST}:{ports.argocd}/healthz"

    def _pid(self) -> int | None:
        """The emulator's process: whoever holds the lock on the data folder."""
        return lock_owner(self._data / "lock")

    def _ended(self, pid: int, deadline: float) -> bool | Pending:
        if self._pid() is None and gone(pid):
            return True
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return Pending(f"pid {pid} is still there")


def _since(log: Path, start: int) -> str:
    """What was added to a log after its first ``start`` bytes."""
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def _answer(what: str, url: str) -> str | None:
    """None when ``url`` answers as its service does when healthy, otherwise what was seen.

    401 is the registry's healthy answer, and nobody else's (contracts D.1).
    """
    trust = ssl._create_unverified_context()  # noqa: S323, SLF001 - loopback liveness, nothing is sent
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    try:
        with opener.open(url, timeout=5):
            return None
    except urllib.error.HTTPError as error:
        return None if what == "registry" and error.code == 401 else f"{url} answered {error.code}"
    except OSError as error:
        return f"{url}: {error}"
