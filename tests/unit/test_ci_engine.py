"""Resource groups, redundant pipelines, retries and restarts, with runners that a test plays itself."""

from __future__ import annotations

import asyncio
import time

import pytest
import yaml
from ci_world import finished, jobs, push, runner, world
from eventually import until

from lab.emulator.ci import server as ci_server

GROUPED = yaml.safe_dump({"stages": ["a", "b"], "first": {"stage": "a", "script": ["x"]}, "deploy": {
    "stage": "b", "script": ["x"], "resource_group": "prod-$CI_COMMIT_BRANCH"}})  # fmt: skip


def run(tmp_path, scenario):
    async def main():
        async with world(tmp_path) as lab:
            await scenario(lab)

    asyncio.run(main())


async def pipeline_of(lab, sha):
    """The stored pipeline of a pushed commit, as soon as it is there."""
    return await until("pipeline", lambda: next((p for p in lab.ci.store.pipelines.values() if p.sha == sha), None))


async def token(lab, **settings):
    body = {"runner_type": "project_type", "project_id": lab.project.id, **settings}
    return (await lab.api("POST", "/user/runners", json=body))[1]["token"]


async def take(lab, runner_token, **more):
    """Ask for a job as a runner does; the payload or None."""
    body = {"token": runner_token, "system_id": "s_test", **more}
    status, answer = await lab.api("POST", "/jobs/request", json=body)
    return answer if status == 201 else None


async def end(lab, payload, state="success", **more):
    body = {"token": payload["token"], "state": state, **more}
    return (await lab.api("PUT", f"/jobs/{payload['id']}", json=body))[0]


def job(lab, pipeline, name):
    return next(j for j in lab.ci.store.jobs_of(pipeline.id) if j.name == name)


