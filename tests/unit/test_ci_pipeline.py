"""Pipelines end to end: a push, a runner over HTTP, jobs in a shell."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from ci_world import finished, jobs, push, runner, world
from eventually import until

TWO_STAGES = """
stages: [build, deploy]
build-job:
  stage: build
  script:
    - echo "building $CI_COMMIT_SHORT_SHA of $CI_PROJECT_PATH"
    - cat README
deploy-job:
  stage: deploy
  before_script: [echo before]
  script:
    - test "$GREETING" = "hello $CI_COMMIT_BRANCH"
    - |
      echo one
      echo two
  after_script:
    - echo "after $CI_JOB_STATUS"
  variables:
    GREETING: hello $CI_COMMIT_BRANCH
"""


def test_two_stages_run_one_after_the_other(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab, runner(lab):
            sha = await push(lab, {".gitlab-ci.yml": TWO_STAGES, "README": "read me\n"})
            pipeline = await finished(lab, sha)
            found = jobs(lab, pipeline)
            traces = {name: lab.ci.trace(job["id"]).decode() for name, job in found.items()}
            assert pipeline["status"] == "success", traces
            assert found["build-job"]["finished_at"] <= found["deploy-job"]["started_at"]
            assert f"building {sha[:8]} of root/app" in traces["build-job"]
            assert "read me" in traces["build-job"]
            assert "Job succeeded" in traces["build-job"]
            assert "after success" in traces["deploy-job"]
            assert "before\n" in traces["deploy-job"]

    asyncio.run(scenario())


def run(tmp_path, scenario, **settings):
    """Run a scenario with a world and a runner."""

    async def main():
        async with world(tmp_path) as lab, runner(lab, **settings):
            await scenario(lab)

    asyncio.run(main())


def one_job(script, **more):
    return yaml.safe_dump({"job": {"script": script, **more}})


def test_variables_reach_the_job_in_their_order_and_secrets_are_masked(tmp_path):
    async def scenario(lab):
        await lab.api("POST", f"{lab.base}/variables", json={"key": "SECRET", "value": "hush-hush-1", "masked": True})
        await lab.api("POST", f"{lab.base}/variables", json={"key": "WHO", "value": "project"})
        await lab.api("POST", f"{lab.base}/variables", json={"key": "RAW", "value": "$WHO", "raw": True})
        await lab.api(
            "POST", f"{lab.base}/variables", json={"key": "PAPER", "value": "on file", "variable_type": "file"}
        )
        script = [
            'echo "who=$WHO nested=$NESTED raw=$RAW secret=$SECRET token=$CI_JOB_TOKEN"',
            'echo "paper=$(cat $PAPER)"',
            'echo "home=$HOME proxy=${http_proxy:-none}"',
        ]
        text = one_job(script, variables={"WHO": "yaml", "NESTED": "<$WHO>"})
        pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": text}))
        job = jobs(lab, pipeline)["job"]
        trace = lab.ci.trace(job["id"]).decode()
        assert "who=project nested=<project> raw=$WHO secret=[MASKED] token=[MASKED]" in trace
        assert "paper=on file" in trace
        assert f"home={lab.folder}" in trace
        assert "proxy=none" in trace
        assert "hush-hush" not in trace

    run(tmp_path, scenario)


def test_protected_variables_stay_on_protected_branches(tmp_path):
    async def scenario(lab):
        body = {"key": "GUARDED", "value": "abc", "protected": True}
        await lab.api("POST", f"{lab.base}/variables", json=body)
        text = one_job(['echo "guarded=<$GUARDED>"'])
        traces = []
        for branch in ("main", "feature"):
            pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": text, "b": branch}, branch=branch))
            traces.append(lab.ci.trace(jobs(lab, pipeline)["job"]["id"]).decode())
        assert "guarded=<abc>" in traces[0]
        assert "guarded=<>" in traces[1]

    run(tmp_path, scenario)


@pytest.mark.parametrize(("message", "options"), [("chore: x [skip ci]", ()), ("[CI-Skip] y", ()), ("z", ("ci.skip",))])
def test_a_skipped_push_leaves_a_skipped_pipeline_without_jobs(tmp_path, message, options):
    async def scenario(lab):
        pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": one_job(["true"])}, message, options=options))
        assert pipeline["status"] == "skipped"
        assert lab.ci.jobs_of(pipeline["id"]) == []

    run(tmp_path, scenario)


def test_push_options_give_variables(tmp_path):
    async def scenario(lab):
        text = one_job(['test "$COLOUR" = "dark=red"'])
        sha = await push(lab, {".gitlab-ci.yml": text}, options=("ci.variable=COLOUR=dark=red",))
        assert (await finished(lab, sha))["status"] == "success"

    run(tmp_path, scenario)


def test_a_broken_configuration_is_a_failed_pipeline_with_the_reason(tmp_path):
    async def scenario(lab):
        text = one_job(["x"], services=[{"name": "docker:dind", "privileged": True}])
        pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": text}))
        assert pipeline["status"] == "failed"
        assert pipeline["yaml_errors"] == "jobs:job:services:service config contains unknown keys: privileged"
        status, body = await lab.api("POST", f"{lab.base}/pipeline", json={"ref": "main"})
        assert status == 400
        assert body == {"message": {"base": [pipeline["yaml_errors"]]}}

    run(tmp_path, scenario)


def test_a_failing_command_ends_the_job_and_skips_what_follows(tmp_path):
    async def scenario(lab):
        text = yaml.safe_dump(
            {
                "stages": ["a", "b"],
                "bad": {
                    "stage": "a",
                    "script": ["(exit 3)", "echo not reached"],
                    "after_script": ["echo $CI_JOB_STATUS"],
                },
                "next": {"stage": "b", "script": ["true"]},
                "clean": {"stage": "b", "script": ["true"], "when": "on_failure"},
            }
        )
        pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": text}))
        found = jobs(lab, pipeline)
        trace = lab.ci.trace(found["bad"]["id"]).decode()
        assert pipeline["status"] == "failed"
        assert (found["bad"]["status"], found["bad"]["failure_reason"]) == ("failed", "script_failure")
        assert "ERROR: Job failed: exit code 3" in trace
        assert "not reached\n" not in trace.replace("$ echo not reached", "")
        assert "\nfailed\n" in trace
        assert found["next"]["status"] == "skipped"
        assert found["clean"]["status"] == "success"

    run(tmp_path, scenario)


def test_a_failed_job_is_retried_by_itself_and_by_hand(tmp_path):
    async def scenario(lab):
        text = yaml.safe_dump(
            {"job": {"script": ["exit 1"], "retry": 1}, "after": {"stage": "deploy", "script": ["true"]}}
        )
        pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": text}))
        rows = [job for job in lab.ci.jobs_of(pipeline["id"]) if job["name"] == "job"]
        assert [job["status"] for job in rows] == ["failed", "failed"]
        status, again = await lab.api("POST", f"{lab.base}/jobs/{rows[-1]['id']}/retry")
        assert status == 201
        assert again["id"] not in {job["id"] for job in rows}
        assert jobs(lab, pipeline)["after"]["status"] == "created"
        status, body = await lab.api("POST", f"{lab.base}/jobs/{rows[0]['id']}/retry")
        assert (status, body["message"]) == (403, "403 Forbidden - Job is not retryable")
        await until("end of the retry", lambda: jobs(lab, pipeline)["after"]["status"] == "skipped")

    run(tmp_path, scenario)


def test_canceling_kills_the_whole_process_group_and_runs_after_script(tmp_path):
    async def scenario(lab):
        script = ["sleep 300 & echo $! > $CI_PROJECT_DIR.pid; touch $CI_PROJECT_DIR.started; wait"]
        sha = await push(lab, {".gitlab-ci.yml": one_job(script, after_script=["echo after $CI_JOB_STATUS"])})
        place = lab.gitlab.config.data / "runner" / "builds" / "root"
        await until("started job", (place / "app.started").exists)
        job = next(iter(lab.ci.store.jobs.values()))
        status, body = await lab.api("POST", f"{lab.base}/jobs/{job.id}/cancel")
        assert (status, body["status"]) == (201, "canceling")
        assert (await finished(lab, sha))["status"] == "canceled"
        pid = int((place / "app.pid").read_text())
        await until("end of the child", lambda: not Path(f"/proc/{pid}").exists() or " Z " in stat(pid))
        assert "after canceled" in lab.ci.trace(job.id).decode()

    run(tmp_path, scenario)


def stat(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return " Z "


def test_a_job_that_takes_too_long_is_ended(tmp_path):
    async def scenario(lab):
        pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": one_job(["sleep 300"], timeout="1s")}))
        job = jobs(lab, pipeline)["job"]
        assert (job["status"], job["failure_reason"]) == ("failed", "job_execution_timeout")
        assert "execution took longer than 1s" in lab.ci.trace(job["id"]).decode()

    run(tmp_path, scenario)


def test_artifacts_and_dotenv_reach_later_jobs(tmp_path):
    async def scenario(lab):
        text = yaml.safe_dump(
            {
                "make": {
                    "stage": "build",
                    "script": [
                        "mkdir -p out/deep .hide",
                        "echo made > out/deep/file",
                        "echo h > .hide/h",
                        "echo A=1 > env",
                    ],
                    "artifacts": {"paths": ["out/", ".hide"], "reports": {"dotenv": "env"}},
                },
                "use": {"script": ["cat out/deep/file .hide/h", 'test "$A" = 1']},
                "none": {"script": ["test ! -e out"], "dependencies": []},
                "early": {"stage": "deploy", "script": ["cat out/deep/file"], "needs": ["make"]},
            }
        )
        pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": text}))
        traces = {name: lab.ci.trace(job["id"]).decode() for name, job in jobs(lab, pipeline).items()}
        assert pipeline["status"] == "success", traces
        made = jobs(lab, pipeline)["make"]["id"]
        assert await lab.api("GET", f"{lab.base}/jobs/{made}/artifacts/out/deep/file") == (200, "made\n")

    run(tmp_path, scenario)


def test_a_manual_job_waits_until_it_is_played(tmp_path):
    async def scenario(lab):
        text = yaml.safe_dump(
            {
                "ask": {"stage": "build", "script": ["echo $ANSWER"], "when": "manual", "allow_failure": False},
                "then": {"script": ["true"]},
            }
        )
        sha = await push(lab, {".gitlab-ci.yml": text})
        await until(
            "manual pipeline", lambda: [p for p in lab.ci.pipelines_of(lab.project.id) if p["status"] == "manual"]
        )
        job = next(job for job in lab.ci.store.jobs.values() if job.name == "ask")
        answer = {"job_variables_attributes": [{"key": "ANSWER", "value": "forty-two"}]}
        assert (await lab.api("POST", f"{lab.base}/jobs/{job.id}/play", json=answer))[0] == 200
        assert (await finished(lab, sha))["status"] == "success"
        assert "forty-two" in lab.ci.trace(job.id).decode()
        assert (await lab.api("POST", f"{lab.base}/jobs/{job.id}/play"))[0] == 400

    run(tmp_path, scenario)


def test_a_job_whose_tags_no_runner_has_stays_pending_until_one_has_them(tmp_path):
    async def scenario(lab):
        sha = await push(lab, {".gitlab-ci.yml": one_job(["true"], tags=["docker"])})
        await until("pending job", lambda: [j for j in lab.ci.store.jobs.values() if j.status == "pending"])
        assert lab.ci.queue.pick(lab.ci.store.runners[1]) is None
        status, body = await lab.api("PUT", "/runners/1", json={"tag_list": ["docker", "linux"]})
        assert (status, body["tag_list"]) == (200, ["docker", "linux"])
        assert (await finished(lab, sha))["status"] == "success"

    run(tmp_path, scenario)


def test_a_job_may_push_when_the_project_says_so_and_no_pipeline_comes_of_it(tmp_path):
    async def scenario(lab):
        name = "-c user.name=bot -c user.email=bot@x.y"
        script = [
            f"git {name} commit -q --allow-empty -m 'from the job'",
            "git push -q origin HEAD:refs/heads/from-job && echo pushed || echo refused",
        ]
        first = await finished(lab, await push(lab, {".gitlab-ci.yml": one_job(script)}))
        assert "refused" in lab.ci.trace(jobs(lab, first)["job"]["id"]).decode()
        allow = {"ci_push_repository_for_job_token_allowed": True}
        assert (await lab.api("PUT", lab.base, json=allow))[0] == 200
        second = await finished(lab, await push(lab, {"more": "1"}))
        assert "pushed" in lab.ci.trace(jobs(lab, second)["job"]["id"]).decode()
        assert [p["ref"] for p in lab.ci.pipelines_of(lab.project.id)] == ["main", "main"]

    run(tmp_path, scenario)


def test_the_token_is_worth_nothing_after_the_job(tmp_path):
    async def scenario(lab):
        text = one_job(["true"])
        await finished(lab, await push(lab, {".gitlab-ci.yml": text}))
        job = next(iter(lab.ci.store.jobs.values()))
        assert lab.ci.caller_of_job(job.token) is None
        assert lab.gitlab.access.basic("gitlab-ci-token", job.token) is None

    run(tmp_path, scenario)
