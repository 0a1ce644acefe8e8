"""A lab on the real Docker engine, driven through `invoke` as a person does, with what it may not leave behind."""

from __future__ import annotations

import functools
import http.server
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import yaml
from driver import Driver
from hub import Hub

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitops-lab-ci"
"""Where .ci/engine puts k3d and Argo CD's manifests."""
ARGOCD = "v3.5.1"
ENGINE = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


class Missing(Exception):
    """What the tests need and this machine does not have; the text says how to get it."""


class DockerLab(Driver):
    """A driver whose lab runs on Docker, under a name of its own."""

    def __init__(self, home: Path, hub: Hub, downloads: str) -> None:
        super().__init__(home)
        self.name = f"t{secrets.token_hex(3)}"
        self.environ = {
            "DOCKER_HOST": ENGINE,
            "LAB_ENGINE": "docker",
            "LAB_NAME": self.name,
            "LAB_SIZE": "small",
            "PATH": f"{CACHE / 'bin'}:{os.environ['PATH']}",
        }
        self.settings = {"mirrors": hub.mirrors, "downloads": {"base": downloads}}
        (home / "lab.yaml").write_text(yaml.safe_dump(self.settings))

    def up(self) -> int:
        """Run `up`; returns the number of actions."""
        return self.documents("up", timeout=400)[-1]["actions"]

    def log(self) -> str:
        """The ends of the containers' logs."""
        client = docker.from_env()
        try:
            found = client.containers.list(all=True, filters={"label": f"gitops-lab={self.name}"})
            return "\n".join(f"== {each.name} {each.status}\n{each.logs(tail=15).decode()}" for each in found)
        finally:
            client.close()

    def container(self, client: docker.DockerClient, part: str) -> Any:
        """``gitlab``, ``runner`` or ``cache``; or ``server-0`` and ``serverlb``, which are the cluster's."""
        name = f"{self.name}-{part}" if part in ("gitlab", "runner", "cache") else f"k3d-{self.name}-{part}"
        return client.containers.get(name)

    def check(self, check: str) -> dict[str, Any]:
        """One check of `verify`, whatever it says."""
        return next(one for one in self.checks(check) if one["id"] == check)

    def checks(self, *only: str) -> list[dict[str, Any]]:
        """Checks of `verify`, whatever they say."""
        words = [word for name in only for word in ("--only", name)]
        return [one for one in self.documents("verify", *words, code=(0, 1)) if one["type"] == "check"]

    @property
    def kubeconfig(self) -> Path:
        return self.home / ".lab/kubeconfig"


def inventory(client: docker.DockerClient) -> dict[str, set[str]]:
    """Everything on the engine that could be left behind."""
    return {
        "containers": {each.name for each in client.containers.list(all=True, ignore_removed=True)},
        "networks": {each.name for each in client.networks.list()},
        "volumes": {each.name for each in client.volumes.list()},
        "images": {tag for image in client.images.list() for tag in image.tags},
    }


@contextmanager
def downloads() -> Iterator[str]:
    """A server with the files that a lab downloads; only k3d is taken from the PATH, being built from source here."""
    manifest = CACHE / f"argocd/{ARGOCD}/install.yaml"
    if not manifest.exists() or not (CACHE / "bin/k3d").exists():
        raise Missing(f"no k3d or no manifest of Argo CD in {CACHE}; run .ci/engine")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            wanted = {f"/argo-cd/{ARGOCD}/install.yaml": manifest}
            return str(wanted.get(path, CACHE / "no-such-file"))

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def on_docker(home: Path, hub: Hub) -> Iterator[DockerLab]:
    """A lab that is gone afterwards, whatever happened."""
    with downloads() as base:
        lab = DockerLab(home, hub, base)
        try:
            yield lab
        finally:
            (home / "lab.yaml").write_text(yaml.safe_dump(lab.settings))  # a test may have changed it
            lab.environ["DOCKER_HOST"] = ENGINE
            if (home / ".lab/engine.json").exists():
                lab.invoke("down", "--purge", "--yes", timeout=240)
