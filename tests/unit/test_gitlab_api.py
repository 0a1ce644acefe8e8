"""GitLab's REST API in this process: statuses, bodies and texts as contracts B has them."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import aiohttp
import pytest
from gitlab_server import PASSWORD, TOKEN, config, running

from lab.emulator.database import Database
from lab.emulator.gitlab.model import Caller
from lab.emulator.gitlab.server import GitLab
from lab.emulator.gitlab.tokens import latest_expiry, today


def _run(scenario, tmp_path):
    async def main():
        async with running(tmp_path) as client:
            await scenario(client)

    asyncio.run(asyncio.wait_for(main(), 60))


async def _with_commit(client, name="hichat", **more):
    return await client.project(name, initialize_with_readme=True, **more)


# -- the instance ---------------------------------------------------------------------------------------------------


def test_health_and_version(tmp_path):
    async def scenario(client):
        assert await client("GET", f"{client.url}/-/health", token=None) == (200, "GitLab OK")
        status, body = await client("GET", f"{client.url}/-/readiness?all=1", token=None)
        assert (status, body["status"], body["db_check"]) == (200, "ok", [{"status": "ok"}])
        assert await client("GET", f"{client.url}/-/liveness", token=None) == (200, {"status": "ok"})
        assert await client("GET", "/version", token=None) == (401, {"message": "401 Unauthorized"})
        status, body = await client("GET", "/metadata")
        assert status == 200
        assert body["enterprise"] is False

    _run(scenario, tmp_path)


def test_what_is_not_emulated_is_named(tmp_path):
    async def scenario(client):
        status, body = await client("GET", "/projects/1/merge_trains")
        assert (status, body["error"]) == (404, "404 Not Found")
        assert body["message"] == "not emulated: GET /api/v4/projects/1/merge_trains"
        status, body = await client("PATCH", "/version")
        assert (status, body["error"]) == (405, "405 Not Allowed")

    _run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/projects/1/merge_requests"),
        ("DELETE", "/projects/1/environments/3"),
        ("POST", "/projects/1/repository/commits/master/comments"),
        ("GET", "/groups/1/labels"),
        ("POST", "/users/1/gpg_keys"),
        ("GET", "/topics"),
        ("POST", "/features//some_flag"),
    ],
)
def test_what_gitlab_has_and_the_emulator_has_not_is_no_404(tmp_path, method, path):
    """Clients take 404 for "there is no such thing"; a deletion would count as done."""

    async def scenario(client):
        status, body = await client(method, path)
        assert (status, body) == (501, {"message": f"501 Not Implemented - not emulated: {method} /api/v4{path}"})

    _run(scenario, tmp_path)


def test_json_is_labelled_as_gitlab_does(tmp_path):
    async def scenario(client):
        answer = await client.raw("GET", "/version")
        assert answer.headers["Content-Type"] == "application/json"
        answer = await client.raw("GET", "/projects/nope")
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")

    _run(scenario, tmp_path)


def test_a_body_that_says_null_has_no_parameters(tmp_path):
    async def scenario(client):
        status, body = await client("POST", "/projects", headers={"Content-Type": "application/json"})
        assert status == 400
        address = f"{client.url}/api/v4/projects"
        headers = {"PRIVATE-TOKEN": TOKEN, "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session, session.post(address, data=b"null", headers=headers) as answer:
            assert (answer.status, await answer.json()) == (400, body)

    _run(scenario, tmp_path)


def test_a_handler_that_fails_answers_500_and_says_nothing(tmp_path, caplog):
    async def scenario(client):
        await client.project()
        client.gitlab.hooks.of = None
        assert await client("GET", "/projects/1/hooks") == (500, {"message": "500 Internal Server Error"})
        assert "TypeError" in caplog.text

    _run(scenario, tmp_path)


def test_settings_are_the_administrators_and_survive(tmp_path):
    settings = config(tmp_path / "data")

    async def first():
        async with running(tmp_path, settings=settings) as client:
            status, body = await client("GET", "/application/settings")
            assert (status, body["allow_local_requests_from_web_hooks_and_services"]) == (200, False)
            status, body = await client("PUT", "/application/settings", {"unknown": 1})
            assert (status, body) == (400, {"message": "not emulated: settings unknown"})
            status, body = await client("PUT", "/application/settings", {})
            assert status == 400
            assert body["error"].endswith("at least one parameter must be provided")
            change = {"allow_local_requests_from_web_hooks_and_services": "true", "push_event_hooks_limit": 5}
            status, body = await client("PUT", "/application/settings", change)
            assert (status, body["push_event_hooks_limit"]) == (200, 5)
            status, body = await client("PUT", "/application/settings", {"outbound_local_requests_whitelist": ["x"]})
            assert (status, body["outbound_local_requests_whitelist"]) == (200, [])
            _, body = await client("PUT", "/application/settings", {"outbound_local_requests_allowlist_raw": "a;b c"})
            assert body["outbound_local_requests_whitelist"] == ["a", "b", "c"]
            status, _ = await client("PUT", "/application/settings", {"push_event_hooks_limit": "many"})
            assert status == 400

    async def second():
        async with running(tmp_path, settings=settings) as client:
            _, body = await client("GET", "/application/settings")
            assert body["allow_local_requests_from_web_hooks_and_services"] is True
            assert body["push_event_hooks_limit"] == 5

    asyncio.run(asyncio.wait_for(first(), 60))
    asyncio.run(asyncio.wait_for(second(), 60))


def test_bootstrap_installs_a_changed_token_but_not_a_changed_password(tmp_path):
    database = Database(tmp_path / "x.sqlite3")
    one = config(tmp_path)
    assert GitLab(one, database).access.basic("root", PASSWORD)
    two = replace(one, root_token="glpat-zzzzzzzzzzzzzzzzzzzz", root_password="another-One9")
    access = GitLab(two, database).access
    assert access.basic("root", "another-One9") is None
    assert access.basic("root", "glpat-zzzzzzzzzzzzzzzzzzzz")
    assert access.basic("root", TOKEN)
    assert len(GitLab(two, database).tokens.all()) == 2
    database.close()
    assert TOKEN.encode() not in (tmp_path / "x.sqlite3").read_bytes()


# -- authentication -------------------------------------------------------------------------------------------------


def test_ways_to_present_a_token(tmp_path):
    async def scenario(client):
        assert (await client("GET", "/user", token=None, headers={"Authorization": f"Bearer {TOKEN}"}))[0] == 200
        assert (await client("GET", f"/user?private_token={TOKEN}", token=None))[0] == 200
        assert await client("GET", "/user", token="glpat-unknown") == (401, {"message": "401 Unauthorized"})
        _, user = await client("GET", "/user")
        assert (user["id"], user["username"], user["is_admin"]) == (1, "root", True)

    _run(scenario, tmp_path)


def test_dead_and_small_tokens_are_refused_in_the_oauth_shape(tmp_path):
    async def scenario(client):
        _, small = await client("POST", "/users/1/personal_access_tokens", {"name": "s", "scopes": ["read_api"]})
        assert (await client("GET", "/projects", token=small["token"]))[0] == 200
        status, body = await client("POST", "/projects", {"name": "x"}, token=small["token"])
        assert (status, body["error"]) == (403, "insufficient_scope")
        assert "api" in body["scope"].split()
        assert (await client("DELETE", f"/personal_access_tokens/{small['id']}"))[0] == 204
        status, body = await client("GET", "/projects", token=small["token"])
        assert (status, body["error"]) == (401, "invalid_token")
        assert body["error_description"].startswith("Token was revoked.")
        expired = {"name": "e", "scopes": ["api"], "expires_at": today().isoformat()}
        _, token = await client("POST", "/users/1/personal_access_tokens", expired)
        assert token["active"] is False
        status, body = await client("GET", "/projects", token=token["token"])
        assert body["error_description"].startswith("Token is expired.")

    _run(scenario, tmp_path)


def test_sudo_acts_as_another_user(tmp_path):
    async def scenario(client):
        body = {"email": "ada@example.com", "name": "Ada", "username": "ada", "password": "Lovelace-1815"}
        status, ada = await client("POST", "/users", body)
        assert status == 201
        _, user = await client("GET", "/user", headers={"Sudo": "ada"})
        assert user["username"] == "ada"
        _, token = await client("POST", f"/users/{ada['id']}/personal_access_tokens", {"name": "t", "scopes": ["api"]})
        status, _ = await client("GET", "/user", token=token["token"], headers={"Sudo": "root"})
        assert status == 403
        status, _ = await client("PUT", "/application/settings", {"signup_enabled": False}, token=token["token"])
        assert status == 403
        await client.project("secret")
        assert await client("GET", "/projects/root%2Fsecret", token=token["token"]) == (
            404, {"message": "404 Project Not Found"},
        )  # fmt: skip
        await client("POST", "/projects/1/members", {"user_id": ada["id"], "access_level": 30})
        status, _ = await client("GET", "/projects/root%2Fsecret", token=token["token"])
        assert status == 200
        status, body = await client("GET", "/projects/1/hooks", token=token["token"])
        assert (status, body) == (403, {"message": "403 Forbidden"})

    _run(scenario, tmp_path)


def test_job_tokens_reach_only_the_endpoints_that_take_them(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        job = Caller("job", "root", user_id=1, project_id=1)
        client.gitlab.access.job_tokens = lambda value: job if value == "jwt" else None
        headers = {"JOB-TOKEN": "jwt"}
        path = "/projects/1/repository/files/README.md"
        assert (await client("GET", f"{path}/raw", token=None, headers=headers))[0] == 200
        assert (await client("GET", path, token=None, headers=headers))[0] == 401
        body = {"branch": "main", "content": "x", "commit_message": "m"}
        assert (await client("PUT", path, body, token=None, headers=headers))[0] == 401
        assert (await client("GET", "/projects/1/repository/commits", token=None, headers=headers))[0] == 200

    _run(scenario, tmp_path)


# -- tokens ---------------------------------------------------------------------------------------------------------


def test_project_access_tokens_have_a_bot(tmp_path):
    async def scenario(client):
        await client.project()
        body = {"name": "ci", "scopes": ["write_repository"], "access_level": 30, "expires_at": latest_expiry()}
        status, token = await client("POST", "/projects/1/access_tokens", body)
        assert (status, token["access_level"], token["active"]) == (201, 30, True)
        assert token["token"].startswith("glpat-")
        _, bot = await client("GET", f"/users/{token['user_id']}")
        assert bot["bot"] is True
        assert bot["username"].startswith("project_1_bot_")
        status, shown = await client("GET", f"/projects/1/access_tokens/{token['id']}")
        assert "token" not in shown
        assert TOKEN not in str(shown)
        body |= {"expires_at": "2999-01-01"}
        assert (await client("POST", "/projects/1/access_tokens", body))[0] == 400
        status, error = await client("POST", "/projects/1/access_tokens", {"name": "x", "scopes": ["sudo"]})
        assert (status, error) == (400, {"error": "scopes does not have a valid value"})
        status, error = await client("POST", "/projects/1/access_tokens", {"scopes": ["api"]})
        assert (status, error) == (400, {"error": "name is missing"})

    _run(scenario, tmp_path)


def test_rotation_and_the_fall_of_a_family(tmp_path):
    async def scenario(client):
        await client.project()
        body = {"name": "ci", "scopes": ["api"], "access_level": 40}
        _, one = await client("POST", "/projects/1/access_tokens", body)
        status, two = await client("POST", f"/projects/1/access_tokens/{one['id']}/rotate")
        assert status == 200
        assert two["user_id"] == one["user_id"]
        assert (today().fromisoformat(two["expires_at"]) - today()).days == 7
        assert (await client("GET", "/projects/1", token=one["token"]))[0] == 401
        assert (await client("GET", "/projects/1", token=two["token"]))[0] == 200
        assert (await client("POST", f"/projects/1/access_tokens/{one['id']}/rotate"))[0] == 400
        assert (await client("GET", "/projects/1", token=two["token"]))[0] == 401

    _run(scenario, tmp_path)


def test_a_token_sees_rotates_and_revokes_itself(tmp_path):
    async def scenario(client):
        status, me = await client("GET", "/personal_access_tokens/self")
        assert (status, me["name"], me["scopes"]) == (200, "lab", ["api", "sudo"])
        _, own = await client("POST", "/users/1/personal_access_tokens", {"name": "n", "scopes": ["self_rotate"]})
        status, new = await client("POST", "/personal_access_tokens/self/rotate", token=own["token"])
        assert status == 200
        assert (await client("DELETE", "/personal_access_tokens/self", token=new["token"]))[0] == 204
        assert (await client("GET", "/personal_access_tokens/self", token=new["token"]))[0] == 401
        _, rows = await client("GET", "/personal_access_tokens?state=active")
        assert [row["name"] for row in rows] == ["lab"]

    _run(scenario, tmp_path)


def test_deploy_tokens(tmp_path):
    async def scenario(client):
        await client.project()
        body = {"name": "pull", "scopes": ["read_registry", "read_repository"]}
        status, token = await client("POST", "/projects/1/deploy_tokens", body)
        assert (status, token["username"], token["expires_at"]) == (201, "gitlab+deploy-token-1", None)
        _, rows = await client("GET", "/projects/1/deploy_tokens")
        assert [row["id"] for row in rows] == [1]
        assert "token" not in rows[0]
        assert (await client("GET", "/projects/1", token=token["token"]))[0] == 401
        assert (await client("POST", "/projects/1/deploy_tokens", {"name": "x", "scopes": ["api"]}))[0] == 400

    _run(scenario, tmp_path)


# -- projects -------------------------------------------------------------------------------------------------------


def test_a_path_can_be_taken_once(tmp_path):
    async def scenario(client):
        await client.project("Hi Chat")
        _, project = await client("GET", "/projects/root%2Fhi-chat")
        assert project["name"] == "Hi Chat"
        status, body = await client("POST", "/projects", {"name": "hi-chat"})
        assert (status, body["message"]["path"]) == (400, ["has already been taken"])
        assert (await client("POST", "/projects", {}))[0] == 400
        assert (await client("POST", "/projects", {"path": "-x"}))[0] == 400
        assert (await client("POST", "/projects", {"name": "x", "visibility": "secret"}))[0] == 400
        assert (await client("POST", "/projects", {"name": "x", "namespace_id": 77}))[0] == 400

    _run(scenario, tmp_path)


def test_the_job_token_switch_is_for_updates_only(tmp_path):
    async def scenario(client):
        name = "ci_push_repository_for_job_token_allowed"
        project = await client.project(**{name: True})
        assert project[name] is False
        _, project = await client("PUT", "/projects/1", {name: True})
        assert project[name] is True
        status, body = await client("PUT", "/projects/1", {name: "perhaps"})
        assert (status, body) == (400, {"error": f"{name} is invalid"})

    _run(scenario, tmp_path)


def test_deletion_is_scheduled_renames_and_can_be_made_final(tmp_path):
    async def scenario(client):
        removed, renamed = [], []
        client.gitlab.on_project_removed.append(removed.append)
        client.gitlab.on_project_renamed.append(lambda project, old: renamed.append((project.id, old)))
        await _with_commit(client)
        assert await client("DELETE", "/projects/1") == (202, {"message": "202 Accepted"})
        assert renamed == [(1, "root/hichat")]
        status, body = await client("DELETE", "/projects/1")
        assert (status, body["message"]) == (400, "Project has been already marked for deletion")
        _, marked = await client("GET", "/projects/1")
        assert marked["path_with_namespace"] == "root/hichat-deletion_scheduled-1"
        assert marked["marked_for_deletion_on"] == today().isoformat()
        again = await client.project()
        assert again["id"] == 2
        status, body = await client("DELETE", "/projects/2?permanently_remove=true&full_path=root/hichat")
        assert (status, body["message"]) == (400, "Project must be marked for deletion first.")
        status, body = await client("DELETE", "/projects/1?permanently_remove=true&full_path=root/hichat")
        assert status == 400
        assert body["message"].startswith("`full_path` is incorrect.")
        path = marked["path_with_namespace"]
        assert (await client("DELETE", f"/projects/1?permanently_remove=true&full_path={path}"))[0] == 202
        await asyncio.gather(*client.gitlab.tasks._tasks)
        assert removed == [1]
        assert (await client("GET", "/projects/1"))[0] == 404

    _run(scenario, tmp_path)


def test_a_scheduled_deletion_can_be_undone(tmp_path):
    async def scenario(client):
        await client.project()
        await client("DELETE", "/projects/1")
        status, project = await client("POST", "/projects/1/restore")
        assert (status, project["path_with_namespace"], project["name"]) == (201, "root/hichat", "hichat")

    _run(scenario, tmp_path)


def test_lists_are_paged_by_offset_and_by_key(tmp_path):
    async def scenario(client):
        for number in range(5):
            await client.project(f"p{number}")
        answer = await client.raw("GET", "/projects?per_page=2&page=2&order_by=id&sort=asc")
        assert [row["id"] for row in await answer.json()] == [3, 4]
        expected = {"x-page": "2", "x-next-page": "3", "x-prev-page": "1", "x-total": "5", "x-total-pages": "3"}
        assert {name: answer.headers[name] for name in expected} == expected
        assert (
            f'<{client.url}/api/v4/projects?per_page=2&page=3&order_by=id&sort=asc>; rel="next"'
            in answer.headers["link"]
        )
        url, seen = "/projects?pagination=keyset&order_by=id&sort=asc&per_page=2", []
        while url:
            answer = await client.raw("GET", url)
            seen += [row["id"] for row in await answer.json()]
            link = answer.headers.get("link", "")
            url = link.split(">")[0].lstrip("<") if link else ""
        assert seen == [1, 2, 3, 4, 5]
        assert (await client("GET", "/projects?page=0"))[0] == 400

    _run(scenario, tmp_path)


def test_projects_in_groups(tmp_path):
    async def scenario(client):
        status, group = await client("POST", "/groups", {"name": "Team", "path": "team"})
        assert status == 201
        project = await client.project("app", namespace_id=group["id"])
        assert project["path_with_namespace"] == "team/app"
        _, rows = await client("GET", "/groups/team/projects")
        assert [row["id"] for row in rows] == [project["id"]]
        assert (await client("DELETE", "/groups/team"))[0] == 409
        assert (await client("GET", "/namespaces/team"))[1]["kind"] == "group"
        _, members = await client("GET", f"/projects/{project['id']}/members/all")
        assert [(member["username"], member["access_level"]) for member in members] == [("root", 50)]

    _run(scenario, tmp_path)


# -- repository -----------------------------------------------------------------------------------------------------


def test_a_branch_in_an_empty_repository_brings_the_default_branch(tmp_path):
    async def scenario(client):
        await client.project()
        assert await client("GET", "/projects/1/repository/branches") == (200, [])
        status, branch = await client(
            "POST", "/projects/1/repository/branches", {"branch": "k8s-config", "ref": "main"}
        )
        assert (status, branch["commit"]["title"]) == (201, "Initial commit")
        _, rows = await client("GET", "/projects/1/repository/branches")
        assert [(row["name"], row["default"]) for row in rows] == [("k8s-config", False), ("main", True)]

    _run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("branch", "ref", "message"),
    [
        ("main", "main", "Branch already exists"),
        ("x", "nothing", "Failed to create branch 'x': invalid reference name 'nothing'"),
        ("a b", "main", "Branch name is invalid"),
        ("main/x", "main", "Failed to create branch 'main/x': Branch name conflicts with existing branch hierarchy."),
    ],
)
def test_branches_that_cannot_be_made(tmp_path, branch, ref, message):
    async def scenario(client):
        await _with_commit(client)
        body = {"branch": branch, "ref": ref}
        assert await client("POST", "/projects/1/repository/branches", body) == (400, {"message": message})

    _run(scenario, tmp_path)


def test_branches_can_be_asked_for_and_removed(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        await client("POST", "/projects/1/repository/branches", {"branch": "feature/x", "ref": "main"})
        path = "/projects/1/repository/branches/feature%2Fx"
        assert (await client("HEAD", path))[0] == 204
        assert (await client("HEAD", path + "y"))[0] == 404
        assert await client("GET", path + "y") == (404, {"message": "404 Branch Not Found"})
        assert (await client("DELETE", path))[0] == 204
        status, body = await client("DELETE", "/projects/1/repository/branches/main")
        assert (status, body["message"]) == (400, "The default branch of a project cannot be deleted.")

    _run(scenario, tmp_path)


def test_protected_branches(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        base = "/projects/1/protected_branches"
        status, rule = await client("POST", base, {"name": "release/*", "push_access_level": 30})
        assert (status, rule["push_access_levels"][0]["access_level"]) == (201, 30)
        expected = (409, {"message": "Protected branch 'main' already exists"})
        assert await client("POST", base, {"name": "main"}) == expected
        assert (await client("POST", base, {"name": "x", "push_access_level": 35}))[0] == 400
        _, rule = await client("PATCH", f"{base}/release%2F*", {"allow_force_push": True})
        assert rule["allow_force_push"] is True
        assert (await client("DELETE", f"{base}/release%2F*"))[0] == 204
        assert (await client("GET", f"{base}/release%2F*"))[0] == 404

    _run(scenario, tmp_path)


def test_files_are_made_changed_read_and_removed(tmp_path):
    async def scenario(client):
        pushes = []
        client.gitlab.on_push.append(pushes.append)
        await _with_commit(client)
        path = "/projects/1/repository/files/k8s%2Fapp.yaml"
        body = {"branch": "main", "content": "a: 1\n", "commit_message": "add"}
        assert await client("POST", path, body) == (201, {"file_path": "k8s/app.yaml", "branch": "main"})
        status, error = await client("POST", path, body)
        assert (status, error["message"]) == (400, "A file with this name already exists")
        assert (await client("PUT", path, body))[0] == 400
        _, file = await client("GET", f"{path}?ref=main")
        assert base64.b64decode(file["content"]) == b"a: 1\n"
        assert file["last_commit_id"] == file["commit_id"] == pushes[-1].after
        stale = {**body, "content": "a: 2\n", "last_commit_id": pushes[0].after}
        assert (await client("PUT", path, stale))[0] == 400
        coded = {"branch": "main", "content": base64.b64encode(b"\0x").decode(), "encoding": "base64"}
        assert (await client("PUT", path, {**coded, "commit_message": "m"}))[0] == 200
        answer = await client.raw("GET", f"{path}/raw?ref=main")
        assert await answer.read() == b"\0x"
        answer = await client.raw("HEAD", f"{path}?ref=main")
        assert answer.headers["X-Gitlab-Size"] == "2"
        assert (await client("DELETE", path, {"branch": "main", "commit_message": "gone"}))[0] == 204
        assert await client("GET", f"{path}?ref=main") == (404, {"message": "404 File Not Found"})
        assert await client("PUT", path, {**body, "content": "z"}) == (
            400, {"message": "A file with this name doesn't exist"},
        )  # fmt: skip
        assert await client("PUT", path, {"content": "z", "commit_message": "m"}) == (
            400, {"message": "400 Bad request - branch is required"},
        )  # fmt: skip
        assert len(pushes) == 4

    _run(scenario, tmp_path)


def test_one_call_of_the_commits_api_is_one_commit(tmp_path):
    async def scenario(client):
        pushes = []
        client.gitlab.on_push.append(pushes.append)
        await _with_commit(client)
        actions = [
            {"action": "create", "file_path": 'dir/ü "x".txt', "content": "1\n"},
            {"action": "create", "file_path": "run.sh", "content": "#!/bin/sh\n", "execute_filemode": True},
            {"action": "move", "file_path": "docs/README.md", "previous_path": "README.md"},
            {"action": "update", "file_path": "run.sh", "content": "#!/bin/sh\nexit 1\n"},
        ]
        body = {"branch": "main", "commit_message": "chore: all\n\nSource-Sha: 1", "actions": actions}
        status, commit = await client("POST", "/projects/1/repository/commits", body)
        assert status == 201, commit
        assert commit["parent_ids"] == [pushes[0].after]
        assert commit["short_id"] == commit["id"][:8]
        assert commit["trailers"] == {"Source-Sha": "1"}
        assert commit["stats"]["total"] > 0
        _, tree = await client("GET", "/projects/1/repository/tree?recursive=true")
        modes = {entry["path"]: entry["mode"] for entry in tree if entry["type"] == "blob"}
        assert modes == {"docs/README.md": "100644", 'dir/ü "x".txt': "100644", "run.sh": "100755"}
        assert [push.after for push in pushes[1:]] == [commit["id"]]
        _, rows = await client("GET", "/projects/1/repository/commits?path=docs/README.md")
        assert [row["id"] for row in rows] == [commit["id"]]
        _, changes = await client("GET", f"/projects/1/repository/commits/{commit['id']}/diff")
        assert {entry["new_path"] for entry in changes} == set(modes)

    _run(scenario, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": []}, "Provide at least one action, or set allow_empty to true"),
        ({"branch": "nowhere"}, "You can only create or edit files when you are on a branch"),
        ({"start_branch": "nowhere", "branch": "x"}, "You can only create or edit files when you are on a branch"),
        (
            {"start_branch": "main", "branch": "second"},
            "A branch called 'second' already exists. Switch to that branch in order to make changes",
        ),
        ({"actions": [{"action": "delete", "file_path": "none"}]}, "A file with this name doesn't exist"),
        (
            {"actions": [{"action": "create", "file_path": "README.md", "content": ""}]},
            "A file with this name already exists",
        ),
    ],
)
def test_commits_that_do_not_fit(tmp_path, change, message):
    async def scenario(client):
        await _with_commit(client)
        await client("POST", "/projects/1/repository/branches", {"branch": "second", "ref": "main"})
        body = {"branch": "main", "commit_message": "m", "actions": [{"action": "create", "file_path": "a"}], **change}
        assert await client("POST", "/projects/1/repository/commits", body) == (400, {"message": message})

    _run(scenario, tmp_path)


def test_a_developer_may_not_commit_to_a_protected_branch(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        body = {"name": "bot", "scopes": ["api"], "access_level": 30}
        _, bot = await client("POST", "/projects/1/access_tokens", body)
        commit = {"branch": "main", "commit_message": "m", "actions": [{"action": "create", "file_path": "a"}]}
        text = "403 Forbidden - You are not allowed to push into this branch"
        expected = (403, {"message": text})
        assert await client("POST", "/projects/1/repository/commits", commit, token=bot["token"]) == expected
        file = {"branch": "main", "content": "x", "commit_message": "m"}
        assert await client("POST", "/projects/1/repository/files/a", file, token=bot["token"]) == expected
        commit |= {"start_branch": "main", "branch": "mine"}
        assert (await client("POST", "/projects/1/repository/commits", commit, token=bot["token"]))[0] == 201

    _run(scenario, tmp_path)


def test_tags_compare_and_archive(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        body = {"tag_name": "v1", "ref": "main", "message": "first"}
        status, tag = await client("POST", "/projects/1/repository/tags", body)
        assert (status, tag["message"]) == (201, "first")
        assert tag["target"] != tag["commit"]["id"]
        assert (await client("POST", "/projects/1/repository/tags", body))[1] == {"message": "Tag v1 already exists"}
        file = {"branch": "main", "content": "x\n", "commit_message": "second"}
        await client("POST", "/projects/1/repository/files/a", file)
        _, compared = await client("GET", "/projects/1/repository/compare?from=v1&to=main")
        assert [commit["title"] for commit in compared["commits"]] == ["second"]
        assert [entry["diff"] for entry in compared["diffs"]] == ["@@ -0,0 +1 @@\n+x\n"]
        _, base = await client("GET", "/projects/1/repository/merge_base?refs[]=v1&refs[]=main")
        assert base["id"] == tag["commit"]["id"]
        answer = await client.raw("GET", "/projects/1/repository/archive.zip?sha=main")
        assert (await answer.read()).startswith(b"PK")
        assert (await client("DELETE", "/projects/1/repository/tags/v1"))[0] == 204

    _run(scenario, tmp_path)


def test_a_commit_shows_its_last_pipeline(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        client.gitlab.last_pipeline = lambda _project, _sha: {"id": 4, "status": "running"}
        _, commit = await client("GET", "/projects/1/repository/commits/main")
        assert (commit["last_pipeline"]["id"], commit["status"]) == (4, "running")
        answer = await client.raw("GET", "/projects/1/repository/commits")
        assert "x-total" not in answer.headers
        assert answer.headers["x-page"] == "1"

    _run(scenario, tmp_path)


def test_a_blocked_user_is_locked_out(tmp_path):
    async def scenario(client):
        body = {"email": "ada@example.com", "name": "Ada", "username": "ada", "password": "Lovelace-1815"}
        _, ada = await client("POST", "/users", body)
        _, token = await client("POST", f"/users/{ada['id']}/personal_access_tokens", {"name": "t", "scopes": ["api"]})
        assert client.gitlab.access.basic("ada", "Lovelace-1815")
        await client("POST", f"/users/{ada['id']}/block")
        assert client.gitlab.access.basic("ada", "Lovelace-1815") is None
        assert client.gitlab.access.basic("ada", token["token"]) is None
        assert (await client("GET", "/user", token=token["token"]))[0] == 403

    _run(scenario, tmp_path)


def test_attributes_that_cannot_be_had_are_named(tmp_path):
    async def scenario(client):
        status, body = await client("POST", "/projects", {"name": "x", "import_url": "http://example.com/x.git"})
        assert (status, body["message"]) == (400, "not emulated: import_url")
        project = await client.project(container_registry_enabled=False)
        assert (project["container_registry_access_level"], project["container_registry_enabled"]) == (
            "disabled",
            False,
        )

    _run(scenario, tmp_path)


def test_leftovers_of_a_killed_process_are_swept_at_the_start(tmp_path):
    settings = config(tmp_path / "data")
    folder = settings.data / "repositories"

    async def scenario():
        async with running(tmp_path, settings=settings) as client:
            await client.project()
        for name in ("9.git", "2.partial", "3.removed"):
            (folder / name).mkdir()
        async with running(tmp_path, settings=settings):
            assert [path.name for path in folder.iterdir()] == ["1.git"]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_renamed_project_redirects_reading_until_its_path_is_taken(tmp_path):
    async def scenario(client):
        await client.project()
        _, moved = await client("PUT", "/projects/1", {"path": "other", "name": "other"})
        assert moved["path_with_namespace"] == "root/other"
        answer = await client.raw("GET", "/projects/root%2Fhichat/repository/branches?per_page=5")
        assert answer.status == 301
        assert answer.headers["Location"] == f"{client.url}/api/v4/projects/1/repository/branches?per_page=5"
        status, body = await client("PUT", "/projects/root%2Fhichat", {"description": "x"})
        assert (status, body["message"]) == (405, "Non GET methods are not allowed for moved projects")
        await client.git("ls-remote", client.address("root/hichat"))
        await client.project()
        assert (await client("GET", "/projects/root%2Fhichat"))[1]["id"] == 2

    _run(scenario, tmp_path)


def test_force_does_not_rewrite_a_protected_branch(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        file = {"branch": "main", "content": "x\n", "commit_message": "second"}
        await client("POST", "/projects/1/repository/files/a", file)
        _, first = await client("GET", "/projects/1/repository/commits?per_page=1&page=2")
        actions = [{"action": "create", "file_path": "b", "content": ""}]
        body = {"branch": "main", "start_sha": first[0]["id"], "force": True, "commit_message": "m", "actions": actions}
        status, error = await client("POST", "/projects/1/repository/commits", body)
        assert status == 400
        assert error["message"] == "You are not allowed to force push code to a protected branch on this project."
        await client("PATCH", "/projects/1/protected_branches/main", {"allow_force_push": True})
        status, commit = await client("POST", "/projects/1/repository/commits", body)
        assert (status, commit["parent_ids"]) == (201, [first[0]["id"]])

    _run(scenario, tmp_path)


# -- groups, namespaces and users beyond the loop ----------------------------------------------------------------------


def test_groups_know_what_lies_below_them(tmp_path):
    async def scenario(client):
        _, outer = await client("POST", "/groups", {"name": "Outer", "path": "outer"})
        _, middle = await client("POST", "/groups", {"name": "M", "path": "middle", "parent_id": outer["id"]})
        await client("POST", "/groups", {"name": "I", "path": "inner", "parent_id": middle["id"]})
        _, rows = await client("GET", "/groups/outer/subgroups")
        assert [row["full_path"] for row in rows] == ["outer/middle"]
        _, rows = await client("GET", "/groups/outer/descendant_groups")
        assert [row["full_path"] for row in rows] == ["outer/middle", "outer/middle/inner"]
        assert await client("GET", "/namespaces/outer/exists") == (200, {"exists": True, "suggests": ["outer1"]})
        assert await client("GET", "/namespaces/free/exists") == (200, {"exists": False, "suggests": []})

    _run(scenario, tmp_path)


def test_attributes_that_do_nothing_here_are_refused(tmp_path):
    async def scenario(client):
        status, body = await client("POST", "/groups", {"name": "G", "path": "g", "membership_lock": True})
        assert (status, body["message"]) == (400, "not emulated: membership_lock")
        person = {"username": "u", "name": "U", "email": "u@example.com", "password": "longEnough1!"}
        status, body = await client("POST", "/users", {**person, "provider": "ldap", "extern_uid": "1"})
        assert (status, body["message"]) == (400, "not emulated: provider, extern_uid")

    _run(scenario, tmp_path)


def test_memberships_of_a_user(tmp_path):
    async def scenario(client):
        project = await client.project()
        _, group = await client("POST", "/groups", {"name": "G", "path": "g"})
        _, rows = await client("GET", "/users/1/memberships")
        assert [(row["source_type"], row["source_id"], row["access_level"]) for row in rows] == [
            ("Project", project["id"], 50),
            ("Namespace", group["id"], 50),
        ]
        _, rows = await client("GET", "/users/1/memberships?type=Namespace")
        assert [row["source_name"] for row in rows] == ["G"]

    _run(scenario, tmp_path)


def test_deploy_tokens_may_share_a_user_name(tmp_path):
    async def scenario(client):
        project = await client.project()
        wanted = {"name": "a", "username": "reader", "scopes": ["read_repository"]}
        values = []
        for _ in range(2):
            status, token = await client("POST", f"/projects/{project['id']}/deploy_tokens", wanted)
            assert status == 201
            values.append(token["token"])
        for value in values:
            await client.git("ls-remote", client.address("root/hichat", "reader", value))

    _run(scenario, tmp_path)


# -- commits that repeat or undo others ------------------------------------------------------------------------------


async def _commit(client, project, path, content, **more):
    actions = [{"action": "create", "file_path": path, "content": content}]
    body = {"branch": "main", "commit_message": f"change {path}", "actions": actions, **more}
    status, made = await client("POST", f"/projects/{project['id']}/repository/commits", body)
    assert status == 201, made
    return made["id"]


def test_a_revert_undoes_a_commit_and_is_a_push(tmp_path):
    async def scenario(client):
        pushes = []
        project = await _with_commit(client)
        base = f"/projects/{project['id']}/repository"
        sha = await _commit(client, project, "a.txt", "a\n", commit_message="add a\n\nfor a reason")
        await _commit(client, project, "b.txt", "b\n")
        client.gitlab.on_push.append(pushes.append)
        status, body = await client("POST", f"{base}/commits/{sha}/revert", {"branch": "main", "dry_run": True})
        assert (status, body, pushes) == (200, {"dry_run": "success"}, [])
        status, made = await client("POST", f"{base}/commits/{sha}/revert", {"branch": "main"})
        assert (status, made["message"]) == (201, f'Revert "add a"\n\nThis reverts commit {sha}')
        assert [push.after for push in pushes] == [made["id"]]
        _, tree = await client("GET", f"{base}/tree?ref=main")
        assert [row["name"] for row in tree] == ["README.md", "b.txt"]
        status, body = await client("POST", f"{base}/commits/{sha}/revert", {"branch": "main"})
        assert (status, body["error_code"]) == (400, "conflict")
        assert body["message"].startswith("Sorry, we cannot revert this commit automatically.")

    _run(scenario, tmp_path)


def test_a_cherry_pick_keeps_its_author(tmp_path):
    async def scenario(client):
        project = await _with_commit(client)
        base = f"/projects/{project['id']}/repository"
        await client("POST", f"{base}/branches", {"branch": "release", "ref": "main"})
        person = {"author_name": "Mia", "author_email": "mia@example.com"}
        sha = await _commit(client, project, "a.txt", "a\n", **person)
        status, made = await client("POST", f"{base}/commits/{sha}/cherry_pick", {"branch": "release"})
        assert (status, made["author_name"], made["committer_name"]) == (201, "Mia", "Administrator")
        assert made["message"] == f"change a.txt\n\n(cherry picked from commit {sha})"
        status, body = await client("POST", f"{base}/commits/{sha}/cherry_pick", {"branch": "release"})
        assert (status, body["error_code"]) == (400, "empty")
        status, body = await client("POST", f"{base}/commits/{sha}/cherry_pick", {"branch": "nope"})
        assert (status, body["message"]) == (404, "404 Branch Not Found")
        status, body = await client("POST", f"{base}/commits/{sha}/cherry_pick", {})
        assert (status, body["error"]) == (400, "branch is missing")
        status, body = await client("GET", f"{base}/commits/{sha}/signature")
        assert (status, body["message"]) == (404, "404 Signature Not Found")

    _run(scenario, tmp_path)


# -- what must not pass in silence ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/projects?sort=x", "sort does not have a valid value"),
        ("/projects?visibility=x", "visibility does not have a valid value"),
        ("/projects?pagination=x", "pagination does not have a valid value"),
        ("/projects?per_page=0", "per_page has a value not allowed"),
        ("/projects/root%2Fhichat/repository/files/README.md", "ref is missing"),
    ],
)
def test_queries_are_checked(tmp_path, path, error):
    async def scenario(client):
        await _with_commit(client)
        assert await client("GET", path) == (400, {"error": error})

    _run(scenario, tmp_path)


def test_what_is_missing_is_named_even_behind_a_project_path(tmp_path):
    async def scenario(client):
        await _with_commit(client)
        base = "/projects/root%2Fhichat"
        for path in (f"{base}/merge_requests", f"{base}/repository/files/README.md/blame?ref=main"):
            status, body = await client("GET", path)
            assert (status, body["message"].partition(": ")[0]) == (501, "501 Not Implemented - not emulated"), path
        status, body = await client("GET", f"{base}/repository/archive.tbz")
        assert (status, body["message"]) == (501, "501 Not Implemented - not emulated: archive format .tbz")
        status, body = await client("GET", "/projects?starred=true")
        assert (status, body["message"]) == (400, "not emulated: filter starred")
        change = {"signup_enabled": False, "throttle_unauthenticated_enabled": True}
        status, body = await client("PUT", "/application/settings", change)
        assert (status, body["message"]) == (400, "not emulated: settings throttle_unauthenticated_enabled")
        group = {"name": "G", "path": "g", "default_branch_protection_defaults": {"allow_force_push": True}}
        status, body = await client("POST", "/groups", group)
        assert (status, body["message"]) == (400, "not emulated: default_branch_protection_defaults")

    _run(scenario, tmp_path)


def test_projects_are_listed_in_short_form_and_between_ids(tmp_path):
    async def scenario(client):
        first, second = await client.project("one"), await client.project("two")
        _, rows = await client("GET", "/projects?simple=true")
        assert [row["name"] for row in rows] == ["two", "one"]
        assert "permissions" not in rows[0]
        assert "merge_method" not in rows[0]
        assert rows[0]["http_url_to_repo"].endswith("/root/two.git")
        _, rows = await client("GET", f"/projects?id_after={first['id']}")
        assert [row["id"] for row in rows] == [second["id"]]
        _, rows = await client("GET", f"/projects?id_before={second['id']}")
        assert [row["id"] for row in rows] == [first["id"]]

    _run(scenario, tmp_path)


def test_users_are_blocked_once(tmp_path):
    async def scenario(client):
        person = {"username": "mia", "name": "Mia", "email": "mia@example.com", "password": "longEnough1!"}
        _, user = await client("POST", "/users", person)
        base = f"/users/{user['id']}"
        assert [await client("POST", f"{base}/block") for _ in range(2)] == [(201, True), (201, None)]
        assert [row["username"] for row in (await client("GET", "/users?blocked=true"))[1]] == ["mia"]
        assert [await client("POST", f"{base}/unblock") for _ in range(2)] == [(201, True), (201, False)]
        assert await client("POST", f"{base}/deactivate") == (201, True)
        assert await client("POST", f"{base}/activate") == (201, True)
        assert (await client("POST", "/users/1/block"))[0] == 403
        assert (await client("GET", "/users?external=true"))[1] == {"message": "not emulated: filter external"}

    _run(scenario, tmp_path)


def test_groups_are_filtered(tmp_path):
    async def scenario(client):
        _, outer = await client("POST", "/groups", {"name": "Outer", "path": "outer", "visibility": "public"})
        _, inner = await client("POST", "/groups", {"name": "Inner", "path": "inner", "parent_id": outer["id"]})
        person = {"username": "mia", "name": "Mia", "email": "mia@example.com", "password": "longEnough1!"}
        _, user = await client("POST", "/users", person)
        wanted = {"name": "t", "scopes": ["api"]}
        _, token = await client("POST", f"/users/{user['id']}/personal_access_tokens", wanted)

        async def listed(query, token=TOKEN):
            status, rows = await client("GET", f"/groups?{query}", token=token)
            assert status == 200, rows
            return [row["path"] for row in rows]

        assert await listed("") == ["outer", "inner"]
        assert await listed(f"skip_groups[]={outer['id']}") == ["inner"]
        assert await listed(f"skip_groups={outer['id']},{inner['id']}") == []
        assert await listed("top_level_only=true") == ["outer"]
        assert await listed("visibility=private") == ["inner"]
        assert await listed("owned=true") == ["outer", "inner"]
        assert await listed("", token["token"]) == ["outer"]
        assert await listed("owned=true", token["token"]) == []

    _run(scenario, tmp_path)
