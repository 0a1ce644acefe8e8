"""Webhooks: what fires, what is sent, what is recorded, and where GitLab refuses to send."""

from __future__ import annotations

import asyncio

import pytest
from gitlab_server import config, receiver, running

from lab.emulator.database import Database
from lab.emulator.gitlab.hooks import Hooks
from lab.emulator.gitlab.local_network import BlockedError, UrlBlocker
from lab.emulator.gitlab.settings import Settings

_OPEN = {"allow_local_requests_from_web_hooks_and_services": True}


def _run(scenario, tmp_path, status=200):
    async def main():
        async with running(tmp_path) as client, receiver(status) as (url, arrived):
            await client("PUT", "/application/settings", _OPEN)
            project = await client.project()
            await scenario(client, project, url, arrived)

    asyncio.run(asyncio.wait_for(main(), 60))


async def _hook(client, url, **more):
    status, hook = await client("POST", "/projects/1/hooks", {"url": url, **more})
    assert status == 201, hook
    return hook


async def _idle(client):
    """Wait until every delivery has ended."""
    while client.gitlab.tasks._tasks:
        await asyncio.wait(set(client.gitlab.tasks._tasks))  # unlike gather it lets the loop go on when all have ended


async def _pushed(client, project, *refs):
    folder = client.folder / "work"
    if not folder.exists():
        await client.checkout(project)
    await client.git("push", "-q", "origin", *(refs or ("master",)), cwd=folder)
    await _idle(client)
    return folder


def test_a_push_is_delivered_and_recorded(tmp_path):
    async def scenario(client, project, url, arrived):
        hook = await _hook(client, url, token="se\ncret", enable_ssl_verification=False)
        assert "token" not in hook
        folder = await _pushed(client, project)
        (folder / "app.py").unlink()
        sha = await client.commit(folder, "k8s/x.yaml", "a: 1\n", "chore: update [skip ci]")
        await _pushed(client, project)
        await arrived.get()
        headers, body = arrived.get_nowait()
        assert headers["X-Gitlab-Event"] == "Push Hook"
        assert headers["X-Gitlab-Token"] == "secret"
        assert headers["X-Gitlab-Instance"] == client.url
        assert headers["User-Agent"].startswith("GitLab/")
        for name in ("Idempotency-Key", "X-Gitlab-Webhook-UUID", "X-Gitlab-Event-UUID"):
            assert headers[name]
        assert (body["object_kind"], body["ref"], body["after"]) == ("push", "refs/heads/master", sha)
        assert body["project"]["web_url"] == project["web_url"]
        assert body["project"]["default_branch"] == "master"
        commit = body["commits"][0]
        assert (commit["added"], commit["modified"], commit["removed"]) == (["k8s/x.yaml"], [], ["app.py"])
        _, events = await client("GET", f"/projects/1/hooks/{hook['id']}/events")
        assert [event["request_data"]["after"] for event in events] == [sha, body["before"]]
        event = events[0]
        assert (event["trigger"], event["response_status"], event["response_body"]) == ("push_hooks", "200", "thanks")
        assert event["request_headers"]["X-Gitlab-Token"] == "[REDACTED]"
        assert event["execution_duration"] > 0

    _run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("options", "fires"),
    [
        ({"push_events_branch_filter": "k8s-config"}, ["k8s-config"]),
        ({"push_events_branch_filter": "k8s-*"}, ["k8s-config"]),
        ({"push_events_branch_filter": "^mas", "branch_filter_strategy": "regex"}, ["master"]),
        ({"push_events_branch_filter": "x", "branch_filter_strategy": "all_branches"}, ["master", "k8s-config"]),
        ({"push_events": False, "tag_push_events": True}, []),
    ],
)
def test_filters(tmp_path, options, fires):
    async def scenario(client, project, url, arrived):
        await _hook(client, url, **options)
        await _pushed(client, project)
        await _pushed(client, project, "master:k8s-config")
        seen = [arrived.get_nowait()[1]["ref"].removeprefix("refs/heads/") for _ in range(arrived.qsize())]
        assert seen == fires

    _run(scenario, tmp_path)


