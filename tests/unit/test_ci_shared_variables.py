"""Variables of groups and of the instance: who may set them, what they look like, which one a job gets."""

from __future__ import annotations

import asyncio

import pytest
from ci_world import world
from eventually import until


def _run(tmp_path, scenario):
    async def main():
        async with world(tmp_path) as lab:
            await asyncio.wait_for(scenario(lab), 60)

    asyncio.run(main())


async def _group(lab, path, **more):
    status, group = await lab.api("POST", "/groups", json={"name": path, "path": path, **more})
    assert status == 201, group
    return group["id"]


async def _handed_out(lab, project):
    """The variables in the payload of the only job that a runner of the project is given."""
    body = {"runner_type": "project_type", "project_id": project["id"]}
    _, made = await lab.api("POST", "/user/runners", json=body)
    await until("pipeline", lambda: lab.ci.pipelines_of(project["id"]))
    status, payload = await lab.api("POST", "/jobs/request", json={"token": made["token"]})
    assert status == 201, payload
    return {variable["key"]: variable for variable in payload["variables"]}


def test_the_nearest_owner_wins(tmp_path):
    async def scenario(lab):
        outer = await _group(lab, "outer")
        inner = await _group(lab, "inner", parent_id=outer)
        _, project = await lab.api("POST", "/projects", json={"path": "app", "namespace_id": inner})
        places = ["/admin/ci/variables", f"/groups/{outer}/variables", "/groups/outer%2Finner/variables"]
        places.append(f"/projects/{project['id']}/variables")
        for first, place in enumerate(places):
            for number in range(first, 4):  # place 0 sets V0..V3, place 1 V1..V3 and so on
                body = {"key": f"V{number}", "value": f"value-of-{first}", "masked": True}
                status, made = await lab.api("POST", place, json=body)
                assert status == 201, made
        await lab.api("POST", f"/groups/{outer}/variables", json={"key": "SAFE", "value": "x", "protected": True})
        ci = {"branch": "main", "commit_message": "ci", "content": "a: {script: [echo]}"}
        await lab.api("POST", f"/projects/{project['id']}/repository/files/.gitlab-ci.yml", json=ci)
        found = await _handed_out(lab, project)
        assert [found[f"V{number}"]["value"] for number in range(4)] == [f"value-of-{number}" for number in range(4)]
        assert all(found[f"V{number}"]["masked"] for number in range(4))
        assert found["SAFE"]["value"] == "x"

    _run(tmp_path, scenario)


@pytest.mark.parametrize("place", ["/admin/ci/variables", "/groups/team/variables"])
def test_they_are_read_changed_and_removed(tmp_path, place):
    async def scenario(lab):
        await _group(lab, "team")
        status, made = await lab.api("POST", place, json={"key": "A", "value": "1"})
        assert status == 201
        assert ("environment_scope" in made) == ("groups" in place)
        status, body = await lab.api("POST", place, json={"key": "A", "value": "1"})
        assert (status, body["message"]["key"]) == (400, ["(A) has already been taken"])
        assert (await lab.api("PUT", f"{place}/A", json={"value": "2"}))[1]["value"] == "2"
        assert [row["value"] for row in (await lab.api("GET", place))[1]] == ["2"]
        status, body = await lab.api("POST", place, json={"key": "B", "value": "1", "environment_scope": "production"})
        assert (status, body["message"].partition(":")[0]) == (400, "not emulated")
        assert (await lab.api("DELETE", f"{place}/A"))[0] == 204
        assert (await lab.api("GET", f"{place}/A"))[0] == 404

    _run(tmp_path, scenario)


def test_only_owners_of_the_group_and_administrators_may(tmp_path):
    async def scenario(lab):
        group = await _group(lab, "team")
        person = {"username": "mia", "name": "Mia", "email": "mia@example.com", "password": "longEnough1!"}
        _, user = await lab.api("POST", "/users", json=person)
        wanted = {"name": "t", "scopes": ["api"]}
        _, token = await lab.api("POST", f"/users/{user['id']}/personal_access_tokens", json=wanted)
        as_mia = {"headers": {"PRIVATE-TOKEN": token["token"]}}
        assert (await lab.api("GET", "/admin/ci/variables", **as_mia))[0] == 403
        assert (await lab.api("GET", "/groups/team/variables", **as_mia))[0] == 404
        for level, status in ((40, 403), (50, 200)):
            await lab.api("DELETE", f"/groups/{group}/members/{user['id']}")
            await lab.api("POST", f"/groups/{group}/members", json={"user_id": user["id"], "access_level": level})
            assert (await lab.api("GET", "/groups/team/variables", **as_mia))[0] == status

    _run(tmp_path, scenario)
