"""Tests on a real Docker engine: the engine, the hub that serves stand-in images, and the rule that a skip cannot hide.

Without an engine these tests skip and say why. With LAB_REQUIRE_DOCKER=1, every skip in this folder is a failure.
"""

from __future__ import annotations

import gc
import os
import secrets
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path

import docker
import hub as hubs
import pytest
from docker.errors import DockerException
from docker_lab import DockerLab, Missing, inventory, on_docker
from hub import Hub
from standin_world import World

REQUIRED = os.environ.get("LAB_REQUIRE_DOCKER") == "1"
LONGEST = 600
"""Seconds for one test, unless it says otherwise: the first one may have to build every image."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("docker")
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and REQUIRED and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and LAB_REQUIRE_DOCKER=1 does not allow it: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def engine() -> Iterator[docker.DockerClient]:
    """The machine's Docker engine."""
    client, reason = _client()
    if client is None:
        pytest.skip(f"no Docker engine answers: {reason}")
    yield client
    client.close()


def _client() -> tuple[docker.DockerClient | None, str]:
    try:
        return docker.from_env(timeout=600), ""
    except DockerException as error:
        reason = str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the client forgets to close the socket that failed
        gc.collect()
    return None, reason


@pytest.fixture(scope="session")
def hub(engine: docker.DockerClient) -> Hub:
    """A registry with every stand-in; `Hub.mirrors` is the setting for a lab that pulls from it."""
    return hubs.ensure(engine)


@pytest.fixture
def world(engine: docker.DockerClient) -> Iterator[World]:
    """A network for single containers of stand-in images."""
    made = World(engine)
    yield made
    made.close()


@pytest.fixture(scope="session")
def foreign(engine: docker.DockerClient) -> Iterator[dict[str, str]]:
    """A container, a network and a volume of somebody else, which must outlive every lab."""
    name = f"foreign-{secrets.token_hex(3)}"
    network = engine.networks.create(name)
    volume = engine.volumes.create(name)
    image = engine.images.list(filters={"label": "gitops-lab.standin=true"})[0].id
    container = engine.containers.create(image, ["sleep", "1d"], name=name, volumes=[f"{name}:/kept"])
    network.connect(container)
    yield {"container": container.id, "network": network.id, "volume": volume.name}
    container.reload()
    network.reload()
    volume.reload()
    container.remove(force=True)
    network.remove()
    volume.remove()


@pytest.fixture(scope="session")
def lab(
    tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient, hub: Hub, foreign: dict[str, str]
) -> Iterator[DockerLab]:
    """A lab that is up, for all tests that leave it healthy; its end must leave nothing behind."""
    before = inventory(engine)
    home = tmp_path_factory.mktemp("lab")
    try:
        with on_docker(home, hub) as lab:
            lab.invoke("up", timeout=600)
            yield lab
            lab.invoke("down", "--purge", "--images", "--yes", timeout=240)
    except Missing as missing:
        pytest.skip(str(missing))
    assert inventory(engine) == before
    assert {path.name for path in home.iterdir()} <= {"lab.yaml", *(path.name for path in home.glob("*.bundle"))}
    assert foreign["volume"] in inventory(engine)["volumes"]
