"""What a person does when something is wrong with a lab on Docker: heal, timings, support."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import docker
import pytest
from docker_lab import DockerLab

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


def healed(lab: DockerLab) -> dict[str, str]:
    """What `heal` mended, with what was seen before."""
    documents = lab.documents("heal", timeout=600)
    assert documents[-1]["type"] == "heal"
    assert documents[-1]["failed"] == []
    return {one["step"]: one["before"] for one in documents if one["type"] == "healed" and one["mended"]}


def test_the_chart_tells_every_component(lab: DockerLab) -> None:
    first = lab.documents("timings", "--last", "1000")[0]
    assert (first["task"], first["engine"], first["outcome"]) == ("up", "docker", "done")
    assert len(first["critical"]) >= 3
    assert all(step["end"] >= step["start"] for step in first["steps"])


def test_a_stopped_node_and_a_stopped_runner_are_told_and_started(lab: DockerLab, engine: docker.DockerClient) -> None:
    for part in ("server-0", "runner"):
        lab.container(engine, part).stop(timeout=5)
    assert healed(lab)
    assert [check for check in lab.checks() if check["ok"] is not True] == []
    assert "Nothing is broken" in lab.invoke("heal", timeout=240)


def test_the_archive_holds_docker_s_view_and_no_secret(lab: DockerLab, tmp_path: Path) -> None:
    file = tmp_path / "support.tar.gz"
    document = lab.documents("support", file, timeout=240)[-1]
    assert not [name for name in document["files"] if name.endswith("ERROR.txt")]
    with tarfile.open(file) as archive:
        texts = {entry.name.partition("/")[2]: archive.extractfile(entry).read().decode() for entry in archive}  # type: ignore[union-attr]
    for part in (f"{lab.name}-gitlab", f"{lab.name}-runner", f"k3d-{lab.name}-server-0"):
        assert json.loads(texts[f"docker/container-{part}.json"])["Name"] == f"/{part}"
        assert f"docker/{part}.log" in texts
    whole = "".join(texts.values())
    secrets = {path.name: path.read_text().strip() for path in (lab.home / ".lab/secrets").iterdir()}
    assert [name for name, value in secrets.items() if value in whole] == []


def test_an_archive_while_gitlab_is_down(lab: DockerLab, engine: docker.DockerClient, tmp_path: Path) -> None:
    gitlab = lab.container(engine, "gitlab")
    gitlab.stop(timeout=5)
    try:
        document = lab.documents("support", tmp_path / "support.tar.gz", timeout=240)[-1]
    finally:
        lab.up()
    assert "gitlab/ERROR.txt" in document["files"]
    assert f"docker/{lab.name}-gitlab.log" in document["files"]
