"""CI through python-gitlab and git: what the wiring and the journeys use, held against every target."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import gitlab
import pytest
import yaml

from lab.waiting import Pending, wait_until

pytestmark = [pytest.mark.needs("gitlab"), pytest.mark.timeout(120)]
DONE = ("success", "failed", "canceled", "skipped", "manual")


@dataclass
class Bench:
    """A project of a test's own with a runner for it."""

    target: object
    api: gitlab.Gitlab
    project: object
    work: Path
    runner: object
    tag: str
    environment: dict[str, str] = field(repr=False)

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def push(
        self, config: dict | str, message: str = "change", *options: str, branch: str = "main", **files: str
    ) -> str:
        """Commit ``config`` (its jobs get the runner's tag) and push; the commit's id."""
        if isinstance(config, dict):
            for job in config.values():
                if isinstance(job, dict) and "script" in job:
                    job.setdefault("tags", [self.tag])
            config = yaml.safe_dump(config, sort_keys=False)
        for name, text in {".gitlab-ci.yml": config, **files}.items():
            (self.work / name).write_text(text)
        self.git("checkout", "-q", "-B", branch)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", *[word for option in options for word in ("-o", option)], "origin", f"HEAD:{branch}")
        return self.git("rev-parse", "HEAD")

    def pipeline(self, sha: str):
        """The pipeline of a commit, once it has ended."""

        def probe():
            rows = self.project.pipelines.list(sha=sha, get_all=False)
            if not rows:
                return Pending("no pipeline")
            found = self.project.pipelines.get(rows[0].id)
            return found if found.status in DONE else Pending(found.status)

        return wait_until(f"pipeline of {sha[:8]}", probe, timeout=60)

    def jobs(self, pipeline) -> dict[str, object]:
        return {job.name: self.project.jobs.get(job.id) for job in pipeline.jobs.list(get_all=True)}


@pytest.fixture(scope="module")
def bench(target, tmp_path_factory):
    api = gitlab.Gitlab(target.gitlab, private_token=target.root_token, timeout=30, keep_base_url=True)
    api.auth()
    name = f"ci-{uuid.uuid4().hex[:8]}"
    project = api.projects.create({"path": name, "visibility": "private"})
    made = api.user.runners.create(
        {"runner_type": "project_type", "project_id": project.id, "tag_list": [name], "description": name}
    )
    if target.embedded:
        target.attach_runner(made.token)
    work = tmp_path_factory.mktemp("work")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(work.parent), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "GIT_CEILING_DIRECTORIES": str(work.parent), "GIT_AUTHOR_NAME": "T", "GIT_AUTHOR_EMAIL": "t@example.com",
        "GIT_COMMITTER_NAME": "T", "GIT_COMMITTER_EMAIL": "t@example.com",
    }  # fmt: skip
    built = Bench(target, api, project, work, made, name, environment)
    built.git("init", "-q", "--initial-branch=main")
    login = target.gitlab.replace("://", f"://root:{target.root_token}@")
    built.git("remote", "add", "origin", f"{login}/root/{name}.git")
    yield built
    project.delete()


@pytest.mark.needs("runner")
def test_two_stages_with_variables_and_traces(bench):
    bench.project.variables.create({"key": "SECRET", "value": "mask-me-please", "masked": True})
    sha = bench.push(
        {
            "stages": ["build", "deploy"],
            "build": {"stage": "build", "script": ['echo "made $CI_COMMIT_SHORT_SHA with $SECRET"']},
            "deploy": {"stage": "deploy", "script": ["echo deployed"], "after_script": ["echo $CI_JOB_STATUS"]},
        }
    )
    pipeline = bench.pipeline(sha)
    jobs = bench.jobs(pipeline)
    trace = jobs["build"].trace().decode()
    assert pipeline.status == "success", trace
    assert f"made {sha[:8]} with [MASKED]" in trace
    assert jobs["build"].finished_at <= jobs["deploy"].started_at
    assert pipeline.detailed_status["text"].lower() == "passed"
    assert pipeline.source == "push"
    assert pipeline.user["username"] == "root"
    assert bench.project.pipelines.latest(ref="main").id == pipeline.id
    assert jobs["build"].runner["id"] == bench.runner.id
    bench.project.variables.delete("SECRET")


