"""The runner protocol at the wire: statuses, headers and bodies of contracts C.1 and C.2."""

from __future__ import annotations

import asyncio
import time
import zlib

import pytest
import yaml
from ci_world import push, world
from eventually import until
from test_ci_engine import pipeline_of, take, token

from lab.emulator.ci import coverage, protocol

CONFIG = yaml.safe_dump(
    {
        "stages": ["build"],
        "default": {"image": "docker:29"},
        "variables": {"ROOT": "1", "RAW": {"value": "$ROOT", "expand": False}},
        "build": {
            "stage": "build",
            "services": [{"name": "docker:29-dind", "alias": "docker", "command": ["--tls=false"]}],
            "before_script": ["before"],
            "script": ["one", ["two"]],
            "after_script": ["after"],
            "timeout": "10 minutes",
            "artifacts": {"paths": ["out"], "expire_in": "1 day", "when": "always"},
        },
    }
)


def run(tmp_path, scenario):
    async def main():
        async with world(tmp_path) as lab:
            await scenario(lab)

    asyncio.run(main())


async def started(lab):
    await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": CONFIG}))
    payload = await take(lab, await token(lab))
    assert payload
    return payload


def call(lab, method, path, **more):
    return lab.session.request(method, f"{lab.gitlab.config.gitlab_url}/api/v4{path}", **more)


def test_the_payload(tmp_path):
    async def scenario(lab):
        sha = await push(lab, {".gitlab-ci.yml": CONFIG})
        pipeline = await pipeline_of(lab, sha)
        payload = await take(lab, await token(lab))
        url = lab.gitlab.config.gitlab_url
        host = url.partition("://")[2]
        assert payload["git_info"] == {
            "repo_url": f"http://gitlab-ci-token:{payload['token']}@{host}/root/app.git",
            "repo_object_format": "sha1",
            "ref": "main",
            "sha": sha,
            "before_sha": "0" * 40,
            "ref_type": "branch",
            "refspecs": ["+refs/pipelines/1:refs/pipelines/1", "+refs/heads/main:refs/remotes/origin/main"],
            "depth": 20,
            "protected": True,
        }
        assert payload["image"] == {"name": "docker:29"}
        assert payload["services"] == [{"name": "docker:29-dind", "alias": "docker", "command": ["--tls=false"]}]
        assert [(s["name"], s["script"], s["when"], s["allow_failure"]) for s in payload["steps"]] == [
            ("script", ["before", "one", "two"], "on_success", False),
            ("after_script", ["after"], "always", True),
        ]
        assert payload["runner_info"]["timeout"] == 600
        assert payload["artifacts"][0]["paths"] == ["out"]
        assert payload["artifacts"][0]["expire_in"] == "1 day"
        assert payload["credentials"] == [
            {
                "type": "registry",
                "url": lab.gitlab.config.registry,
                "username": "gitlab-ci-token",
                "password": payload["token"],
            }
        ]
        assert payload["job_info"]["project_full_path"] == "root/app"
        known = {row["key"]: row for row in payload["variables"]}
        expected = {
            "CI": "true", "GITLAB_CI": "true", "CI_COMMIT_SHA": sha, "CI_COMMIT_SHORT_SHA": sha[:8],
            "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_REF_SLUG": "main",
            "CI_COMMIT_BEFORE_SHA": "0" * 40, "CI_COMMIT_MESSAGE": "change\n", "CI_COMMIT_TITLE": "change",
            "CI_COMMIT_REF_PROTECTED": "true", "CI_DEFAULT_BRANCH": "main", "CI_PIPELINE_SOURCE": "push",
            "CI_PIPELINE_ID": str(pipeline.id), "CI_PIPELINE_IID": "1", "CI_JOB_NAME": "build", "CI_JOB_STAGE": "build",
            "CI_JOB_ID": str(payload["id"]), "CI_PROJECT_ID": "1", "CI_PROJECT_PATH": "root/app",
            "CI_PROJECT_NAME": "app", "CI_PROJECT_NAMESPACE": "root", "CI_PROJECT_PATH_SLUG": "root-app",
            "CI_PROJECT_URL": f"{url}/root/app", "CI_PROJECT_VISIBILITY": "private", "CI_SERVER_URL": url,
            "CI_SERVER_HOST": "127.0.0.1", "CI_SERVER_PROTOCOL": "http", "CI_API_V4_URL": f"{url}/api/v4",
            "CI_REGISTRY": "127.0.0.1:5050", "CI_REGISTRY_IMAGE": "127.0.0.1:5050/root/app",
            "CI_REGISTRY_USER": "gitlab-ci-token", "CI_REGISTRY_PASSWORD": payload["token"],
            "CI_JOB_TOKEN": payload["token"], "GITLAB_USER_LOGIN": "root", "ROOT": "1", "RAW": "$ROOT",
            "CI_CONFIG_PATH": ".gitlab-ci.yml",
        }  # fmt: skip
        assert {key: known[key]["value"] for key in expected} == expected
        assert "CI_COMMIT_TAG" not in known
        assert (known["CI_JOB_TOKEN"]["masked"], known["CI_JOB_TOKEN"]["public"]) == (True, False)
        assert known["RAW"]["raw"]

    run(tmp_path, scenario)


