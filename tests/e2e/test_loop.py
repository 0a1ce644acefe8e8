"""The whole loop as a newcomer walks it, on the embedded engine."""

from __future__ import annotations

import json
import os
import socket
import threading
import urllib.request
from pathlib import Path

import pytest
from driver import Driver, driven

from lab.waiting import Pending, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with driven(tmp_path_factory.mktemp("lab")) as driver:
        driver.invoke("up", timeout=120)
        yield driver


@pytest.fixture
def checkout(lab, tmp_path) -> Path:
    lab.invoke("clone", tmp_path / "hichat")
    return tmp_path / "hichat"


def version(lab: Driver) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.ports['app']}/version", timeout=5) as answer:
        return answer.read().decode()


def forge(lab: Driver, path: str, *, raw: bool = False):
    """GET something of the project from GitLab's API."""
    token = (lab.home / ".lab/secrets/root-token").read_text()
    url = f"http://127.0.0.1:{lab.ports['gitlab']}/api/v4/projects/root%2Fhichat/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"PRIVATE-TOKEN": token}), timeout=10) as answer:
        text = answer.read().decode()
    return text if raw else json.loads(text)


def push(lab: Driver, folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    lab.git(folder, "add", "-A")
    lab.git(folder, "commit", "-qm", f"Change {name}")
    lab.git(folder, "push", "-q", "origin", "HEAD:master")
    return lab.git(folder, "rev-parse", "HEAD")


def test_every_check_passes(lab):
    documents = [document for document in lab.documents("verify") if document["type"] == "check"]
    ids = {document["id"] for document in documents}
    assert {
        "gitlab.ready", "registry.401", "runner.alive", "pipeline.latest", "registry.tags", "branch.master-clean",
        "branch.config-sha", "hook.delivered", "app.synced", "app.healthy", "pod.image", "app.answers",
    } <= ids  # fmt: skip
    assert [document for document in documents if document["ok"] is not True] == []
    assert all(document["evidence"] for document in documents)


def test_a_second_up_does_nothing(lab):
    assert lab.up() == 0


def test_smoke_shows_every_hop_and_its_version_answers(lab):
    hops = [document for document in lab.documents("smoke", "--message", "Try it") if document["type"] == "hop"]
    assert sorted({hop["id"] for hop in hops}) == ["T0", "T1", "T2", "T3", "T4", "T5"]
    assert version(lab)[:8] in hops[0]["evidence"] + hops[-1]["evidence"]


def test_a_push_by_hand_is_followed_to_its_pod(lab, checkout):
    lines: list[str] = []
    with lab.start("follow", "--json") as follower:
        assert json.loads(follower.stdout.readline())["type"] == "waiting"
        reader = threading.Thread(target=lambda: lines.extend(follower.stdout))
        reader.start()
        sha = push(lab, checkout, "NOTE.txt", "hello\n")
        assert follower.wait(90) == 0, lines
        reader.join(10)
    hops = [json.loads(line) for line in lines]
    assert [hop["id"] for hop in hops if hop["type"] == "hop"][-1] == "T5"
    assert sha in version(lab)
    pods = json.loads(lab.kubectl("get", "pods", "-n", "hichat", "-l", "app=hichat", "-o", "json"))["items"]
    images = {pod["spec"]["containers"][0]["image"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
    assert {image.rpartition(":")[2] for image in images} == {sha[:8]}


def test_the_code_branch_has_no_commit_of_the_pipeline(lab, checkout):
    authors = lab.git(checkout, "log", "--format=%an %s", "origin/master")
    assert "[skip ci]" not in authors
    config = lab.git(checkout, "log", "--format=%s", "origin/k8s-config")
    assert "chore: update image to" in config


def test_a_follow_of_a_known_commit_shows_its_hops(lab, checkout):
    sha = lab.git(checkout, "rev-parse", "origin/master")
    hops = [document for document in lab.documents("follow", sha) if document["type"] == "hop"]
    assert hops[-1]["id"] == "T5"


def test_an_older_pipeline_that_ends_last_does_not_win(lab, checkout):
    gate = checkout.parent / "gate"
    ci = (checkout / ".gitlab-ci.yml").read_text()
    wait = f"    - n=0; while [ -e SLOW ] && [ ! -e {gate} ] && [ $n -lt 300 ]; do n=$((n+1)); sleep 0.2; done\n"
    assert ci.count("  before_script:\n") == 1, "the build job's"
    (checkout / ".gitlab-ci.yml").write_text(ci.replace("  before_script:\n", "  before_script:\n" + wait))
    older = push(lab, checkout, "SLOW", "the older build waits\n")
    lab.git(checkout, "rm", "-q", "SLOW")
    newer = push(lab, checkout, "FAST", "the newer one does not\n")
    lab.invoke("follow", newer)
    gate.touch()

    def ended() -> str | Pending:
        pipeline = forge(lab, f"pipelines?sha={older}")[0]
        return pipeline["id"] if pipeline["status"] == "success" else Pending(pipeline["status"])

    pipeline = wait_until("the older pipeline", ended, timeout=60)
    job = next(job for job in forge(lab, f"pipelines/{pipeline}/jobs") if job["name"] == "update-config")
    assert f"already holds {newer}" in forge(lab, f"jobs/{job['id']}/trace", raw=True)
    lab.git(checkout, "fetch", "-q")
    recorded = lab.git(checkout, "log", "-1", "--format=%(trailers:key=Source-Commit,valueonly)", "origin/k8s-config")
    assert recorded.strip() == newer
    assert newer in version(lab)


def test_a_file_and_a_namespace_removed_on_the_config_branch(lab, checkout):
    lab.git(checkout, "checkout", "-q", "k8s-config")
    (checkout / "k8s/extra.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: hichat}\ndata: {a: b}\n"
    )
    lab.git(checkout, "add", "-A")
    lab.git(checkout, "commit", "-qm", "Add a config map [skip ci]")
    lab.git(checkout, "push", "-q", "origin", "k8s-config")
    wait_until("the config map", lambda: exists(lab, "configmap/extra") or Pending("absent"), timeout=60)
    for name in ("extra.yaml", "namespace.yaml"):
        lab.git(checkout, "rm", "-q", f"k8s/{name}")
    lab.git(checkout, "commit", "-qm", "Remove them again [skip ci]")
    lab.git(checkout, "push", "-q", "origin", "k8s-config")
    wait_until("the prune", lambda: not exists(lab, "configmap/extra") or Pending("present"), timeout=60)
    assert lab.kubectl("get", "namespace", "hichat", "-o", "jsonpath={.status.phase}") == "Active"
    assert lab.kubectl("get", "pvc", "-n", "hichat", "-o", "name")


def exists(lab: Driver, thing: str) -> bool:
    return bool(lab.kubectl("get", thing, "-n", "hichat", "--ignore-not-found", "-o", "name"))


def test_down_leaves_no_process_and_no_port_and_up_brings_every_commit_back(lab, checkout):
    sha = lab.git(checkout, "rev-parse", "origin/master")
    pid = lab.emulator()
    assert pid
    before = version(lab)
    lab.invoke("down")
    assert ended(pid)
    assert processes_of(lab.home) == []
    for port in lab.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    lab.invoke("up")
    assert lab.git(checkout, "ls-remote", "origin", "master").split()[0] == sha
    assert version(lab) == before


def ended(pid: int) -> bool:
    """Whether a process is gone, or dead and only not yet reaped by the machine's init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def processes_of(home: Path) -> list[str]:
    """Every process that has to do with a lab's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            about = (
                (entry / "cmdline").read_bytes()
                + (entry / "environ").read_bytes()
                + os.fsencode((entry / "cwd").readlink())
            )
        except OSError:
            continue
        if os.fsencode(home) in about and int(entry.name) != os.getpid():
            found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
    return found
