"""What goes wrong around a lab on Docker: each time a clear message and exit code, and afterwards `up` converges."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import yaml
from cut_socket import CutSocket
from docker_lab import DockerLab, Missing, on_docker
from hub import Hub

from lab.waiting import Pending, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture
def lab(tmp_path: Path, hub: Hub) -> Iterator[DockerLab]:
    """A lab that was not built yet."""
    try:
        with on_docker(tmp_path, hub) as lab:
            yield lab
    except Missing as missing:
        pytest.skip(str(missing))


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """A server on this machine that gives everybody the same answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def configure(lab: DockerLab, **settings: object) -> None:
    (lab.home / "lab.yaml").write_text(yaml.safe_dump({**lab.settings, **settings}))


def test_a_taken_port_is_named_with_its_owner_before_anything_is_made(
    lab: DockerLab, engine: docker.DockerClient
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", lab.ports["argocd"]))
        server.listen()
        output = lab.invoke("up", code=3)
    assert f"{lab.ports['argocd']}" in output
    assert f"process {os.getpid()}" in output
    assert engine.containers.list(all=True, filters={"label": f"gitops-lab={lab.name}"}) == []


def test_a_wrong_checksum_is_refused_with_both(lab: DockerLab) -> None:
    with answering(200, "kind: Surprise") as base:
        configure(lab, downloads={"base": base})
        output = lab.invoke("up", code=1, timeout=400)
    assert "install.yaml" in output
    assert "795a3a972224da6a7f9d32c3e946445f062b60fb46028476715affeb688236e3" in output


@pytest.mark.parametrize(("status", "word"), [(429, "rate limit"), (401, "unauthorized"), (503, "503")])
def test_a_pull_that_is_refused_names_image_and_reason(lab: DockerLab, status: int, word: str) -> None:
    """Every image is there already but one, and the registry of that one refuses."""
    with answering(status, "toomanyrequests: You have reached your pull rate limit" if status == 429 else "no") as base:
        configure(lab, images={"cache": "quay.io/nobody/cache:1"}, mirrors={**lab.settings["mirrors"], "quay.io": base})
        output = lab.invoke("up", code=1, timeout=400)
    assert "nobody/cache:1" in output
    assert word in output


def test_an_engine_that_goes_in_the_middle_is_named_and_up_continues_later(
    lab: DockerLab, engine: docker.DockerClient, tmp_path: Path
) -> None:
    between = CutSocket(tmp_path / "docker.sock")
    between.mend()
    lab.environ["DOCKER_HOST"] = between.address

    def made() -> bool | Pending:
        found = engine.containers.list(all=True, filters={"name": f"^{lab.name}-gitlab$"})
        return True if found else Pending("no GitLab yet")

    with lab.start("up") as up:
        wait_until("GitLab's container", made, timeout=300)
        between.cut()
        output, _ = up.communicate(timeout=120)
    assert up.returncode == 3, output
    assert "does not answer" in output
    assert "Traceback" not in output
    between.mend()
    assert lab.up() > 0
    assert lab.up() == 0
    between.cut()


def test_what_is_not_ours_is_never_adopted(lab: DockerLab, engine: docker.DockerClient) -> None:
    network = engine.networks.create(lab.name)
    try:
        output = lab.invoke("up", code=2, timeout=400)
        assert f"network {lab.name}" in output
        assert "not this lab's" in output
    finally:
        network.reload()
        network.remove()


def test_a_remote_engine_is_refused_with_the_reason(lab: DockerLab) -> None:
    lab.environ["DOCKER_HOST"] = "tcp://192.0.2.1:2375"
    output = lab.invoke("up", "--engine", "docker", code=3)
    assert "tcp://192.0.2.1:2375" in output
