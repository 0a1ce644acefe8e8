"""Fixtures shared by all tests: a private lab target, free ports, and a folder that is never the user's."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_ports

from lab.emulator.config import Config
from lab.waiting import Pending, wait_until

ROOT = Path(__file__).resolve().parent.parent
_TARGET = ("gitlab", "registry", "kubeconfig", "argocd", "app", "token", "password", "callback", "image")


@dataclass(frozen=True)
class Target:
    """A lab's systems that tests talk to as any client would; empty is what it does not have."""

    name: str
    gitlab: str
    registry: str
    kubeconfig: Path | None
    argocd: str
    app: str
    root_token: str
    root_password: str
    callback: str = "127.0.0.1"
    """This machine's address for the target's systems."""
    image: str = ""
    """An image with Python that the target's cluster can pull; empty on the emulator, where tests build one."""
    data: Path | None = None
    """The emulator's data folder; None for real systems."""
    pid: int | None = None

    @property
    def embedded(self) -> bool:
        return self.name == "embedded"

    def attach_runner(self, token: str) -> None:
        """Have the target's runner ask for jobs with ``token``."""
        assert self.data, "only the embedded target has a runner to attach"
        assert self.pid
        folder = self.data / "runner"
        folder.mkdir(exist_ok=True)
        (folder / "config.toml").write_text(
            f'concurrent = 4\n[[runners]]\nname = "test"\nurl = "{self.gitlab}"\n'
            f'token = "{token}"\nexecutor = "shell"\n'
        )
        os.kill(self.pid, signal.SIGHUP)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One emulator process of the test session's own (one per worker)."""
    data = tmp_path_factory.mktemp("emulator") / "data"
    gitlab, registry, kubernetes, argocd, app = free_ports(5)
    config = Config(
        data=data,
        gitlab_url=f"http://127.0.0.1:{gitlab}",
        registry=f"127.0.0.1:{registry}",
        gitlab_port=gitlab,
        registry_port=registry,
        kubernetes_port=kubernetes,
        argocd_port=argocd,
        app_port=app,
        argocd_url=f"https://127.0.0.1:{argocd}",
        root_password="Test-" + secrets.token_urlsafe(12),
        root_token="glpat-" + secrets.token_urlsafe(15),
    )
    config.write(data.parent / "config.json")
    log = data.parent / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.emulator", str(data.parent / "config.json")],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:

        def started() -> bool | Pending:
            assert process.poll() is None, log.read_text()
            return True if (data / "ready").exists() else Pending(log.read_text())

        wait_until("the emulator", started, timeout=30)
        yield Target(
            name="embedded",
            gitlab=config.gitlab_url,
            registry=config.registry,
            kubeconfig=data / "kubeconfig",
            argocd=config.argocd_url,
            app=f"http://127.0.0.1:{app}",
            root_token=config.root_token,
            root_password=config.root_password,
            data=data,
            pid=process.pid,
        )
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _real() -> Target | None:
    """Real systems, when variables LAB_TARGET_GITLAB, LAB_TARGET_REGISTRY and so on name one or more of them."""
    given = {name: os.environ.get(f"LAB_TARGET_{name.upper()}", "") for name in _TARGET}
    if not any(given.values()):
        return None
    return Target(
        name="real",
        gitlab=given["gitlab"],
        registry=given["registry"],
        kubeconfig=Path(given["kubeconfig"]) if given["kubeconfig"] else None,
        argocd=given["argocd"],
        app=given["app"],
        root_token=given["token"],
        root_password=given["password"],
        callback=given["callback"] or "127.0.0.1",
        image=given["image"] or "python:3.12-alpine",
    )


@pytest.fixture(scope="session", params=["real" if _real() else "embedded"])
def target(request: pytest.FixtureRequest) -> Target:
    """The systems that the contract suite is held against: the emulator, or real ones where variables name them."""
    if request.param == "real":
        real = _real()
        assert real
        return real
    return request.getfixturevalue("embedded")
