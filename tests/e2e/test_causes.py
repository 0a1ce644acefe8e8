"""Causes that the embedded lab can produce for real: broken the way people break them, and named with their remedy."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driver import ROOT, Driver, driven

from lab import argocd, symptoms, workload
from lab.app import Lab
from lab.causes import Diagnosis, Evidence, diagnose, find, recognise
from lab.cluster import APPLICATION, SECRET
from lab.console import Console
from lab.doors import Doors
from lab.remote import RemoteError
from lab.waiting import Pending, wait_until

pytestmark = pytest.mark.timeout(240)
Document = dict[str, Any]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with driven(tmp_path_factory.mktemp("lab")) as driver:
        driver.invoke("up", timeout=120)
        yield driver


@pytest.fixture(scope="module")
def doors(lab):
    opened = Lab(Console(stream=io.StringIO()), lab.env)
    return Doors.open(opened.endpoints(), opened.settings)


@pytest.fixture
def checkout(lab, tmp_path) -> Path:
    lab.invoke("clone", tmp_path / "hichat")
    return tmp_path / "hichat"


def found(gather: Callable[[], Iterable[Evidence]], *codes: str) -> dict[str, Diagnosis]:
    """What is recognised in the evidence, once all of ``codes`` are."""
    seen: dict[str, Diagnosis] = {}

    def look() -> bool | Pending:
        seen.update({item.code: item for item in diagnose(gather())})
        missing = set(codes) - set(seen)
        return True if not missing else Pending(f"not {sorted(missing)} yet, but {sorted(seen)}")

    wait_until(f"{', '.join(codes)} to be recognised", look, timeout=45, longest=0.5)
    return seen


def shown(text: str, code: str) -> None:
    """A person reads the code, the remedy, and where the rest is."""
    cause = find(code)
    assert cause
    assert f"{code}: {cause.title.en}" in text or f"{cause.title.en} [{code}]" in text, text
    assert cause.remedy.en.splitlines()[0] in text
    assert f"invoke explain {code}" in text


def push(lab: Driver, folder: Path, message: str, branch: str = "master") -> str:
    lab.git(folder, "add", "-A")
    lab.git(folder, "commit", "-qm", message)
    lab.git(folder, "push", "-q", "origin", f"HEAD:{branch}")
    return lab.git(folder, "rev-parse", "HEAD")


def undo(lab: Driver, folder: Path, branch: str) -> None:
    """Take the last commit back, without a pipeline that the next test would meet."""
    lab.git(folder, "revert", "--no-commit", "HEAD")
    push(lab, folder, "Take it back [skip ci]", branch)


def refused(folder: Path, *args: str) -> str:
    """What git says when it fails."""
    plain = {"PATH": os.environ["PATH"], "GIT_TERMINAL_PROMPT": "0", "HOME": str(folder.parent), "LANG": "C"}
    words = ["git", "-C", str(folder), "-c", "credential.helper=", *args]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=plain)
    assert done.returncode != 0
    return done.stderr


JOBS = """
stages: [all]
default:
  tags: [docker]
run-in-dockerfile:
  stage: all
  script:
    - printf 'FROM scratch\\nRUN true\\n' > Dockerfile.run
    - docker build -f Dockerfile.run .
push-with-the-jobs-token:
  stage: all
  script:
    - place="$CI_SERVER_HOST:$CI_SERVER_PORT/$CI_PROJECT_PATH.git"
    - git push "http://gitlab-ci-token:$CI_JOB_TOKEN@$place" HEAD:refs/heads/no
name-that-does-not-resolve:
  stage: all
  script:
    - git -c http.proxy= ls-remote http://gitlab.no-such-name.invalid/root/hichat.git
login-without-a-password:
  stage: all
  script:
    - docker login -u root "$CI_REGISTRY" < /dev/null
