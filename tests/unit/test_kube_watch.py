from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from kube_cases import changed, config_map, pod, running, served

CORE = "/api/v1/namespaces/default"


@asynccontextmanager
async def watching(client, path, **headers):
    """The events of a watch as a queue-like reader."""
    async with client.session.get(client.url + path, headers=headers) as response:
        assert response.status == 200, await response.text()

        async def read():
            line = await asyncio.wait_for(response.content.readline(), 10)
            return json.loads(line) if line else None

        yield read


def shown(event):
    return event["type"], event["object"]["metadata"].get("name")


@served
async def test_a_watch_goes_on_where_a_list_ended(client):
    await client.create(f"{CORE}/secrets", {"metadata": {"name": "old"}})
    version = (await client.get(f"{CORE}/secrets"))["metadata"]["resourceVersion"]
    made = await client.create(f"{CORE}/secrets", {"metadata": {"name": "new"}})
    async with watching(client, f"{CORE}/secrets?watch=1&resourceVersion={version}&timeoutSeconds=10") as read:
        assert shown(await read()) == ("ADDED", "new")
        await client.call("PUT", f"{CORE}/secrets/new", changed(made, "data", {"a": "Yg=="}))
        assert shown(await read()) == ("MODIFIED", "new")
        await client.call("DELETE", f"{CORE}/secrets/new")
        event = await read()
        assert shown(event) == ("DELETED", "new")
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


@served
async def test_without_a_version_the_state_comes_first(client):
    await client.create(f"{CORE}/secrets", {"metadata": {"name": "old"}})
    async with watching(client, f"{CORE}/secrets?watch=true&timeoutSeconds=1") as read:
        assert shown(await read()) == ("ADDED", "old")
        assert await read() is None, "the watch ends after its time"


@served
async def test_entering_and_leaving_a_selection(client):
    path = f"{CORE}/pods?watch=1&labelSelector=app%3Dx&timeoutSeconds=10"
    async with watching(client, path) as read:
        made = await client.create(f"{CORE}/pods", pod(app="y"))
        _, made = await client.call("PUT", f"{CORE}/pods/p", changed(made, "metadata.labels.app", "x"))
        event = await read()
        assert shown(event) == ("ADDED", "p")
        assert event["object"]["metadata"]["labels"] == {"app": "x"}
        await client.call("PUT", f"{CORE}/pods/p", changed(made, "metadata.labels.app", "z"))
        event = await read()
        assert shown(event) == ("DELETED", "p")
        assert event["object"]["metadata"]["labels"] == {"app": "x"}, "the state in which it was last selected"


@served
async def test_one_object_can_be_watched(client):
    await client.create(f"{CORE}/configmaps", config_map("a"))
    async with watching(client, f"{CORE}/configmaps?watch=1&fieldSelector=metadata.name%3Da&timeoutSeconds=10") as read:
        assert shown(await read()) == ("ADDED", "a")
        await client.create(f"{CORE}/configmaps", config_map("b"))
        await client.call("DELETE", f"{CORE}/configmaps/a")
        assert shown(await read()) == ("DELETED", "a")


@served
async def test_a_version_from_an_earlier_run_is_expired(client):
    async with watching(client, f"{CORE}/pods?watch=1&resourceVersion=5&timeoutSeconds=10") as read:
        event = await read()
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert event["object"]["message"].startswith("too old resource version: 5 (")


@served
async def test_initial_events_end_with_a_bookmark(client):
    await client.create(f"{CORE}/secrets", {"metadata": {"name": "old"}})
    query = (
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=10"
    )
    async with watching(client, f"{CORE}/secrets?{query}") as read:
        assert shown(await read()) == ("ADDED", "old")
        event = await read()
        assert event["type"] == "BOOKMARK"
        assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@served
async def test_a_table_watch_names_its_columns_once(client):
    await client.create(f"{CORE}/pods", pod("a"))
    await client.create(f"{CORE}/pods", pod("b"))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    async with watching(client, f"{CORE}/pods?watch=1&timeoutSeconds=10", Accept=accept) as read:
        first, second = await read(), await read()
        assert first["object"]["columnDefinitions"][0]["name"] == "Name"
        assert second["object"]["columnDefinitions"] is None
        assert second["object"]["rows"][0]["cells"][0] == "b"


# Python 3.10 complains about its own TLS transport when the other side closes first.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_open_watches_do_not_hold_up_the_end(tmp_path):
    async def main():
        async with running(tmp_path) as client, client.session.get(f"{client.url}/api/v1/pods?watch=1") as response:
            assert response.status == 200
            await asyncio.wait_for(client.server.stop(), 15)  # a watch left alone lasts half an hour
            assert await asyncio.wait_for(response.content.read(), 5) == b""

    asyncio.run(main())


def test_a_watch_that_falls_behind_the_history_starts_over(tmp_path):
    async def main():
        async with running(tmp_path) as client:
            store = client.server.store
            version = store.shelf.version
            made = store.create("", "configmaps", config_map())
            for number in range(1100):
                made = store.update("", "configmaps", changed(made, "data", {"n": str(number)}))
            async with watching(client, f"{CORE}/configmaps?watch=1&resourceVersion={version}") as read:
                assert (await read())["object"]["code"] == 410
            newest = int(made["metadata"]["resourceVersion"])
            async with watching(client, f"{CORE}/configmaps?watch=1&resourceVersion={newest - 500}") as read:
                assert int((await read())["object"]["metadata"]["resourceVersion"]) == newest - 499

    asyncio.run(main())