def test_one_job_of_a_group_at_a_time_in_the_order_of_the_mode(tmp_path):
    async def scenario(lab):
        running = await token(lab)
        lines = [await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": GROUPED, "n": "1"}))]
        first = await take(lab, running)
        lines.append(await pipeline_of(lab, await push(lab, {"n": "2"})))
        second = await take(lab, running)
        status, body = await lab.api(
            "PUT", f"{lab.base}/resource_groups/prod-main", json={"process_mode": "oldest_first"}
        )
        assert (status, body["process_mode"]) == (200, "oldest_first")
        await end(lab, second)
        newer = job(lab, lines[1], "deploy")
        assert newer.status == "waiting_for_resource", "the older pipeline has not had its turn"
        assert lines[1].status == "waiting_for_resource"
        await end(lab, first)
        older = job(lab, lines[0], "deploy")
        assert (older.status, newer.status) == ("pending", "waiting_for_resource")
        status, upcoming = await lab.api("GET", f"{lab.base}/resource_groups/prod-main/upcoming_jobs")
        assert [row["id"] for row in upcoming] == [newer.id]
        taken = await take(lab, running)
        assert taken["id"] == older.id
        assert await take(lab, running) is None
        await end(lab, taken, "failed", failure_reason="script_failure")
        assert newer.status == "pending"

    run(tmp_path, scenario)


def test_newest_first_lets_the_newer_pipeline_go_before(tmp_path):
    async def scenario(lab):
        running = await token(lab)
        older = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": GROUPED, "n": "1"}))
        first = await take(lab, running)
        newer = await pipeline_of(lab, await push(lab, {"n": "2"}))
        second = await take(lab, running)
        await lab.api("PUT", f"{lab.base}/resource_groups/prod-main", json={"process_mode": "newest_first"})
        await end(lab, first)
        assert job(lab, older, "deploy").status == "waiting_for_resource"
        await end(lab, second)
        assert job(lab, newer, "deploy").status == "pending"
        lab.ci.engine.cancel(job(lab, newer, "deploy"))
        assert job(lab, older, "deploy").status == "pending"

    run(tmp_path, scenario)


def test_a_newer_push_cancels_an_older_pipeline_that_has_not_begun(tmp_path):
    async def scenario(lab):
        older = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": GROUPED, "n": "1"}))
        newer = await pipeline_of(lab, await push(lab, {"n": "2"}))
        assert (older.status, older.auto_canceled_by, newer.status) == ("canceled", newer.id, "pending")
        assert await take(lab, await token(lab))
        third = await pipeline_of(lab, await push(lab, {"n": "3"}))
        assert newer.status == "running", "a job that may not be interrupted has begun"
        assert third.status == "pending"

    run(tmp_path, scenario)


def test_retry_waits_for_the_reasons_it_names(tmp_path):
    text = yaml.safe_dump({"job": {"script": ["x"], "retry": {"max": 2, "when": "runner_system_failure"}}})

    async def scenario(lab):
        running = await token(lab)
        pipeline = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": text}))
        await end(lab, await take(lab, running), "failed", failure_reason="runner_system_failure")
        await end(lab, await take(lab, running), "failed", failure_reason="script_failure")
        assert await take(lab, running) is None
        assert pipeline.status == "failed"
        status, body = await lab.api("POST", f"{lab.base}/pipelines/{pipeline.id}/retry")
        assert (status, body["status"]) == (201, "pending")
        status, rows = await lab.api("GET", f"{lab.base}/pipelines/{pipeline.id}/jobs?include_retried=true")
        assert [row["status"] for row in rows] == ["pending", "failed", "failed"]
        assert len((await lab.api("GET", f"{lab.base}/pipelines/{pipeline.id}/jobs"))[1]) == 1

    run(tmp_path, scenario)


def test_allowed_exit_codes_make_a_warning(tmp_path):
    text = yaml.safe_dump({"job": {"script": ["x"], "allow_failure": {"exit_codes": [3]}}})

    async def scenario(lab):
        running = await token(lab)
        pipeline = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": text}))
        await end(lab, await take(lab, running), "failed", failure_reason="script_failure", exit_code=3)
        assert lab.ci.present.pipeline(pipeline, lab.project)["detailed_status"]["text"] == "Warning"
        other = await pipeline_of(lab, await push(lab, {"n": "2"}))
        await end(lab, await take(lab, running), "failed", failure_reason="script_failure", exit_code=1)
        assert (pipeline.status, other.status) == ("success", "failed")

    run(tmp_path, scenario)


def test_a_delayed_job_starts_by_itself(tmp_path):
    text = yaml.safe_dump({"job": {"script": ["x"], "when": "delayed", "start_in": "1 second"}})

    async def scenario(lab):
        pipeline = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": text}))
        assert pipeline.status == "scheduled"
        await until("start", lambda: job(lab, pipeline, "job").status == "pending")

    run(tmp_path, scenario)


def test_parallel_jobs_know_their_number(tmp_path):
    text = yaml.safe_dump({"job": {"script": ["x"], "parallel": 2}, "last": {
        "stage": "deploy", "script": ["x"], "needs": ["job"]}})  # fmt: skip

    async def scenario(lab):
        running = await token(lab)
        pipeline = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": text}))
        taken = [await take(lab, running), await take(lab, running)]
        known = [{v["key"]: v["value"] for v in payload["variables"]} for payload in taken]
        assert [(v["CI_JOB_NAME"], v["CI_NODE_INDEX"], v["CI_NODE_TOTAL"]) for v in known] == [
            ("job 1/2", "1", "2"), ("job 2/2", "2", "2"),
        ]  # fmt: skip
        assert taken[0]["token"] != taken[1]["token"]
        for payload in taken:
            await end(lab, payload)
        assert job(lab, pipeline, "last").status == "pending"

    run(tmp_path, scenario)


def test_everything_survives_a_restart(tmp_path):
    async def before():
        async with world(tmp_path) as lab:
            running = await token(lab, description="mine", tag_list=["a"])
            await lab.api("POST", f"{lab.base}/variables", json={"key": "A", "value": "1"})
            pipeline = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": GROUPED}))
            payload = await take(lab, running)
            headers = {"JOB-TOKEN": payload["token"], "Content-Range": "0-4"}
            await lab.api("PATCH", f"/jobs/{payload['id']}/trace", data=b"hello", headers=headers)
            return running, pipeline.id, payload

    async def after(running, pipeline_id, payload):
        async with world(tmp_path) as lab:
            pipeline = lab.ci.store.pipelines[pipeline_id]
            assert pipeline.status == "running"
            assert lab.ci.caller_of_job(payload["token"])
            assert lab.ci.trace(payload["id"]) == b"hello"
            assert (await lab.api("GET", f"{lab.base}/variables/A"))[1]["value"] == "1"
            assert await end(lab, payload) == 200
            assert (await take(lab, running))["job_info"]["name"] == "deploy"

    asyncio.run(after(*asyncio.run(before())))


def test_a_job_whose_runner_is_gone_after_a_restart_fails_and_can_be_retried(tmp_path, monkeypatch):
    async def before():
        async with world(tmp_path) as lab:
            await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": GROUPED}))
            assert await take(lab, await token(lab))

    async def after():
        async with world(tmp_path) as lab, runner(lab):
            pipeline = next(iter(lab.ci.store.pipelines.values()))
            await until("failure", lambda: pipeline.status == "failed")
            lost = job(lab, pipeline, "first")
            assert (lost.status, lost.failure_reason) == ("failed", "runner_system_failure")
            assert (await lab.api("POST", f"{lab.base}/pipelines/{pipeline.id}/retry"))[0] == 201
            await until("a second try", lambda: job(lab, pipeline, "first").failure_reason == "script_failure")

    asyncio.run(before())
    monkeypatch.setattr(ci_server, "SILENT_AFTER_RESTART", 0.1)
    monkeypatch.setattr(ci_server, "_WATCH_EVERY", 0.05)
    asyncio.run(after())


def test_a_push_noted_before_a_crash_gets_its_pipeline_after_it(tmp_path, monkeypatch):
    async def before():
        async with world(tmp_path) as lab:
            monkeypatch.setattr(lab.ci.creator, "create", lambda *_: asyncio.sleep(100))
            sha = await push(lab, {".gitlab-ci.yml": GROUPED})
            await until("note", lab.ci.store.pushes)
            return sha

    async def after(sha):
        async with world(tmp_path) as lab:
            assert (await pipeline_of(lab, sha)).source == "push"
            await until("end of the note", lambda: not lab.ci.store.pushes())

    asyncio.run(after(asyncio.run(before())))


@pytest.mark.parametrize("removed", ["runner", "project"])
def test_what_is_removed_ends_its_jobs(tmp_path, removed):
    async def scenario(lab):
        running = await token(lab)
        await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": GROUPED}))
        payload = await take(lab, running)
        if removed == "runner":
            assert (await lab.api("DELETE", "/runners/1"))[0] == 204
            assert (await lab.api("POST", "/jobs/request", json={"token": running}))[0] == 403
        else:
            lab.ci.store.forget_project(lab.project.id)
            assert lab.ci.caller_of_job(payload["token"]) is None
            assert await end(lab, payload) == 403
            assert lab.ci.runners() == []

    run(tmp_path, scenario)


def test_the_pipelines_own_ref_goes_when_it_ends(tmp_path):
    async def scenario(lab):
        async with runner(lab):
            text = yaml.safe_dump({"job": {"script": ["git log -1 --format=%H"]}})
            sha = await push(lab, {".gitlab-ci.yml": text})
            pipeline = await finished(lab, sha)
            assert sha in lab.ci.trace(jobs(lab, pipeline)["job"]["id"]).decode()

            async def refs():
                return not await lab.gitlab.repositories.refs(lab.project, "refs/pipelines")

            await until("end of the ref", refs)
            again = (await lab.api("POST", f"{lab.base}/jobs/{jobs(lab, pipeline)['job']['id']}/retry"))[1]
            await until("retry", lambda: lab.ci.store.jobs[again["id"]].status == "success")

    run(tmp_path, scenario)


def test_expired_artifacts_go_unless_they_are_the_latest(tmp_path):
    text = yaml.safe_dump({"job": {"script": ["echo x > f"], "artifacts": {"paths": ["f"], "expire_in": "1 hour"}}})

    async def scenario(lab):
        async with runner(lab):
            first = jobs(lab, await finished(lab, await push(lab, {".gitlab-ci.yml": text})))["job"]
            kept = lab.ci.store.jobs[first["id"]]
            lab.ci.store.drop_expired(time.time() + 3601)
            assert kept.artifacts
            await finished(lab, await push(lab, {"n": "2"}))
            lab.ci.store.drop_expired(time.time() + 3590)
            assert kept.artifacts
            lab.ci.store.drop_expired(time.time() + 3601)
            assert not kept.artifacts
            assert (await lab.api("GET", f"{lab.base}/jobs/{kept.id}/artifacts"))[0] == 404

    run(tmp_path, scenario)