def test_a_skipped_commit(bench):
    sha = bench.push({"job": {"script": ["true"]}}, "chore: nothing [skip ci]")
    pipeline = bench.pipeline(sha)
    assert pipeline.status == "skipped"
    assert pipeline.jobs.list(get_all=True) == []


def test_yaml_errors(bench):
    sha = bench.push(
        {"build": {"script": ["true"], "services": [{"name": "docker:dind", "privileged": True}]}}, branch="broken"
    )
    pipeline = bench.pipeline(sha)
    assert pipeline.status == "failed"
    assert "config contains unknown keys: privileged" in pipeline.yaml_errors
    with pytest.raises(gitlab.GitlabCreateError) as caught:
        bench.project.pipelines.create({"ref": "broken"})
    assert caught.value.response_code == 400
    assert "unknown keys: privileged" in str(caught.value)


@pytest.mark.needs("runner")
def test_a_failed_job_and_its_retry(bench):
    sha = bench.push({"job": {"script": ["exit 5"]}})
    pipeline = bench.pipeline(sha)
    job = bench.jobs(pipeline)["job"]
    assert (pipeline.status, job.status, job.failure_reason) == ("failed", "failed", "script_failure")
    assert "exit code 5" in job.trace().decode() or "exit status 5" in job.trace().decode()
    again = job.retry()
    assert again["id"] != job.id
    assert bench.pipeline(sha).status in ("failed", "running")


@pytest.mark.needs("runner")
def test_a_running_job_is_canceled(bench):
    sha = bench.push({"job": {"script": ["echo begun", "sleep 100"]}})

    def running():
        rows = bench.project.pipelines.list(sha=sha, get_all=False)
        jobs = rows[0].jobs.list(get_all=False) if rows else []
        if not jobs or jobs[0].status != "running":
            return Pending("not running")
        return bench.project.jobs.get(jobs[0].id)

    wait_until("running job", running, timeout=60).cancel()
    assert bench.pipeline(sha).status == "canceled"


@pytest.mark.needs("runner")
def test_a_manual_job_is_played(bench):
    sha = bench.push({"job": {"script": ["echo by hand"], "when": "manual", "allow_failure": False}})
    pipeline = bench.pipeline(sha)
    assert pipeline.status == "manual"
    bench.jobs(pipeline)["job"].play()

    def played():
        job = bench.jobs(pipeline)["job"]
        return job if job.status == "success" else Pending(job.status)

    assert "by hand" in wait_until("played job", played, timeout=60).trace().decode()


@pytest.mark.needs("runner")
def test_a_pipeline_through_the_api_with_variables(bench):
    bench.push({"job": {"script": ['test "$GIVEN" = yes'], "rules": [{"if": '$CI_PIPELINE_SOURCE == "api"'}]}})
    made = bench.project.pipelines.create({"ref": "main", "variables": [{"key": "GIVEN", "value": "yes"}]})

    def ended():
        found = bench.project.pipelines.get(made.id)
        return found if found.status in DONE else Pending(found.status)

    assert wait_until("pipeline", ended, timeout=60).status == "success"
    assert [v.key for v in made.variables.list(get_all=True)] == ["GIVEN"]


def test_rules_that_leave_nothing(bench):
    bench.push({"job": {"script": ["true"], "rules": [{"if": "$NEVER"}]}}, branch="empty")
    assert bench.project.pipelines.list(ref="empty", get_all=True) == []
    with pytest.raises(gitlab.GitlabCreateError) as caught:
        bench.project.pipelines.create({"ref": "empty"})
    assert "prevented any jobs from being added" in str(caught.value)


