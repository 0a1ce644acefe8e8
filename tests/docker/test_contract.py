"""The contract suite held against systems in containers: what the emulator promises, GitLab, K3s and a registry keep.

The images are stand-ins; LAB_UPSTREAM=1 takes the upstream ones, and then this file must run alone:

    LAB_UPSTREAM=1 pytest tests/docker/test_contract.py

Which tests apply follows from what each says it `needs` and what its target has (tests/contract/conftest.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import docker
import pytest
import single
from docker_lab import inventory
from hub import Hub
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 600
"""Seconds for one run of the contract suite."""
CLIENTS = {"test_registry_contract": "skopeo", "test_workloads_contract": "kubectl"}
"""Programs without which a module skips all its tests."""
pytestmark = pytest.mark.timeout(single.BOOT + PATIENCE + 60)


def hold_against(folder: Path, target: single.Variables, *modules: str, only: str = "") -> None:
    """Run the contract tests that apply to a target; none may fail, and some of each of these modules must pass."""
    report = folder / "report.xml"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LAB_TARGET_", "PYTEST_"))}
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "tests/contract",
        "-k",
        only,
        "-p",
        "no:cacheprovider",
        "--junitxml",
        report,
    ]
    done = subprocess.run(
        argv, cwd=ROOT, env={**own, **target}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    passed = {case.get("classname", "").split(".")[-1] for case in ET.parse(report).iter("testcase") if not len(case)}
    here = {module for module in modules if module not in CLIENTS or shutil.which(CLIENTS[module])}
    assert here <= passed <= set(modules), done.stdout


def test_gitlab_and_its_registry(engine: docker.DockerClient, tmp_path: Path) -> None:
    modules = ("test_gitlab_contract", "test_ci_contract", "test_registry_contract", "test_wiring")
    with single.gitlab(engine) as target:
        hold_against(tmp_path, target, *modules)


def test_k3s(engine: docker.DockerClient, hub: Hub, tmp_path: Path) -> None:
    newest = "not 1.31 and not 1.32"  # older versions of kubectl are tried on the emulator
    with single.k3s(engine, hub, tmp_path) as target:
        hold_against(tmp_path, target, "test_kubernetes_contract", "test_workloads_contract", only=newest)


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo (a Debian package)")
def test_a_registry_alone(engine: docker.DockerClient, tmp_path: Path) -> None:
    with single.registry(engine) as target:
        hold_against(tmp_path, target, "test_registry_contract")


def test_a_run_in_which_nothing_applies_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="0 selected"):
        hold_against(tmp_path, {"LAB_TARGET_ARGOCD": "https://127.0.0.1:1"})


def test_nothing_is_left_behind(engine: docker.DockerClient) -> None:
    started = {"label": f"{LABEL_SESSION_ID}={SESSION_ID}"}
    with single.registry(engine):
        (container,) = engine.containers.list(filters=started)
        volume = next(mount["Name"] for mount in container.attrs["Mounts"])
    assert not engine.containers.list(all=True, filters=started)
    assert volume not in inventory(engine)["volumes"]
