"""The stand-ins themselves: what would let a test pass although the lab is wrong must not work in them either."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from hub import Hub
from standins import images

from lab.waiting import Pending, wait_until

SAMPLE = Path(__file__).resolve().parent.parent.parent / "gitlab/project"
PYTHON = "docker.io/library/python:3.13.15-alpine3.24"


class World:
    """A network and the containers on it, gone after the test."""

    def __init__(self, client: docker.DockerClient, hub: Hub) -> None:
        self.client, self.hub = client, hub
        self.name = f"standin-{secrets.token_hex(4)}"
        self.network = client.networks.create(self.name)
        self._containers: list[Container] = []

    def run(self, image: str, *command: str, alias: str = "", **options: object) -> Container:
        """Start a container of an upstream image on the network."""
        container = self.client.containers.create(
            images.standing_in_for(image).tag,
            list(command) or None,
            labels={"gitops-lab.test": self.name},
            **options,
        )
        self._containers.append(container)
        self.network.connect(container, aliases=[alias] if alias else None)
        container.start()
        return container

    def close(self) -> None:
        for container in self._containers:
            container.remove(force=True, v=True)
        self.network.remove()


@pytest.fixture
def world(engine: docker.DockerClient, hub: Hub) -> Iterator[World]:
    world = World(engine, hub)
    yield world
    world.close()


def logged(container: Container, text: str, timeout: float = 60) -> str:
    """Wait until the container's log holds ``text``; answers the log."""

    def look() -> str | Pending:
        log: str = container.logs().decode()
        return log if text in log else Pending(log[-500:])

    return wait_until(f"{text!r} in the log of {container.name}", look, timeout=timeout)


def dind(world: World, *arguments: str, **environment: str) -> Container:
    container = world.run(
        "docker.io/library/docker:29.7.2-dind", *arguments, alias="docker", privileged=True, environment=environment
    )
    logged(container, "API listen on /var/run/docker.sock")
    return container


def client(world: World, script: str, **environment: str) -> tuple[int, str]:
    """Run a shell script in a client container that knows the daemon as "docker"; answers exit code and output."""
    container = world.run(
        "docker.io/library/docker:29.7.2-cli",
        "sleep",
        "300",
        environment=environment,
        entrypoint="docker-entrypoint.sh",
    )
    with io.BytesIO() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(SAMPLE, "sample")
        container.put_archive("/", archive.getvalue())
    code, output = container.exec_run(["docker-entrypoint.sh", "sh", "-ec", script], workdir="/sample")
    return code, output.decode()


def test_engine_in_a_container_builds_the_sample_and_pushes_it(world: World) -> None:
    dind(world, "--tls=false", f"--insecure-registry={world.hub.address}", DOCKER_TLS_CERTDIR="")
    image, base = f"{world.hub.address}/{world.name}/hichat:1", world.hub.reference(PYTHON)
    code, output = client(
        world,
        f"docker pull -q {base}; docker tag {base} {PYTHON}; docker build --build-arg COMMIT_SHA=abc -t {image} .;"
        f"docker push {image}; docker rmi {image}; docker run --rm {image} python -c 'import os, hichat.web;"
        """print("sample of", os.environ["COMMIT_SHA"], "as", os.getuid())'""",
        DOCKER_TLS_CERTDIR="",
    )
    assert code == 0, output
    assert "sample of abc as 10001" in output


def test_engine_in_a_container_pushes_nowhere_without_being_told_that_it_is_plain_http(world: World) -> None:
    dind(world, "--tls=false", DOCKER_TLS_CERTDIR="")
    code, output = client(world, f"docker pull {world.hub.reference(PYTHON)}", DOCKER_TLS_CERTDIR="")
    assert code != 0
    assert "server gave HTTP response to HTTPS client" in output


def test_engine_in_a_container_speaks_tls_only_unless_told_otherwise(world: World) -> None:
    dind(world)
    code, output = client(world, "docker version", DOCKER_HOST="tcp://docker:2375")
    assert code != 0
    assert "Cannot connect to the Docker daemon at tcp://docker:2375" in output


def test_engine_in_a_container_needs_privileges(world: World) -> None:
    container = world.run("docker.io/library/docker:29.7.2-dind", "--tls=false", environment={"DOCKER_TLS_CERTDIR": ""})
    assert container.wait(timeout=60)["StatusCode"] != 0


def test_redis_keeps_what_it_is_told(world: World) -> None:
    redis = world.run("docker.io/library/redis:8.2.3-alpine", "--save", "", user="999:1000", read_only=True)
    logged(redis, "Ready to accept connections")
    assert redis.exec_run(["redis-cli", "set", "key", "value"]).output == b"OK\n"
    assert redis.exec_run(["redis-cli", "get", "key"]).output == b"value\n"


def test_mysql_begins_only_with_a_root_password(world: World) -> None:
    bare = world.run("docker.io/library/mysql:8.4.6")
    assert bare.wait(timeout=30)["StatusCode"] == 1
    assert b"password option is not specified" in bare.logs()
    mysql = world.run("docker.io/library/mysql:8.4.6", "--skip-name-resolve", environment={"MYSQL_ROOT_PASSWORD": "x"})
    logged(mysql, "ready for connections")
    greeting = "import socket; print(socket.create_connection(('127.0.0.1', 3306), 5).recv(99)[5:10])"
    assert b"8.4.6" in mysql.exec_run(["python3", "-c", greeting]).output