def test_variables(bench):
    variables = bench.project.variables
    made = variables.create({"key": "A_TOKEN", "value": "glpat-0123456789", "masked": True, "protected": True})
    assert (made.variable_type, made.environment_scope, made.raw, made.hidden) == ("env_var", "*", False, False)
    with pytest.raises(gitlab.GitlabCreateError) as caught:
        variables.create({"key": "A_TOKEN", "value": "x"})
    assert caught.value.response_code == 400
    assert "(A_TOKEN) has already been taken" in str(caught.value)
    with pytest.raises(gitlab.GitlabCreateError) as caught:
        variables.create({"key": "B", "value": "no $ecret!", "masked": True})
    assert caught.value.response_code == 400
    assert "is invalid" in str(caught.value)
    variables.update("A_TOKEN", {"value": "glpat-9876543210"})
    assert variables.get("A_TOKEN").value == "glpat-9876543210"
    variables.create({"key": "A_TOKEN", "value": "two", "environment_scope": "production"})
    with pytest.raises(gitlab.GitlabGetError) as caught:
        variables.get("A_TOKEN")
    assert caught.value.response_code == 409
    scoped = {"environment_scope": "production"}
    assert variables.get("A_TOKEN", filter=scoped).value == "two"
    variables.delete("A_TOKEN", filter=scoped)
    variables.delete("A_TOKEN")
    with pytest.raises(gitlab.GitlabGetError) as caught:
        variables.get("A_TOKEN")
    assert caught.value.response_code == 404


@pytest.mark.needs("runner")
def test_runners(bench):
    found = bench.api.runners.get(bench.runner.id)
    assert (found.status, found.runner_type, found.run_untagged) == ("online", "project_type", True)
    assert found.tag_list == [bench.tag]
    assert found.contacted_at
    assert found.id in {runner.id for runner in bench.project.runners.list(get_all=True)}
    assert found.id in {runner.id for runner in bench.api.runners_all.list(get_all=True)}
    assert bench.api.runners.verify(bench.runner.token) is None
    with pytest.raises(gitlab.GitlabVerifyError) as caught:
        bench.api.runners.verify("glrt-wrong")
    assert caught.value.response_code == 403
    other = bench.api.user.runners.create(
        {"runner_type": "project_type", "project_id": bench.project.id, "tag_list": "a,b", "run_untagged": False}
    )
    assert other.token.startswith("glrt-")
    fresh = bench.api.runners.get(other.id)
    assert (fresh.status, sorted(fresh.tag_list)) == ("never_contacted", ["a", "b"])
    fresh.description = "renamed"
    fresh.save()
    assert bench.api.runners.get(other.id).description == "renamed"
    bench.api.runners.delete(other.id)
    with pytest.raises(gitlab.GitlabGetError):
        bench.api.runners.get(other.id)
    with pytest.raises(gitlab.GitlabCreateError) as caught:
        bench.api.user.runners.create({"runner_type": "project_type", "project_id": bench.project.id,
                                       "run_untagged": False})  # fmt: skip
    assert caught.value.response_code == 400


@pytest.mark.needs("runner")
def test_resource_groups(bench):
    sha = bench.push({"job": {"script": ["true"], "resource_group": "production"}})
    assert bench.pipeline(sha).status == "success"
    group = bench.project.resource_groups.get("production")
    assert group.process_mode == "unordered"
    group.process_mode = "oldest_first"
    group.save()
    assert bench.project.resource_groups.get("production").process_mode == "oldest_first"
    with pytest.raises(gitlab.GitlabGetError) as caught:
        bench.project.resource_groups.get("unknown")
    assert caught.value.response_code == 404


def test_lint(bench):
    good = bench.project.ci_lint.create({"content": "job: {script: 'true'}"})
    assert good.valid
    bad = bench.project.ci_lint.create({"content": "job: {scripts: 'true'}"})
    assert not bad.valid
    assert bad.errors == [
        "jobs job config should implement the script:, run:, or trigger: keyword",
    ]


@pytest.mark.needs("runner")
def test_artifacts_are_downloaded(bench):
    job = {"script": ["mkdir out", "echo hello > out/file"], "artifacts": {"paths": ["out"]}}
    pipeline = bench.pipeline(bench.push({"job": job}))
    made = bench.jobs(pipeline)["job"]
    assert made.artifact("out/file") == b"hello\n"
    assert made.artifacts()[:2] == b"PK"


def test_no_pipeline_is_forbidden(bench):
    bench.git("push", "-q", "-o", "ci.skip", "origin", "HEAD:refs/heads/quiet")
    with pytest.raises(gitlab.GitlabError) as caught:
        bench.project.pipelines.latest(ref="no-such-branch")
    assert caught.value.response_code == 403
