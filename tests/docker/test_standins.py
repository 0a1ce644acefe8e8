"""The small stand-ins themselves: what would let a test pass although the lab is wrong must not work in them either."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from hub import Hub
from standin_world import World, logged
from standins import images

from lab.engines.docker.pins import PINS, Pin
from lab.engines.docker.references import parse

SAMPLE = Path(__file__).resolve().parent.parent.parent / "gitlab/project"
PYTHON = "docker.io/library/python:3.13.15-alpine3.24"


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


def test_engine_in_a_container_builds_the_sample_and_pushes_it(world: World, hub: Hub) -> None:
    dind(world, "--tls=false", f"--insecure-registry={hub.address}", DOCKER_TLS_CERTDIR="")
    image, base = f"{hub.address}/{world.name}/hichat:1", hub.reference(PYTHON)
    code, output = client(
        world,
        f"docker pull -q {base}; docker tag {base} {PYTHON}; docker build --build-arg COMMIT_SHA=abc -t {image} .;"
        f"docker push {image}; docker rmi {image}; docker run --rm {image} python -c 'import os, hichat.web;"
        """print("sample of", os.environ["COMMIT_SHA"], "as", os.getuid())'""",
        DOCKER_TLS_CERTDIR="",
    )
    assert code == 0, output
    assert "sample of abc as 10001" in output


def test_engine_in_a_container_pushes_nowhere_without_being_told_that_it_is_plain_http(world: World, hub: Hub) -> None:
    dind(world, "--tls=false", DOCKER_TLS_CERTDIR="")
    code, output = client(world, f"docker pull {hub.reference(PYTHON)}", DOCKER_TLS_CERTDIR="")
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


@pytest.mark.parametrize("pin", [pin for pin in PINS if pin.chooser != "k3s"], ids=lambda pin: pin.name)
def test_every_image_that_the_lab_chooses_has_a_stand_in(pin: Pin) -> None:
    """A version that changes in the table changes in the stand-in's Dockerfile too."""
    reference = parse(pin.image.replace("{machine}", "x86_64"))
    assert images.standing_in_for(f"{reference.repository_name}:{reference.tag}")


@pytest.mark.usefixtures("hub")
def test_stand_ins_say_that_they_are(engine: docker.DockerClient) -> None:
    for stand_in in images.every():
        assert engine.images.get(stand_in.tag).labels["gitops-lab.standin"] == "true"
        assert stand_in.upstream or stand_in.name == images.BASE