def test_a_held_request_answers_as_soon_as_there_is_a_job(tmp_path):
    async def scenario(lab):
        running = await token(lab)
        async with call(lab, "POST", "/jobs/request", json={"token": running}) as response:
            assert response.status == 204
            seen = response.headers["X-GitLab-Last-Update"]
        body = {"token": running, "last_update": seen, "system_id": "s_1"}
        held = asyncio.create_task(take(lab, running, **body))
        await until("held request", lambda: lab.ci.queue._waiting)
        sha = await push(lab, {".gitlab-ci.yml": CONFIG})
        payload = await asyncio.wait_for(held, 5)
        assert payload["git_info"]["sha"] == sha

    run(tmp_path, scenario)


def test_a_runner_that_hung_up_gets_no_job(tmp_path, monkeypatch):
    requests, gone = [], protocol._gone
    monkeypatch.setattr(protocol, "_gone", lambda request: requests.append(request) or gone(request))

    async def scenario(lab):
        running = await token(lab)
        body = {"token": running, "last_update": lab.ci.queue.value}
        held = asyncio.create_task(take(lab, running, **body))
        await until("held request", lambda: lab.ci.queue._waiting)
        lab.ci.queue.changed()
        await until("a look at the request", lambda: requests)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        await until("the end of the connection at the server", lambda: gone(requests[0]))
        await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": CONFIG}))
        assert await take(lab, running)

    run(tmp_path, scenario)


def test_tokens_are_checked(tmp_path):
    async def scenario(lab):
        running = await token(lab)
        for path in ("/jobs/request", "/runners/verify"):
            async with call(lab, "POST", path, json={"token": "glrt-wrong"}) as response:
                assert (response.status, await response.json()) == (403, {"message": "403 Forbidden"})
        async with call(lab, "POST", "/runners/verify", json={"token": running, "system_id": "s"}) as response:
            assert await response.json() == {"id": 1, "token": running, "token_expires_at": None}
        async with call(lab, "POST", "/runners/reset_authentication_token", json={"token": running}) as response:
            fresh = (await response.json())["token"]
            assert response.status == 201
        async with call(lab, "DELETE", "/runners", json={"token": running}) as response:
            assert response.status == 403
        async with call(lab, "DELETE", "/runners", json={"token": fresh}) as response:
            assert response.status == 204
        assert lab.ci.store.runners == {}

    run(tmp_path, scenario)


def test_traces_are_appended_where_they_end(tmp_path):
    async def scenario(lab):
        payload = await started(lab)
        path = f"/jobs/{payload['id']}/trace"
        headers = {"JOB-TOKEN": payload["token"]}
        async with call(lab, "PATCH", path, data=b"x", headers=headers) as response:
            assert (response.status, await response.json()) == (400, {"error": "400 Missing header Content-Range"})
        async with call(lab, "PATCH", path, data=b"hello", headers={**headers, "Content-Range": "0-4"}) as response:
            assert (response.status, response.headers["Range"]) == (202, "0-5")
            assert response.headers["Job-Status"] == "running"
            assert response.headers["X-GitLab-Trace-Update-Interval"] == "3"
        async with call(lab, "PATCH", path, data=b"!", headers={**headers, "Content-Range": "3-3"}) as response:
            assert (response.status, response.headers["Range"]) == (416, "0-5")
        async with call(lab, "PATCH", path, data=b" you", headers={**headers, "Content-Range": "5-8"}) as response:
            assert response.status == 202
        assert lab.ci.trace(payload["id"]) == b"hello you"
        async with call(lab, "PATCH", path, data=b"x", headers={"JOB-TOKEN": "no", "Content-Range": "9-9"}) as response:
            assert response.status == 403

    run(tmp_path, scenario)


