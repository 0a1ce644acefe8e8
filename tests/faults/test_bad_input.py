"""Bad input and bad days: each ends in a message that says what to do, with its exit code and no traceback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from driver import Driver, driven

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def lab(tmp_path):
    with driven(tmp_path) as driver:
        yield driver


def refused(lab: Driver, *args: str, code: int, **environ: str) -> str:
    lab.environ = environ
    output = lab.invoke(*args, code=code)
    assert "Traceback" not in output
    return output


def test_an_unknown_key_is_named_with_the_nearest_one(lab):
    (lab.home / "lab.yaml").write_text("project: {brnch: x}\n")
    output = refused(lab, "up", code=2)
    assert "project.brnch" in output
    assert "Did you mean project.branch?" in output


def test_a_port_in_use_names_its_owner_and_its_key(lab):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        lab.ports["registry"] = other.getsockname()[1]
        output = refused(lab, "up", code=3)
    assert f"Port {lab.ports['registry']} is in use" in output
    assert f"process {os.getpid()}" in output
    assert "ports.registry" in output
    lab.invoke("down", "--purge", "--yes")  # nothing ran yet, so there is nothing to save and nothing in the way
    assert not (lab.home / ".lab").exists()


def test_a_port_in_use_ends_no_lab_that_runs(lab):
    lab.up()
    before, healthy = dict(lab.ports), ("verify", "--only", "gitlab.ready")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        lab.ports["app"] = other.getsockname()[1]
        assert "ports.app" in refused(lab, "up", code=3)
    lab.ports = before
    lab.invoke(*healthy)
    assert lab.up() == 0


def test_damaged_files_of_the_lab_heal(lab):
    lab.up()
    for name in ("engine.json", "embedded.json", "webhook.json", "deploy-token.json", "secrets/root-token"):
        (lab.home / ".lab" / name).write_text("")
    assert "Traceback" not in lab.invoke("up")
    assert lab.up() == 0
    lab.invoke("verify")
    (lab.home / ".lab/secrets/root-token").write_text("")
    lab.invoke("down", "--purge", "--yes")
    assert list(lab.home.glob("*.bundle")), "a lost token costs no commits"


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("smoke", "--timeout", "soon"), "'soon'"),
        (("smoke", "--timeout", "-5"), "'-5'"),
        (("logs",), "pipeline"),
        (("up", "--engine", "podman"), "embedded"),
    ],
)
def test_a_flag_that_cannot_be_used_is_a_usage_error(lab, args, named):
    (lab.home / ".lab").mkdir()
    (lab.home / ".lab/engine.json").write_text('{"name": "embedded"}')
    assert named in refused(lab, *args, code=2)


def test_docker_asked_for_where_none_answers(lab):
    output = refused(lab, "up", "--engine", "docker", code=3)
    assert "--engine embedded" in output
    assert not (lab.home / ".lab/engine.json").exists()


@pytest.mark.parametrize("task", ["verify", "smoke", "status", "creds", "stop", "clone"])
def test_a_task_without_a_lab_says_so(lab, task):
    assert "invoke up" in refused(lab, task, code=2)


def test_down_without_a_lab_is_no_error(lab):
    assert "nothing to remove" in lab.invoke("down")


def test_down_ends_a_lab_whose_record_is_damaged(lab):
    lab.up()
    (lab.home / ".lab/engine.json").write_text("{")
    assert "nothing to remove" not in lab.invoke("down")
    for port in lab.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_source_that_is_no_repository(lab, tmp_path):
    (tmp_path / "plain").mkdir()
    output = refused(lab, "up", code=2, LAB_PROJECT_SOURCE=str(tmp_path / "plain"))
    assert str(tmp_path / "plain") in output
    assert "git" in output


def repository(folder: Path, *, without: str = "", replace: dict[str, str] | None = None) -> Path:
    """The sample as somebody's own repository, with a change."""
    shutil.copytree(ROOT / "gitlab/project", folder)
    if without:
        (folder / without).unlink()
    for name, text in (replace or {}).items():
        (folder / name).write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "init", "-q", "-b", "master"], check=True, timeout=30)
    subprocess.run([*git, "add", "-A"], check=True, timeout=30)
    subprocess.run([*git, "commit", "-qm", "Mine"], check=True, timeout=30)
    return folder


def test_a_source_without_a_dockerfile(lab, tmp_path):
    source = repository(tmp_path / "mine", without="Dockerfile")
    assert "Dockerfile" in refused(lab, "up", code=2, LAB_PROJECT_SOURCE=str(source))


def test_an_image_that_does_not_build_names_the_line(lab, tmp_path):
    dockerfile = (ROOT / "gitlab/project/Dockerfile").read_text().replace("USER ", "RUN apk add curl\nUSER ")
    source = repository(tmp_path / "mine", replace={"Dockerfile": dockerfile})
    output = refused(lab, "up", code=1, LAB_PROJECT_SOURCE=str(source))
    assert "RUN" in output
    line = next(n for n, text in enumerate(dockerfile.splitlines(), 1) if text.startswith("RUN"))
    assert f"Dockerfile:{line}" in output


def test_an_application_that_crashes_is_shown_with_its_log(lab, tmp_path):
    source = repository(
        tmp_path / "mine", replace={"hichat/__main__.py": "raise SystemExit('no database configured')\n"}
    )
    output = refused(
        lab, "up", code=1, LAB_PROJECT_SOURCE=str(source), LAB_TIMEOUTS_SYNC="60", LAB_TIMEOUTS_PIPELINE="60"
    )
    assert "no database configured" in output


def test_an_own_source_goes_round_the_loop_with_its_history(lab, tmp_path):
    source = repository(tmp_path / "mine")
    lab.environ = {"LAB_PROJECT_SOURCE": str(source), "LAB_PROJECT_PATH": "team/mine"}
    lab.invoke("up", timeout=120)
    lab.invoke("verify")
    lab.invoke("clone", tmp_path / "clone")
    head = lab.git(source, "rev-parse", "HEAD")
    assert lab.git(tmp_path / "clone", "rev-parse", "origin/master") == head
    assert lab.up() == 0


def test_purge_saves_every_branch_first_and_then_leaves_nothing(lab, tmp_path):
    lab.invoke("up", timeout=120)
    pid = lab.emulator()
    assert pid
    os.kill(pid, signal.SIGKILL)
    lab.invoke("down", "--purge", "--yes")
    assert not (lab.home / ".lab").exists()
    (bundle,) = lab.home.glob("*.bundle")
    subprocess.run(["git", "clone", "-q", bundle, tmp_path / "saved", "-b", "master"], check=True, timeout=60)
    branches = lab.git(tmp_path / "saved", "branch", "-r")
    assert "origin/k8s-config" in branches


def test_purge_asks_and_does_nothing_without_an_answer(lab):
    lab.invoke("up", timeout=120)
    assert "--yes" in lab.invoke("down", "--purge", code=2)
    assert lab.up() == 0


def test_reset_puts_everything_back_to_the_start(lab, tmp_path):
    lab.invoke("up", timeout=120)
    lab.invoke("smoke")
    lab.invoke("reset", "--yes", timeout=120)
    lab.invoke("clone", tmp_path / "clone")
    assert lab.git(tmp_path / "clone", "rev-list", "--count", "origin/master") == "1"
    lab.invoke("verify")
