"""A lab leaves an engine as it found it. Alone on the engine: whatever else comes and goes meanwhile would show."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker_lab import Missing, inventory, on_docker
from hub import Hub

pytestmark = [pytest.mark.docker, pytest.mark.alone, pytest.mark.timeout(900)]


@pytest.fixture
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


def test_a_whole_life_leaves_nothing_behind_and_touches_nothing_foreign(
    tmp_path: Path, engine: docker.DockerClient, hub: Hub, foreign: dict[str, str]
) -> None:
    before = inventory(engine)
    try:
        with on_docker(tmp_path, hub) as lab:
            lab.invoke("up", timeout=600)
            assert inventory(engine) != before
            lab.invoke("smoke", timeout=300)
            lab.invoke("down", "--purge", "--images", "--yes", timeout=300)
            assert inventory(engine) == before
            assert {path.name for path in tmp_path.iterdir() if path.suffix != ".bundle"} == {"lab.yaml"}
    except Missing as missing:
        pytest.skip(str(missing))
    assert engine.containers.get(foreign["container"]).status == "created"
    assert engine.networks.get(foreign["network"])
    assert engine.volumes.get(foreign["volume"])