push-to-another-project:
  stage: all
  script:
    - docker login -u "$CI_REGISTRY_USER" -p "$CI_REGISTRY_PASSWORD" "$CI_REGISTRY"
    - printf 'FROM scratch\\nLABEL for=another\\n' > Dockerfile.other
    - docker build -t "$CI_REGISTRY/root/other:1" -f Dockerfile.other .
    - docker push "$CI_REGISTRY/root/other:1"
tags-that-no-runner-has:
  stage: all
  tags: [gpu]
  script: ["true"]
"""


def test_jobs_that_fail_or_wait_are_explained(lab, doors, checkout):
    (checkout / ".gitlab-ci.yml").write_text(JOBS)
    sha = push(lab, checkout, "Try what does not work", "trouble")
    seen = found(
        lambda: symptoms.of_commit(doors.forge, sha, "trouble"),
        "LAB-EMU-02", "LAB-PUSH-01", "LAB-JOB-05", "LAB-JOB-07", "LAB-REG-07", "LAB-RUNNER-08",
    )  # fmt: skip
    assert seen["LAB-EMU-02"].where == "job run-in-dockerfile"
    assert "not emulated: RUN true" in seen["LAB-EMU-02"].line
    assert seen["LAB-PUSH-01"].where == "job push-with-the-jobs-token"
    assert "tags gpu" in seen["LAB-RUNNER-08"].line


def test_jobs_that_do_what_they_should_show_no_cause(doors):
    (row,) = doors.forge.pipelines(ref="master", status="success")[:1]
    traces = [doors.forge.trace(job["id"]) for job in doors.forge.jobs(row["id"])]
    assert traces
    assert [found.code for trace in traces for found in recognise("trace", trace)] == []


def test_a_file_with_privileged_is_explained_where_its_pipeline_is_followed(lab, checkout):
    ci = (checkout / ".gitlab-ci.yml").read_text()
    (checkout / ".gitlab-ci.yml").write_text(
        ci.replace("services:\n", "services:\n    - {name: redis, privileged: true}\n", 1)
    )
    sha = push(lab, checkout, "Ask for privileges")
    text = lab.invoke("follow", sha, code=1)
    assert "unknown keys: privileged" in text
    shown(text, "LAB-CI-01")
    undo(lab, checkout, "master")


def test_a_follow_ends_at_once_where_no_runner_can_take_the_job(lab, checkout):
    ci = (checkout / ".gitlab-ci.yml").read_text()
    assert "\nbuild:\n" in ci
    (checkout / ".gitlab-ci.yml").write_text(ci.replace("\nbuild:\n", "\nbuild:\n  tags: [gpu]\n", 1))
    sha = push(lab, checkout, "Ask for a GPU")
    text = lab.invoke("follow", sha, code=1, timeout=60)
    assert "T1 did not come" in text
    shown(text, "LAB-RUNNER-08")
    documents = [json.loads(line) for line in lab.invoke("follow", sha, "--json", code=1).splitlines()]
    (told,) = [document for document in documents if document["type"] == "diagnosis"]
    assert told["code"] == "LAB-RUNNER-08"
    assert documents[-1]["code"] == "LAB-FOLLOW-T1"
    undo(lab, checkout, "master")


def test_pushes_that_gitlab_refuses_are_explained(lab, checkout):
    secrets = lab.home / ".lab/secrets"
    place = f"127.0.0.1:{lab.ports['gitlab']}/root/hichat.git"
    bot, root = ((secrets / name).read_text().strip() for name in ("config-branch-token", "root-token"))
    lab.git(checkout, "commit", "-qm", "Nothing", "--allow-empty")
    text = refused(checkout, "push", f"http://bot:{bot}@{place}", "HEAD:master")
    assert [cause.code for cause in recognise("git", text)] == ["LAB-PUSH-03"]
    text = refused(checkout, "push", f"http://root:wrong@{place}", "HEAD:master")
    assert [cause.code for cause in recognise("git", text)] == ["LAB-PUSH-04"]
    lab.git(checkout, "commit", "-q", "--amend", "-m", "Nothing [skip ci]", "--allow-empty")
    lab.git(checkout, "push", "-q", "origin", "HEAD:master")
    lab.git(checkout, "checkout", "-q", "HEAD~1")
    lab.git(checkout, "commit", "-qm", "Late", "--allow-empty")
    text = refused(checkout, "push", f"http://root:{root}@{place}", "HEAD:master")
    assert [cause.code for cause in recognise("git", text)] == ["LAB-PUSH-07"]


def refusal(ask: Callable[[], object]) -> list[str]:
    with pytest.raises(RemoteError) as caught:
        ask()
    return [cause.code for cause in recognise("http", f"{caught.value.status} {caught.value.evidence}")]


def test_what_gitlabs_api_refuses_is_explained(doors):
    forge = doors.forge
    weak = {"key": "WEAK", "value": "short", "masked": True}
    assert refusal(lambda: forge.create(forge.at("variables"), weak)) == ["LAB-API-05"]
    forge.create(forge.at("variables"), {"key": "TWICE", "value": "once"})
    assert refusal(lambda: forge.create(forge.at("variables"), {"key": "TWICE", "value": "twice"})) == ["LAB-API-02"]
    branch = {"branch": "k8s-config", "ref": "master"}
    assert refusal(lambda: forge.create(forge.at("repository", "branches"), branch)) == ["LAB-API-02"]


def test_a_webhook_into_the_local_network_is_explained(doors):
    forge, flag = doors.forge, "allow_local_requests_from_web_hooks_and_services"
    forge.update("/application/settings", {flag: False})
    try:
        codes = refusal(lambda: forge.create(forge.at("hooks"), {"url": "http://10.1.2.3/api/webhook"}))
        assert set(codes) & {"LAB-HOOK-11", "LAB-HOOK-12"}
    finally:
        forge.update("/application/settings", {flag: True})


def test_a_webhook_that_cannot_be_delivered_is_explained(lab, doors, checkout):
    forge = doors.forge
    url = "http://argocd.no-such-name.invalid/api/webhook"
    row = forge.create(forge.at("hooks"), {"url": url, "push_events": True})
    lab.git(checkout, "commit", "-qm", "Tell the hook [skip ci]", "--allow-empty")
    sha = push_empty(lab, checkout)
    elsewhere = replace(doors, endpoints=replace(doors.endpoints, webhook=url))
    found(lambda: symptoms.of_webhook(elsewhere, sha), "LAB-HOOK-13")
    forge.remove(forge.at("hooks", row["id"]))


def push_empty(lab: Driver, folder: Path) -> str:
    lab.git(folder, "push", "-q", "origin", "HEAD:master")
    return lab.git(folder, "rev-parse", "HEAD")


def test_secrets_that_differ_are_explained_and_up_mends_them(lab, doors, checkout):
    cluster = doors.cluster
    wrong = argocd.server_settings(doors.endpoints, "another secret")
    for document in wrong:
        if document["kind"] == "Secret":
            cluster.patch(SECRET, document["metadata"]["name"], "argocd", {"data": document["data"]})
    (checkout / "NOTE.txt").write_text("hello\n")
    sha = push(lab, checkout, "Wake nobody")
    text = lab.invoke("follow", sha, code=1)
    assert "T3 did not come" in text
    shown(text, "LAB-HOOK-14")
    lab.invoke("up")
    lab.invoke("smoke")


def pod(name: str, image: str, **spec: Any) -> Document:
    container = {"name": "main", "image": image, **spec.pop("container", {})}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "trouble"},
        "spec": {"containers": [container], **spec},
    }  # fmt: skip


def test_pods_that_do_not_start_are_explained(doors):
    cluster, registry = doors.cluster, doors.endpoints.registry
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "trouble"}})
    image = f"{registry}/root/hichat"
    login = {"auths": {registry: {"username": "nobody", "password": "wrong"}}}
    cluster.apply(
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong", "namespace": "trouble"},
            "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": json.dumps(login)},
        }
    )  # fmt: skip
    (running,) = workload.images(doors.application.deployment() or {})
    pods = [
        pod(
            "wrong-login",
            f"{image}:latest",
            imagePullSecrets=[{"name": "wrong"}],
            container={"imagePullPolicy": "Always"},
        ),
        pod("no-login", f"{image}:master", container={"imagePullPolicy": "Always"}),
        pod("wrong-name", "UPPER:Case:1"),
        pod("never", f"{registry}/root/nowhere:1", container={"imagePullPolicy": "Never"}),
        pod("no-secret", running, container={"envFrom": [{"secretRef": {"name": "missing"}}]}),
        pod("no-node", "redis:8", nodeSelector={"disk": "none"}),
    ]
    for document in pods:
        cluster.apply(document)
    seen = found(
        lambda: symptoms.of_namespace(cluster, "trouble"),
        "LAB-REG-04", "LAB-REG-11", "LAB-REG-12", "LAB-POD-02", "LAB-POD-04",
    )  # fmt: skip
    assert seen["LAB-REG-11"].where == "pod wrong-name"
    assert seen["LAB-POD-02"].where == "pod no-secret"


def test_an_application_that_cannot_be_synced_is_explained(doors):
    def broken(name: str, **source: str) -> Callable[[], list[Evidence]]:
        app = argocd.application(doors.endpoints, doors.settings)
        app["metadata"] = {"name": name, "namespace": "argocd"}
        app["spec"]["source"].update(source)
        app["spec"]["destination"]["namespace"] = "trouble"
        doors.cluster.apply(app)
        settings = replace(doors.settings, project=replace(doors.settings.project, path=f"root/{name}"))
        return lambda: symptoms.of_sync(replace(doors, settings=settings))

    found(broken("no-path", path="nowhere"), "LAB-SYNC-08")
    found(broken("no-branch", targetRevision="no-such-branch"), "LAB-SYNC-07")
    found(broken("no-login", repoURL=doors.endpoints.gitlab + "/root/none.git"), "LAB-SYNC-06")
    for name in ("no-path", "no-branch", "no-login"):
        doors.cluster.delete(APPLICATION, name, "argocd")


def test_an_image_that_was_never_pushed_is_explained(lab, doors, checkout):
    lab.git(checkout, "checkout", "-q", "k8s-config")
    manifest = checkout / "k8s/hichat.yaml"
    before = manifest.read_text()
    head = lab.git(checkout, "log", "-1", "--format=%(trailers:key=Source-Commit,valueonly)").strip()[:8]
    assert head in before
    manifest.write_text(before.replace(head, "0123abcd"))
    push(lab, checkout, "Deploy what does not exist [skip ci]", "k8s-config")
    seen = found(lambda: symptoms.of_deployment(doors), "LAB-REG-05")
    assert "0123abcd" in seen["LAB-REG-05"].line
    undo(lab, checkout, "k8s-config")


def test_up_itself_ends_at_once_where_nothing_heals(tmp_path):
    source = tmp_path / "own"
    shutil.copytree(ROOT / "gitlab/project", source)
    ci = source / ".gitlab-ci.yml"
    ci.write_text(ci.read_text().replace("\nbuild:\n", "\nbuild:\n  tags: [gpu]\n", 1))
    with driven(tmp_path / "lab") as driver:
        driver.home.mkdir()
        driver.git(source, "init", "-q", "-b", "master")
        driver.git(source, "add", "-A")
        driver.git(source, "commit", "-qm", "Build on a GPU")
        (driver.home / "lab.yaml").write_text(f"project:\n  source: {source}\n")
        documents = driver.documents("up", code=1, timeout=120)
    told = [document for document in documents if document.get("event") == "diagnosis"]
    assert [(document["step"], document["detail"].partition(":")[0]) for document in told] == [
        ("pipeline", "LAB-RUNNER-08")
    ]
    assert documents[-1]["code"] == "LAB-RUNNER-08"
    assert documents[-1]["exit_code"] == 1