def test_tags_have_their_own_event(tmp_path):
    async def scenario(client, project, url, arrived):
        await _hook(client, url, push_events=False, tag_push_events=True)
        await _pushed(client, project)
        await _pushed(client, project, "master:refs/tags/v1")
        headers, body = arrived.get_nowait()
        assert headers["X-Gitlab-Event"] == "Tag Push Hook"
        assert (body["object_kind"], body["ref"]) == ("tag_push", "refs/tags/v1")

    _run(scenario, tmp_path)


def test_more_than_three_refs_in_one_push_fire_nothing(tmp_path):
    async def scenario(client, project, url, arrived):
        await _pushed(client, project)
        await _hook(client, url)
        await _pushed(client, project, *(f"master:b{number}" for number in range(4)))
        assert arrived.empty()
        await _pushed(client, project, *(f"master:c{number}" for number in range(3)), ":b0")
        assert arrived.qsize() == 4

    _run(scenario, tmp_path)


def test_commits_through_the_api_fire_hooks_too(tmp_path):
    async def scenario(client, project, url, arrived):
        await _pushed(client, project)
        await _hook(client, url)
        body = {"branch": "master", "content": "x", "commit_message": "api [skip ci]"}
        await client("POST", "/projects/1/repository/files/a.txt", body)
        await _idle(client)
        assert arrived.get_nowait()[1]["commits"][0]["added"] == ["a.txt"]

    _run(scenario, tmp_path)


def test_test_and_resend(tmp_path):
    async def scenario(client, project, url, arrived):
        hook = await _hook(client, url)
        base = f"/projects/1/hooks/{hook['id']}"
        status, body = await client("POST", f"{base}/test/push_events")
        assert (status, body["message"]) == (422, "Ensure the project has at least one commit.")
        await _pushed(client, project)
        arrived.get_nowait()
        assert await client("POST", f"{base}/test/push_events") == (201, {"message": "201 Created"})
        assert arrived.get_nowait()[1]["ref"] == "refs/heads/master"
        _, events = await client("GET", f"{base}/events")
        key = events[0]["request_headers"]["Idempotency-Key"]
        assert await client("POST", f"{base}/events/{events[0]['id']}/resend") == (201, {"response_status": 200})
        headers, body = arrived.get_nowait()
        assert headers["Idempotency-Key"] == key
        assert body == events[0]["request_data"]
        for _ in range(3):
            await client("POST", f"{base}/test/push_events")
        assert (await client("POST", f"{base}/test/push_events"))[0] == 429

    _run(scenario, tmp_path)


def test_a_redirect_looks_green_in_the_log_but_fails_the_test(tmp_path):
    async def scenario(client, project, url, _arrived):
        hook = await _hook(client, url)
        await _pushed(client, project)
        status, body = await client("POST", f"/projects/1/hooks/{hook['id']}/test/push_events")
        assert (status, body["message"]) == (422, "thanks")
        _, events = await client("GET", f"/projects/1/hooks/{hook['id']}/events")
        assert {event["response_status"] for event in events} == {"302"}

    _run(scenario, tmp_path, status=302)


def test_a_dead_target_is_an_internal_error(tmp_path):
    async def scenario(client, project, _url, _arrived):
        hook = await _hook(client, "http://127.0.0.1:1/hook")
        await _pushed(client, project)
        _, events = await client("GET", f"/projects/1/hooks/{hook['id']}/events")
        assert (events[0]["response_status"], events[0]["response_body"]) == ("internal error", "")
        _, events = await client("GET", f"/projects/1/hooks/{hook['id']}/events?status=successful")
        assert events == []
        status, body = await client("POST", f"/projects/1/hooks/{hook['id']}/test/push_events")
        assert status == 422
        assert body["message"]

    _run(scenario, tmp_path)


def test_local_targets_are_refused_until_allowed(tmp_path):
    async def scenario(client, project, url, arrived):
        hook = await _hook(client, url)
        await client("PUT", "/application/settings", dict.fromkeys(_OPEN, False))
        for target in (
            url,
            "http://localhost:9/",
            "http://10.1.2.3/x",
            "http://[::1]/",
            "ftp://example.com",
            "nonsense",
        ):
            assert await client("POST", "/projects/1/hooks", {"url": target}) == (422, {"error": "Invalid url given"})
        assert (await client("POST", "/projects/1/hooks", {"url": "http://no-such-host.invalid/x"}))[0] == 201
        await _pushed(client, project)
        assert arrived.empty()
        _, events = await client("GET", f"/projects/1/hooks/{hook['id']}/events")
        assert events[0]["response_status"] == "internal error"
        status, body = await client("POST", f"/projects/1/hooks/{hook['id']}/test/push_events")
        assert (status, body["message"]) == (422, "URL is blocked: Requests to localhost are not allowed")

    _run(scenario, tmp_path)


