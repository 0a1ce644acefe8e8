"""A lab without a network: all is pulled ahead, then the mirrors lead nowhere, and the loop turns all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import yaml
from docker_lab import DockerLab, Missing, inventory, on_docker
from hub import Hub

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]
NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there, neither for this machine nor inside a container."""


@pytest.fixture
def offline(tmp_path: Path, engine: docker.DockerClient, hub: Hub) -> Iterator[DockerLab]:
    """A lab that has pulled everything from the hub, and whose mirrors lead nowhere since."""
    try:
        with on_docker(tmp_path, hub) as lab:
            lab.invoke("pull", timeout=600)
            assert not (tmp_path / ".lab/engine.json").exists(), "pull decides nothing"
            settings = {
                "mirrors": dict.fromkeys(hub.mirrors, NOWHERE),
                "downloads": {"base": NOWHERE},
                "timeouts": {"pull": 20},
            }
            (tmp_path / "lab.yaml").write_text(yaml.safe_dump(settings))
            yield lab
            (tmp_path / "lab.yaml").write_text(yaml.safe_dump(settings))
            lab.invoke("down", "--purge", "--images", "--yes", timeout=240)
            assert not {thing for things in inventory(engine).values() for thing in things if lab.name in thing}
    except Missing as missing:
        pytest.skip(str(missing))


def test_the_loop_turns_without_a_network(offline: DockerLab, engine: docker.DockerClient) -> None:
    steps = {one["step"]: one for one in offline.documents("up", timeout=600) if one.get("event") == "ended"}
    assert {step["state"] for name, step in steps.items() if name.startswith("pull.")} == {"satisfied"}
    hops = [one["id"] for one in offline.documents("smoke", timeout=300) if one["type"] == "hop"]
    assert hops == ["T0", "T1", "T2", "T3", "T4", "T5"]
    assert offline.up() == 0
    asked = offline.container(engine, "cache").logs().decode()
    for image in ("library/python", "argoproj/argocd", "library/mysql", "docker/library/redis"):
        assert f"/v2/{image}/manifests/" in asked, f"{image} did not come from the cache"
