"""When `up` starts a pipeline: the config branch lacks the manifests, or was moved back; never against a revert."""

from __future__ import annotations

import pytest
from world import SHA, P, world

from lab import git, wiring
from lab.errors import CheckFailed, LabError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.settings import ProjectSettings, Settings
from lab.wiring import hook

OLD = "b2" * 20
MANIFEST = f"{P}/repository/files/k8s%2Fhichat.yaml/raw"


@pytest.fixture
def healthy(tmp_path):
    with world(tmp_path) as made:
        yield made


def step(made) -> Step:
    steps = wiring.steps(lambda: made.endpoints, made.settings, made.state, lambda _token: None)
    return next(step for step in steps if step.name == "pipeline")


def probe(made) -> Probe:
    return step(made).probe(StepContext())


def config_branch(made, *messages: str, code: tuple[str, ...] = (SHA, OLD)) -> None:
    rows = {
        "k8s-config": [{"id": f"{number:040x}", "message": text} for number, text in enumerate(messages)],
        "master": [{"id": sha, "message": "feat: x"} for sha in code],
    }
    made.gitlab.on("GET", f"{P}/repository/commits", lambda request: (200, rows[request.query["ref_name"][0]]))


def test_a_branch_that_carries_the_newest_commit_needs_nothing(healthy):
    assert isinstance(probe(healthy), Satisfied)


def test_a_branch_without_the_manifest_needs_a_pipeline(healthy):
    healthy.gitlab.on("GET", MANIFEST, (404, {"message": "404 File Not Found"}))
    assert isinstance(probe(healthy), Needed)


def test_a_branch_that_was_moved_back_needs_a_pipeline(healthy):
    config_branch(healthy, f"chore: update image\n\nSource-Commit: {OLD}\n")
    found = probe(healthy)
    assert isinstance(found, Needed)
    assert OLD[:8] in found.why
    assert SHA[:8] in found.why


def test_a_revert_on_top_is_somebodys_decision(healthy):
    config_branch(
        healthy, "Revert chore: update image", f"chore: y\n\nSource-Commit: {SHA}", f"z\n\nSource-Commit: {OLD}"
    )
    assert isinstance(probe(healthy), Satisfied)


def test_a_code_branch_that_was_moved_back_is_not_deployed_by_the_lab(healthy):
    config_branch(healthy, f"x\n\nSource-Commit: {OLD}", code=(SHA,))
    assert isinstance(probe(healthy), Satisfied)


def test_a_pipeline_file_that_gitlab_refuses_is_shown_in_its_words(healthy):
    words = "jobs:build:script config should be a string"
    row = {"id": 7, "status": "failed", "sha": SHA, "web_url": "http://x/7"}
    healthy.gitlab.on("GET", f"{P}/pipelines", (200, [row]))
    healthy.gitlab.on("GET", f"{P}/pipelines/7", (200, {**row, "yaml_errors": words}))
    healthy.gitlab.on("GET", f"{P}/pipelines/7/jobs", (200, []))
    healthy.gitlab.on("POST", f"{P}/pipeline", (400, {"message": {"base": [words]}}))
    healthy.gitlab.on("GET", MANIFEST, (404, {"message": "404 File Not Found"}))
    with pytest.raises(CheckFailed) as raised:
        step(healthy).act(StepContext())
    assert raised.value.code == "LAB-PIPE-03"
    assert words in raised.value.evidence
    assert ".gitlab-ci.yml" in raised.value.problem


def test_a_pipeline_that_deploys_nothing_is_told_with_the_hosts_in_the_projects_files(healthy, tmp_path):
    folder = tmp_path / "mine"
    (folder / "k8s").mkdir(parents=True)
    (folder / "k8s/hichat.yaml").write_text("image: hichat\n")
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / ".gitlab-ci.yml").write_text("build:\n  script: git push http://gitlab.iceymoss/root/hichat.git\n")
    git.git("init", "-q", "-b", "master", cwd=folder)
    git.git("add", "-A", cwd=folder)
    git.git("commit", "-qm", "first", cwd=folder, env=git.Person("A", "a@example.com").variables())
    healthy.settings = Settings(project=ProjectSettings(source=folder))
    healthy.gitlab.on("GET", MANIFEST, (404, {"message": "404 File Not Found"}))
    healthy.gitlab.on("POST", f"{P}/pipeline", (201, {"id": 7, "status": "created", "web_url": "http://x/7"}))
    with pytest.raises(LabError) as raised:
        step(healthy).act(StepContext())
    assert raised.value.code == "LAB-PIPE-05"
    assert "hard-coded host: .gitlab-ci.yml:2 gitlab.iceymoss" in raised.value.evidence


def test_a_failed_delivery_is_sent_again_soon_and_then_as_often_as_gitlab_allows():
    resends = hook.Resends()
    sent = [tenth / 10 for tenth in range(600) if resends.due(tenth / 10)]
    assert sent[0] < 1
    assert sent[1] - sent[0] >= 3
    assert len(sent) <= 6, "GitLab allows five in a minute"
    assert sent[-1] > 40, "it does not give up"
