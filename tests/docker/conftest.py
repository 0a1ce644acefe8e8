"""Tests on a real Docker engine: the engine, the hub that serves stand-in images, and the rule that a skip cannot hide.

Without an engine these tests skip and say why. With LAB_REQUIRE_DOCKER=1, every skip in this folder is a failure.
"""

from __future__ import annotations

import gc
import os
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
from standins.images import CannotBuildError

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
    try:
        return hubs.ensure(engine)
    except (hubs.HubError, CannotBuildError) as error:
        pytest.skip(f"no stand-in images on this engine: {error}")


@pytest.fixture
def world(engine: docker.DockerClient) -> Iterator[World]:
    """A network for single containers of stand-in images."""
    made = World(engine)
    yield made
    made.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, engine: docker.DockerClient, hub: Hub) -> Iterator[DockerLab]:
    """A lab that is up, for all tests that leave it healthy; nothing of it may be left at its end."""
    try:
        with on_docker(tmp_path_factory.mktemp("lab"), hub) as lab:
            lab.invoke("up", timeout=600)
            yield lab
    except Missing as missing:
        pytest.skip(str(missing))
    assert [name for kind in inventory(engine).values() for name in kind if lab.name in name] == []
