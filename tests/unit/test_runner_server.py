"""The runner as a whole: settings that change, jobs at once, GitLab's restarts, its own death."""

from __future__ import annotations

import asyncio
import json

import yaml
from ci_world import finished, jobs, push, runner, world
from eventually import until
from ports import free_port
from test_ci_engine import pipeline_of, take, token

from lab.emulator.config import Config
from lab.emulator.runner import script
from lab.emulator.runner.server import Runner


def waiting_job(folder, name="job"):
    """A job that ends when a file appears."""
    return {"script": [f"touch {folder}/{name}-started", f"until test -e {folder}/go; do sleep 0.02; done; echo went"]}


def test_settings_take_effect_when_they_change(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab:
            settings = lab.gitlab.config.data / "runner" / "config.toml"
            asking = Runner(lab.gitlab.config)
            await asking.start()
            try:
                running = await token(lab)
                settings.write_text(
                    f'[[runners]]\nname = "late"\nurl = "{lab.gitlab.config.gitlab_url}"\ntoken = "{running}"\n'
                )
                asking.reload()
                pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": "job: {script: 'true'}"}))
                assert pipeline["status"] == "success"
                settings.write_text("this is = no = toml")
                asking.reload()
                assert asking._polls, "a broken file keeps what was read before"
                settings.write_text("")
                asking.reload()
                assert not asking._polls
            finally:
                await asking.stop()

    asyncio.run(scenario())


def test_a_runner_keeps_its_system_id_and_makes_one_where_it_was_lost(tmp_path):
    def known():
        async def started():
            asking = Runner(Config(data=tmp_path))
            await asking.start()
            await asking.stop()
            return asking._system_id

        return asyncio.run(started())

    first = known()
    assert first.startswith("s_")
    assert known() == first
    (tmp_path / "runner/.runner_system_id").write_text("")
    assert known().startswith("s_")


def test_jobs_of_one_project_run_at_once_in_folders_of_their_own(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab, runner(lab):
            text = yaml.safe_dump({name: waiting_job(tmp_path, name) for name in ("one", "two")})
            sha = await push(lab, {".gitlab-ci.yml": text})
            await until("both", lambda: all((tmp_path / f"{name}-started").exists() for name in ("one", "two")))
            assert {job.status for job in lab.ci.store.jobs.values()} == {"running"}
            (tmp_path / "go").touch()
            assert (await finished(lab, sha))["status"] == "success"
            builds = lab.gitlab.config.data / "runner" / "builds"
            assert (builds / "root/app/.git").is_dir()
            assert (builds / ".1/root/app/.git").is_dir()

    asyncio.run(scenario())


def test_a_job_goes_on_while_gitlab_restarts(tmp_path):
    port = free_port()

    async def scenario():
        asking = None
        try:
            async with world(tmp_path, port=port) as lab:
                running = await token(lab)
                config = lab.gitlab.config
                (config.data / "runner").mkdir()
                (config.data / "runner/config.toml").write_text(
                    f'[[runners]]\nurl = "{config.gitlab_url}"\ntoken = "{running}"\n'
                )
                asking = Runner(config)
                await asking.start()
                sha = await push(lab, {".gitlab-ci.yml": yaml.safe_dump({"job": waiting_job(tmp_path)})})
                await until("start", (tmp_path / "job-started").exists)
            (tmp_path / "go").touch()
            async with world(tmp_path, port=port) as lab:
                pipeline = await finished(lab, sha)
                assert pipeline["status"] == "success"
                assert "went" in lab.ci.trace(jobs(lab, pipeline)["job"]["id"]).decode()
        finally:
            if asking:
                await asking.stop()

    asyncio.run(scenario())


def test_stopping_the_runner_fails_its_jobs_at_once(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab:
            async with runner(lab):
                sha = await push(lab, {".gitlab-ci.yml": yaml.safe_dump({"job": waiting_job(tmp_path)})})
                await until("start", (tmp_path / "job-started").exists)
            job = jobs(lab, await finished(lab, sha))["job"]
            assert (job["status"], job["failure_reason"]) == ("failed", "runner_system_failure")
            assert not list((lab.gitlab.config.data / "runner/jobs").glob("*"))
            assert not list((lab.gitlab.config.data / "runner/children").glob("*"))

    asyncio.run(scenario())


def test_jobs_of_a_killed_runner_are_reported_when_it_comes_back(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab:
            running = await token(lab)
            pipeline = await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": "job: {script: 'true'}"}))
            payload = await take(lab, running)
            records = lab.gitlab.config.data / "runner" / "jobs"
            records.mkdir(parents=True)
            url = lab.gitlab.config.gitlab_url
            lost = {"url": url, "runner": running, "id": payload["id"], "token": payload["token"]}
            (records / f"{payload['id']}.json").write_text(json.dumps(lost))
            (records / "99.json").write_text("{half of a rec")
            asking = Runner(lab.gitlab.config)
            await asking.start()
            try:
                await until("report", lambda: pipeline.status == "failed")
                await until("end of the records", lambda: not list(records.glob("*.json")))
            finally:
                await asking.stop()
            assert lab.ci.store.jobs[payload["id"]].failure_reason == "runner_system_failure"

    asyncio.run(scenario())


def test_a_defect_of_the_runner_fails_its_job_at_once(tmp_path, monkeypatch):
    async def scenario():
        async with world(tmp_path) as lab, runner(lab):
            monkeypatch.setattr(script, "commands", lambda *_, **__: {}["no such key"])
            pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": "job: {script: 'true'}"}))
            job = jobs(lab, pipeline)["job"]
            assert (job["status"], job["failure_reason"]) == ("failed", "runner_system_failure")
            assert b"Job failed (system failure)" in lab.ci.trace(job["id"])

    asyncio.run(scenario())


def test_the_docker_command_is_the_emulated_one(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab, runner(lab):
            script = ["command -v docker", 'echo "store=$LAB_DOCKER_STORE"', "docker info >/dev/null && echo answered"]
            pipeline = await finished(
                lab, await push(lab, {".gitlab-ci.yml": yaml.safe_dump({"job": {"script": script}})})
            )
            trace = lab.ci.trace(jobs(lab, pipeline)["job"]["id"]).decode()
            folder = lab.gitlab.config.data / "runner"
            assert f"\n{folder}/bin/docker\n" in trace
            assert f"store={folder}/docker" in trace
            assert "answered" in trace

    asyncio.run(scenario())


def test_the_trace_says_what_is_not_real(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab, runner(lab):
            job = {"image": "docker:29", "services": ["docker:29-dind"], "script": ["true"]}
            pipeline = await finished(lab, await push(lab, {".gitlab-ci.yml": yaml.safe_dump({"job": job})}))
            trace = lab.ci.trace(jobs(lab, pipeline)["job"]["id"]).decode()
            assert "without a container's walls" in trace
            assert "not emulated: image docker:29 is not started" in trace
            assert "not emulated: service docker:29-dind is not started" in trace

    asyncio.run(scenario())


def test_a_cache_is_kept_for_the_next_job(tmp_path):
    async def scenario():
        async with world(tmp_path) as lab, runner(lab):
            job = {
                "cache": {"key": "k-$CI_COMMIT_REF_SLUG", "paths": ["kept/"]},
                "script": ["cat kept/f || echo nothing yet", "mkdir -p kept && echo from-before > kept/f"],
            }
            traces = []
            for number in ("1", "2"):
                files = {".gitlab-ci.yml": yaml.safe_dump({"job": job}), "n": number}
                pipeline = await finished(lab, await push(lab, files))
                traces.append(lab.ci.trace(jobs(lab, pipeline)["job"]["id"]).decode())
            assert "nothing yet\n" in traces[0]
            assert "Created cache k-main-protected of 1 files" in traces[0]
            assert "\nfrom-before\n" in traces[1]

    asyncio.run(scenario())