def test_the_end_of_a_job_checks_the_trace(tmp_path):
    async def scenario(lab):
        payload = await started(lab)
        headers = {"JOB-TOKEN": payload["token"], "Content-Range": "0-4"}
        await lab.api("PATCH", f"/jobs/{payload['id']}/trace", data=b"hellO", headers=headers)
        output = {"checksum": f"crc32:{zlib.crc32(b'hello'):08x}", "bytesize": 5}
        body = {"token": payload["token"], "state": "success", "output": output}
        assert (await lab.api("PUT", f"/jobs/{payload['id']}", json=body))[0] == 412
        await lab.api("PATCH", f"/jobs/{payload['id']}/trace", data=b"hello", headers=headers)
        async with call(lab, "PUT", f"/jobs/{payload['id']}", json=body) as response:
            assert (response.status, response.headers["Job-Status"]) == (200, "success")
        async with call(lab, "PUT", f"/jobs/{payload['id']}", json=body) as response:
            assert (response.status, response.headers["Job-Status"]) == (403, "success")

    run(tmp_path, scenario)


@pytest.mark.parametrize("graceful", [True, False])
def test_canceling_tells_the_runner(tmp_path, graceful):
    async def scenario(lab):
        await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": CONFIG}))
        info = {"features": {"cancel_gracefully": graceful}, "version": "19.3.0", "name": "gitlab-runner"}
        payload = await take(lab, await token(lab), info=info)
        _, body = await lab.api("POST", f"{lab.base}/jobs/{payload['id']}/cancel")
        assert body["status"] == ("canceling" if graceful else "canceled")
        end = {"token": payload["token"], "state": "failed", "failure_reason": "job_canceled"}
        async with call(lab, "PUT", f"/jobs/{payload['id']}", json={**end, "state": "running"}) as response:
            assert response.status == (200 if graceful else 403)
            assert response.headers["Job-Status"] == body["status"]
        if graceful:
            await lab.api("PUT", f"/jobs/{payload['id']}", json=end)
        assert lab.ci.store.jobs[payload["id"]].status == "canceled"
        assert (await lab.api("GET", "/runners/1"))[1]["version"] == "19.3.0"

    run(tmp_path, scenario)


def test_a_runners_contact_is_shown(tmp_path):
    async def scenario(lab):
        running = await token(lab)
        before = (await lab.api("GET", "/runners/1"))[1]
        assert (before["status"], before["contacted_at"], before["online"]) == ("never_contacted", None, None)
        await take(lab, running)
        after = (await lab.api("GET", "/runners/1"))[1]
        assert (after["status"], after["online"]) == ("online", True)
        assert (await lab.api("GET", "/runners/1/managers"))[1][0]["system_id"] == "s_test"
        lab.ci.store.runners[1].contacted_at = time.time() - 2 * 3600 - 1
        assert (await lab.api("GET", "/runners/1"))[1]["status"] == "offline"

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("settings", "branch", "gets"),
    [
        ({"paused": True}, "main", False),
        ({"run_untagged": False, "tag_list": ["x"]}, "main", False),
        ({"access_level": "ref_protected"}, "main", True),
        ({"access_level": "ref_protected"}, "other", False),
        ({"tag_list": ["x"]}, "main", True),
    ],
)
def test_which_runner_gets_the_job(tmp_path, settings, branch, gets):
    async def scenario(lab):
        running = await token(lab, **settings)
        await push(lab, {"README": "x"})
        await pipeline_of(lab, await push(lab, {".gitlab-ci.yml": CONFIG}, branch=branch))
        assert (await take(lab, running) is not None) is gets

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("expression", "trace", "expected"),
    [
        (r"/TOTAL.*\s(\d+)%/", "TOTAL 10 2 80%\nTOTAL 10 1 90%\nend", 90.0),
        (r"/\d+\.\d+% covered/", "x\n12.5% covered", 12.5),
        (r"/nothing/", "12%", None),
        (None, "12%", None),
        ("/(/", "12%", None),
    ],
)
def test_coverage_is_read_from_the_trace(expression, trace, expected):
    assert coverage.found(trace.encode(), expression) == expected
