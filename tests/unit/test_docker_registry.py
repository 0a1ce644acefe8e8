"""``docker login``, ``push`` and ``pull`` against GitLab's registry."""

from __future__ import annotations

import json
import stat

import pytest
from registry_world import MANIFEST, ROOT_TOKEN, Docker, populate, serving

WARNING = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("registry")) as world:
        populate(world)
        yield world


@pytest.fixture
def docker(tmp_path, world):
    docker = Docker(tmp_path)
    docker.ok("login", "-u", "root", "--password-stdin", world.host, stdin=ROOT_TOKEN + "\n")
    return docker


def test_login_does_the_handshake_and_keeps_what_works(tmp_path, world):
    docker = Docker(tmp_path)
    refused = docker("login", "-u", "root", "--password-stdin", world.host, stdin="wrong")
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        f'Error response from daemon: Get "http://{world.host}/v2/": unauthorized: HTTP Basic: Access denied.'
    )
    kept = tmp_path / "home" / ".docker" / "config.json"
    assert not kept.exists()
    done = docker("login", "--username", "root", "--password", ROOT_TOKEN, f"http://{world.host}/v2/")
    assert (done.returncode, done.stdout, done.stderr.startswith(WARNING)) == (0, "Login Succeeded\n", True)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(json.loads(kept.read_text())["auths"]) == [world.host]
    assert docker.ok("login", world.host).startswith("Login Succeeded"), "with what is kept"
    assert docker.ok("logout", world.host) == f"Removing login credentials for {world.host}\n"
    assert docker.ok("logout", world.host) == f"Not logged in to {world.host}\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-u", "x", "-p", "y", "--password-stdin"], "cannot specify both --password and --password-stdin"),
        (["--password-stdin"], "the --password-stdin option requires --username to be set"),
        (["-u", "x", "--password-stdin"], "Cannot perform an interactive login from a non TTY device"),
        ([], "Cannot perform an interactive login from a non TTY device"),
        (
            ["-u", "x", "-p", "y", "127.0.0.1:1"],
            'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
        ),
    ],
)
def test_login_that_cannot_be_done(tmp_path, arguments, problem):
    server = [] if "127.0.0.1:1" in arguments else ["127.0.0.1:1"]
    assert problem in Docker(tmp_path).fails("login", *arguments, *server)


def test_a_second_push_sends_no_layer(docker, world):
    context = docker.context("FROM python:3\nCOPY a /a\n", a="1")
    name = f"{world.host}/root/app/pushed"
    docker.ok("build", "-t", f"{name}:one", "-t", f"{name}:two", context)
    first = docker.ok("push", f"{name}:one")
    assert first.startswith(f"The push refers to repository [{name}]\n")
    assert first.count(": Pushed") == 2
    second = docker.ok("push", f"{name}:two")
    assert (second.count(": Layer already exists"), second.count(": Pushed")) == (2, 0)
    digest = world.registry("GET", "/root/app/pushed/manifests/two").headers["Docker-Content-Digest"]
    size = world.registry("HEAD", "/root/app/pushed/manifests/two").headers["Content-Length"]
    assert second.splitlines()[-1] == f"two: digest: {digest} size: {size}"
    assert digest in docker.inspect(f"{name}:two")["RepoDigests"][0]


def test_all_tags_are_pushed_at_once(docker, world):
    name = f"{world.host}/root/app/all"
    docker.ok(
        "build",
        "-t",
        f"{name}:a",
        "-t",
        f"{name}:b",
        "-t",
        f"{world.host}/root/open:c",
        docker.context("FROM scratch\n"),
    )
    docker.ok("push", "-a", name)
    assert world.registry("GET", "/root/app/all/tags/list").json["tags"] == ["a", "b"]


def test_a_large_layer_goes_up_in_pieces_and_comes_back(docker, world, tmp_path):
    context = docker.context("FROM scratch\nCOPY big /big\n")
    import random

    content = random.Random(1).randbytes(9 << 20)
    (tmp_path / "context" / "big").write_bytes(content)
    name = f"{world.host}/root/app/big:1"
    docker.ok("build", "-t", name, context)
    docker.ok("push", name)
    other = Docker(tmp_path / "other")
    other.ok("login", "-u", "root", "-p", ROOT_TOKEN, world.host)
    output = other.ok("pull", name)
    assert "Pull complete" in output
    assert other.inspect(name) == docker.inspect(name)
    assert "Already exists" in other.ok("pull", name)


def test_what_is_not_allowed_is_denied(docker, world, tmp_path):
    name = f"{world.host}/root/nowhere:1"
    docker.ok("build", "-t", name, docker.context("FROM scratch\n"))
    assert docker.fails("push", name) == "denied: requested access to the resource is denied\n"
    stranger = Docker(tmp_path / "stranger")
    assert "denied: access forbidden" in stranger.fails("pull", f"{world.host}/root/app:1")
    unknown = docker.fails("pull", f"{world.host}/root/app:none")
    assert f"manifest for {world.host}/root/app:none not found: manifest unknown: manifest unknown" in unknown


def test_a_name_that_does_not_exist_cannot_be_pushed(docker, world):
    problem = docker.fails("push", f"{world.host}/root/app:never")
    assert problem == f"An image does not exist locally with the tag: {world.host}/root/app\n"


def test_a_base_in_the_labs_registry_is_pulled(docker, world, tmp_path):
    base = f"{world.host}/root/app/base:1"
    docker.ok("build", "-t", base, docker.context("FROM scratch\nCOPY a /from-base\nENV BASE=yes\n", a="1"))
    docker.ok("push", base)
    other = Docker(tmp_path / "other")
    other.ok("login", "-u", "root", "-p", ROOT_TOKEN, world.host)
    context = other.context(f"FROM {base}\nCOPY --from={base} /from-base /copied\n")
    output = other.ok("build", "-t", "x", context)
    assert "becomes an empty layer" not in output
    found = other.inspect("x")
    assert "BASE=yes" in found["Config"]["Env"]
    assert len(found["RootFS"]["Layers"]) == 2
    missing = other.context(f"FROM {base}0\n")
    problem = other.fails("build", missing)
    assert f"failed to resolve source metadata for {base}0: {base}0: not found" in problem


def test_a_docker_base_becomes_part_of_an_oci_image(docker, world):
    name = f"{world.host}/root/app/v2s2"
    docker.ok("build", "-t", f"{name}:oci", docker.context("FROM scratch\nCOPY a /a\n", a="1"))
    docker.ok("push", f"{name}:oci")
    document = world.registry("GET", "/root/app/v2s2/manifests/oci").json
    document["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    document["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    document["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    put = world.registry(
        "PUT", "/root/app/v2s2/manifests/docker", json.dumps(document).encode(), Content_Type=document["mediaType"]
    )
    assert put.status == 201
    docker.ok("build", "-t", f"{name}:top", docker.context(f"FROM {name}:docker\nENV A=1\n"))
    docker.ok("push", f"{name}:top")
    top = world.registry("GET", "/root/app/v2s2/manifests/top").json
    assert top["mediaType"] == MANIFEST
    assert [layer["mediaType"] for layer in top["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
