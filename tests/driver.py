"""Drives the product as a person does: through `invoke`, in a folder and on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ports import free_ports

ROOT = Path(__file__).resolve().parent.parent
NO_DOCKER = "unix:///nonexistent/docker.sock"
"""Where no engine answers, so that a lab is embedded on a machine with Docker too, unless a test says otherwise."""
PORTS = ("gitlab", "registry", "kubernetes", "argocd", "app")


@dataclass
class Driver:
    """One lab below ``home``."""

    home: Path
    ports: dict[str, int] = field(default_factory=lambda: dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LAB_")}
        ports = {f"LAB_PORTS_{name.upper()}": str(port) for name, port in self.ports.items()}
        home = {"LAB_HOME": str(self.home), "DOCKER_HOST": NO_DOCKER, "PYTHONUNBUFFERED": "1"}
        return {**inherited, **home, **ports, **self.environ}

    def start(self, *args: str | Path) -> subprocess.Popen[str]:
        """Start `invoke ARGS` in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "invoke", *map(str, args)],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def invoke(self, *args: str | Path, code: int | tuple[int, ...] = 0, timeout: float = 90) -> str:
        """Run `invoke ARGS`, check its exit code, return what it printed."""
        process = self.start(*args)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"invoke {args} hangs:\n{output}") from None
        codes = code if isinstance(code, tuple) else (code,)
        assert process.returncode in codes, f"invoke {args} ended with {process.returncode}:\n{output}\n{self.log()}"
        return output

    def documents(
        self, *args: str | Path, code: int | tuple[int, ...] = 0, timeout: float = 90
    ) -> list[dict[str, Any]]:
        """The JSON documents that `invoke ARGS --json` prints."""
        return [json.loads(line) for line in self.invoke(*args, "--json", code=code, timeout=timeout).splitlines()]

    def up(self) -> int:
        """Run `up`; returns the number of actions."""
        return self.documents("up")[-1]["actions"]

    def git(self, folder: Path, *args: str) -> str:
        done = subprocess.run(
            ["git", "-C", folder, "-c", "user.name=Learner", "-c", "user.email=learner@example.com", *args],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def kubectl(self, *args: str) -> str:
        kubeconfig = self.home / ".lab/embedded/kubeconfig"
        done = subprocess.run(
            ["kubectl", "--kubeconfig", kubeconfig, *args], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def emulator(self) -> int | None:
        """The emulator's pid as its lock file names it."""
        try:
            return int((self.home / ".lab/embedded/lock").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def log(self) -> str:
        """The end of the emulator's log."""
        try:
            return "\n".join((self.home / ".lab/emulator.log").read_text().splitlines()[-40:])
        except FileNotFoundError:
            return ""


@contextmanager
def driven(home: Path) -> Iterator[Driver]:
    """A driver whose lab is gone afterwards, whatever happened."""
    driver = Driver(home)
    try:
        yield driver
    finally:
        (home / "lab.yaml").unlink(missing_ok=True)  # a test may have broken it
        driver.environ = {}
        with driver.start("down") as process:
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output + driver.log()
