"""What argocd-server answers over HTTP: the webhook receiver and the pages."""

from __future__ import annotations

import base64
import io
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer
from argocd_world import NAMESPACE, config_map, run

GITLAB = {"X-Gitlab-Event": "Push Hook"}


def set_secret(world, value):
    data = {"webhook.gitlab.secret": base64.b64encode(value.encode()).decode()}
    world.store.patch("", "secrets", "argocd", "argocd-secret", {"data": data})


def with_client(scenario):
    async def main(world):
        async with TestClient(TestServer(world.argocd._app())) as client:
            await scenario(world, client)

    run(main)


async def post(client, body, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client.post("/api/webhook", data=io.BytesIO(data), headers=headers) as answer:
        return answer.status, await answer.text()


def test_both_sides_without_a_secret_agree():
    async def scenario(world, client):
        status, text = await post(client, world.push_payload("1" * 40), **GITLAB)
        assert (status, text) == (200, "")

    with_client(scenario)


@pytest.mark.parametrize(
    ("stored", "sent", "status"),
    [
        ("secret", "secret", 200),
        ("secret", "other", 400),
        ("secret", None, 400),
        ("", "secret", 400),
        ("secret\n", "secret", 400),
        ("$webhook.other", "from elsewhere", 200),
    ],
)
def test_the_token_is_always_checked_literally(stored, sent, status):
    async def scenario(world, client):
        set_secret(world, stored)
        other = {"webhook.other": base64.b64encode(b"from elsewhere\n").decode()}
        world.store.patch("", "secrets", "argocd", "argocd-secret", {"data": other})
        headers = GITLAB | ({"X-Gitlab-Token": sent} if sent else {})
        answer = await post(client, world.push_payload("1" * 40), **headers)
        assert answer == (status, "" if status == 200 else "Webhook processing failed\n")
        log = (world.config.data / "argocd" / "server.log").read_text()
        assert ("X-Gitlab-Token validation failed" in log) == (status == 400)
        assert ("gitlab secret modified. restarting" in log) == (stored != "")

    with_client(scenario)


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, b"{}", (400, "Unknown webhook event\n")),
        ({"X-Gitlab-Event": "Pipeline Hook"}, b"{}", (400, "Webhook processing failed\n")),
        (GITLAB, b"{broken", (400, "Webhook processing failed\n")),
        (GITLAB, b"", (400, "Webhook processing failed: payload must be valid JSON under 50 MB\n")),
        ({"X-GitHub-Event": "push"}, b"{}", (400, "not emulated: webhooks of GitHub\n")),
        ({"X-Gitlab-Event": "Tag Push Hook"}, b"{}", (200, "")),
        ({"X-Gitlab-Event": "System Hook"}, b'{"event_name": "push"}', (200, "")),
        ({"X-Gitlab-Event": "System Hook"}, b'{"event_name": "user_create"}', (400, "Webhook processing failed\n")),
    ],
)
def test_answers(headers, body, expected):
    async def scenario(_world, client):
        assert await post(client, body, **headers) == expected

    with_client(scenario)


def test_other_methods_and_sizes():
    async def scenario(world, client):
        async with client.get("/api/webhook", headers=GITLAB) as answer:
            assert (answer.status, await answer.text()) == (405, "Webhook processing failed\n")
        world.store.patch("", "configmaps", "argocd", "argocd-cm", {"data": {"webhook.maxPayloadSizeMB": "1"}})
        status, text = await post(client, b" " * (1024 * 1024 + 1), **GITLAB)
        assert (status, text) == (400, "Webhook processing failed: payload must be valid JSON under 1 MB\n")

    with_client(scenario)


def test_an_accepted_hook_refreshes_the_application():
    async def scenario(world, client):
        world.secret()
        first = world.git.commit({"k8s/ns.yaml": NAMESPACE})
        world.create()
        await world.settled(first)
        second = world.git.commit({"k8s/a.yaml": config_map("a", "1")})
        assert (await post(client, world.push_payload(second), **GITLAB))[0] == 200
        await world.settled(second)

    with_client(scenario)


def test_a_hook_that_touches_other_folders_refreshes_nothing():
    async def scenario(world, client):
        world.secret()
        first = world.git.commit({"k8s/ns.yaml": NAMESPACE})
        world.create()
        await world.settled(first)
        annotation = {"argocd.argoproj.io/manifest-generate-paths": "."}
        world.store.patch("argoproj.io", "applications", "argocd", "hichat", {"metadata": {"annotations": annotation}})
        second = world.git.commit({"docs/readme.md": "x"})
        payload = world.push_payload(second)
        payload["commits"][0]["modified"] = ["docs/readme.md"]
        asked = world.git.requests
        await post(client, payload, **GITLAB)
        assert "argocd.argoproj.io/refresh" not in world.application()["metadata"]["annotations"]
        assert world.git.requests == asked

    with_client(scenario)


def test_the_pages_show_the_tree_and_no_script():
    async def scenario(world, client):
        world.secret()
        world.git.commit({"k8s/ns.yaml": NAMESPACE, "k8s/a.yaml": config_map("a", "1")})
        world.create()
        sha = world.git._git("rev-parse", "HEAD")
        await world.settled(sha)
        world.store.patch("", "configmaps", "hichat", "a", {"data": {"x": "<script>"}})
        for path in ("/", "/applications", "/applications/argocd/hichat", "/applications/hichat"):
            async with client.get(path) as answer:
                text = await answer.text()
                assert answer.status == 200
                assert "<strong>EMULATOR</strong>" in text
                assert "<script" not in text
                assert sha[:8] in text
        assert "ConfigMap a" in text
        assert "Synced" in text
        async with client.get("/applications/argocd/nope") as answer:
            assert answer.status == 404

    with_client(scenario)


def test_what_is_not_emulated_says_so():
    async def scenario(_world, client):
        async with client.get("/api/v1/applications") as answer:
            assert answer.status == 501
            assert (await answer.json())["message"] == "not emulated: GET /api/v1/applications"
        async with client.get("/healthz") as answer:
            assert await answer.text() == "ok"
        async with client.get("/api/version") as answer:
            assert (await answer.json())["Version"].startswith("v3.5.1")

    with_client(scenario)