def test_another_address_clears_the_token(tmp_path):
    async def scenario(client, project, url, arrived):
        hook = await _hook(client, url, token="one", custom_headers=[{"key": "X-A", "value": "b"}])
        assert hook["custom_headers"] == [{"key": "X-A"}]
        path = f"/projects/1/hooks/{hook['id']}"
        await client("PUT", path, {"url": url, "tag_push_events": True})
        await _pushed(client, project)
        headers, _ = arrived.get_nowait()
        assert (headers["X-Gitlab-Token"], headers["X-A"]) == ("one", "b")
        await client("PUT", path, {"url": url + "?x=1"})
        await client.commit(client.folder / "work", "b", "")
        await _pushed(client, project)
        assert "X-Gitlab-Token" not in arrived.get_nowait()[0]
        assert (await client("DELETE", path))[0] == 204
        assert (await client("GET", path))[0] == 404

    _run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("url", "allowlist", "blocked"),
    [
        ("http://10.0.0.5/", "", "local network"),
        ("http://10.0.0.5/", "10.0.0.0/8", None),
        ("http://10.0.0.5:8080/", "10.0.0.5:9090", "local network"),
        ("http://10.0.0.5:9090/", "10.0.0.5:9090", None),
        ("http://169.254.1.1/", "", "link local"),
        ("http://127.0.0.2/", "", "loopback"),
        ("http://[::ffff:127.0.0.1]/", "", "localhost"),
        ("http://gitlab.lab.test:8929/", "gitlab.lab.test", None),
        ("http://no-such-host.invalid/", "", "cannot be resolved"),
        ("http://no-such-host.invalid/", "no-such-host.invalid", None),
        ("http://93.184.216.34/", "", None),
    ],
)
def test_rules_for_addresses(tmp_path, url, allowlist, blocked):
    database = Database(tmp_path / "x.sqlite3")
    settings = Settings(database)
    settings.change({"outbound_local_requests_allowlist_raw": allowlist})
    database.close()
    check = UrlBlocker(settings, "http://gitlab.lab.test:8929").check(url, must_resolve=True)
    if blocked is None:
        asyncio.run(check)
    else:
        with pytest.raises(BlockedError, match=blocked):
            asyncio.run(check)


def test_the_log_keeps_the_latest_deliveries_and_survives_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr("lab.emulator.gitlab.hooks.EVENTS_KEPT", 3)
    database = Database(tmp_path / "x.sqlite3")
    hooks = Hooks(database)
    hook = hooks.create(1, "http://example.com")
    hooks.save(hook)
    for number in range(5):
        hooks.record(hook, {"request_data": number})
    for store in (hooks, Hooks(database)):
        assert [event["request_data"] for event in store.events(hook)] == [4, 3, 2]
    hooks.remove(hook)
    assert Hooks(database).events(hook) == []
    database.close()
    database.close()


def test_a_delivery_that_was_not_sent_before_a_kill_is_sent_at_the_next_start(tmp_path):
    settings = config(tmp_path / "data")

    async def scenario():
        async with receiver() as (url, arrived):
            async with running(tmp_path, settings=settings) as client:
                await client("PUT", "/application/settings", _OPEN)
                project = await client.project()
                hook = await _hook(client, url)
                folder = await client.checkout(project)
                client.gitlab.deliveries._start = lambda *_arguments: None  # killed before it could be sent
                await client.git("push", "-q", "origin", "master", cwd=folder)
                assert arrived.empty()
            async with running(tmp_path, settings=settings) as client:
                _, body = await asyncio.wait_for(arrived.get(), 10)
                assert body["ref"] == "refs/heads/master"
                await _idle(client)
                assert len(client.gitlab.hooks.event_ids(client.gitlab.hooks.get(1, hook["id"]))) == 1
            async with running(tmp_path, settings=settings) as client:
                await _idle(client)
                assert arrived.empty()

    asyncio.run(asyncio.wait_for(scenario(), 60))
