"""The sample's Dockerfile, built by the embedded engine's docker command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "gitlab" / "project"
SHA = "a1b2c3d4" * 5


@pytest.fixture
def docker(tmp_path: Path):
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "LAB_DOCKER_STORE": str(tmp_path / "store"),
        "PYTHONPATH": str(ROOT),
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "lab.emulator.docker", *arguments],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_image_knows_its_commit_and_runs_without_root(docker) -> None:
    docker("build", "--build-arg", f"COMMIT_SHA={SHA}", "--tag", "hichat:test", ".")
    (image,) = json.loads(docker("inspect", "hichat:test"))
    config = image["Config"]
    assert f"COMMIT_SHA={SHA}" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.revision"] == SHA
    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["python", "-m", "hichat"]
    assert config["WorkingDir"] == "/app"
    assert set(config["ExposedPorts"]) == {"8080/tcp"}


def test_two_commits_share_the_layer_with_the_files(docker) -> None:
    layers = []
    for number in "12":
        docker("build", "--build-arg", f"COMMIT_SHA={number * 40}", "--tag", f"hichat:{number}", ".")
        (image,) = json.loads(docker("inspect", f"hichat:{number}"))
        layers.append(image["RootFS"]["Layers"])
    assert layers[0] == layers[1]
