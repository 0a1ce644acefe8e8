"""Who gets which token, what the registry makes of it, and GitLab's REST API about the registry."""

from __future__ import annotations

import base64
import json
import stat
import time

import pytest
from registry_world import ROOT_TOKEN, World, populate, serving

from lab.emulator.registry import tokens


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("registry")) as world:
        populate(world)
        yield world


def claims(token: str):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def deploy_token(world: World, *scopes: str) -> tuple[str, str]:
    made = world.api("POST", f"/projects/{world.projects['app']}/deploy_tokens", {"name": "d", "scopes": list(scopes)})
    assert made.status == 201, made.body
    return made.json["username"], made.json["token"]


def test_the_healthy_answer_is_a_challenge(world: World):
    answer = world.registry("GET", "/", token="")
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="{world.gitlab}/jwt/auth",service="container_registry"'
    )
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert answer.json == {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": None}]}


def test_a_token_names_its_holder_and_lives_five_minutes(world: World):
    found = claims(world.token("root/app", "pull,push"))
    assert (found["iss"], found["aud"], found["sub"]) == ("omnibus-gitlab-issuer", "container_registry", "root")
    assert found["exp"] - found["iat"] == 300
    assert found["auth_type"] == "personal_access_token"
    (access,) = found["access"]
    assert (access["name"], access["actions"]) == ("root/app", ["pull", "push"])
    assert access["meta"]["project_path"] == "root/app"


def test_images_lie_at_most_two_names_below_their_project(world: World):
    (access,) = claims(world.token("root/app/a/b", "pull,push"))["access"]
    assert access["actions"] == ["pull", "push"]
    assert claims(world.token("root/app/a/b/c", "pull,push"))["access"] == []


def test_a_token_without_a_wish_opens_the_front_door_only(world: World):
    token = world.auth().json["token"]
    assert world.registry("GET", "/", token=token).status == 200
    refused = world.registry("GET", "/root/app/tags/list", token=token)
    assert refused.status == 401
    challenge = refused.headers["WWW-Authenticate"]
    assert 'scope="repository:root/app:pull"' in challenge
    assert 'error="insufficient_scope"' in challenge
    garbled = world.registry("GET", "/", token="a.b.c")
    assert 'error="invalid_token"' in garbled.headers["WWW-Authenticate"]


def test_wrong_credentials_are_refused_with_gitlabs_words(world: World):
    refused = world.auth(login=("root", "wrong"))
    assert refused.status == 401
    assert refused.code == "UNAUTHORIZED"
    assert refused.json["errors"][0]["message"].startswith("HTTP Basic: Access denied.")


def test_a_password_and_a_token_both_log_in(world: World):
    assert claims(world.auth(login=("root", "Correct-Horse-1")).json["token"])["auth_type"] == "gitlab_or_ldap"
    assert world.auth(login=("anything", ROOT_TOKEN)).status == 200


def test_anonymous_people_pull_what_is_public_and_nothing_else(world: World):
    public = world.auth("repository:root/open:pull,push", login=None)
    assert claims(public.json["token"])["access"][0]["actions"] == ["pull"]
    private = world.auth("repository:root/app:pull", login=None)
    assert (private.status, private.code) == (403, "DENIED")
    assert private.json["errors"][0]["message"] == "access forbidden"


def test_what_is_not_allowed_is_left_out_silently(world: World):
    login = deploy_token(world, "read_registry")
    token = world.auth("repository:root/app:pull,push", login=login).json["token"]
    assert claims(token)["access"][0]["actions"] == ["pull"]
    assert claims(token)["auth_type"] == "deploy_token"
    refused = world.registry("POST", "/root/app/blobs/uploads/", b"", token=token)
    assert (refused.status, 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]) == (401, True)
    elsewhere = world.auth("repository:root/other:pull", login=login).json["token"]
    assert claims(elsewhere)["access"] == []


def test_writing_needs_the_scope_for_reading_as_well(world: World):
    login = deploy_token(world, "write_registry")
    token = world.auth("repository:root/app:pull,push", login=login).json["token"]
    assert claims(token)["access"][0]["actions"] == ["push"]
    assert world.registry("POST", "/root/app/blobs/uploads/", b"", token=token).status == 401


def test_a_login_without_any_right_at_the_registry_is_forbidden(world: World):
    refused = world.auth("repository:root/app:pull", login=deploy_token(world, "read_repository"))
    assert (refused.status, refused.code) == (403, "DENIED")


def test_the_name_of_a_deploy_token_must_be_exact(world: World):
    _, value = deploy_token(world, "read_registry")
    assert world.auth(login=("somebody", value)).status == 401


def test_other_services_and_methods_do_not_exist_there(world: World):
    assert world.http("GET", f"{world.gitlab}/jwt/auth?service=other").status == 404
    assert world.http("POST", f"{world.gitlab}/jwt/auth", b"").status == 404


def test_a_disabled_registry_gives_nobody_anything(world: World):
    made = world.api("POST", "/projects", {"name": "closed", "container_registry_access_level": "disabled"}).json
    assert claims(world.token(made["path_with_namespace"], "pull,push"))["access"] == []


def test_the_key_is_private_and_tokens_expire_with_a_minutes_leeway(tmp_path):
    key = tokens.Key(tmp_path / "registry" / "token.key")
    token = tokens.issue(key, subject="root", kind="x", user={}, access=[{"type": "a"}], lifetime=10)
    assert stat.S_IMODE((tmp_path / "registry" / "token.key").stat().st_mode) == 0o600
    now = time.time()
    assert tokens.check(key, token, now + 65) == [{"type": "a"}]
    assert tokens.check(tokens.Key(tmp_path / "registry" / "token.key"), token) == [{"type": "a"}]
    with pytest.raises(tokens.TokenError):
        tokens.check(key, token, now + 75)
    with pytest.raises(tokens.TokenError):
        tokens.check(key, token, now - 70)
    other = tokens.Key(tmp_path / "other.key")
    with pytest.raises(tokens.TokenError):
        tokens.check(other, token)


def test_a_token_that_is_not_signed_is_refused(tmp_path):
    key = tokens.Key(tmp_path / "key")
    good = tokens.issue(key, subject="root", kind="x", user={}, access=[], lifetime=10)
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    with pytest.raises(tokens.TokenError):
        tokens.check(key, f"{header}.{good.split('.')[1]}.")


def test_a_repository_appears_when_its_push_is_authorised(world: World):
    base = f"/projects/{world.projects['open']}/registry/repositories"
    assert world.api("GET", base).json == []
    world.token("root/open/part", "pull")
    assert world.api("GET", base).json == []
    world.token("root/open/part", "pull,push")
    (row,) = world.api("GET", base + "?tags_count=true").json
    assert (row["name"], row["path"], row["location"]) == ("part", "root/open/part", f"{world.host}/root/open/part")
    assert row["tags_count"] == 0


def test_tags_are_shown_with_what_their_image_says(world: World):
    digest = world.push_image("root/app", "v1", b"12345")
    row = next(r for r in world.api("GET", "/projects/root%2Fapp/registry/repositories?tags=1").json if r["name"] == "")
    assert row["tags"] == [{"name": "v1", "path": "root/app:v1", "location": f"{world.host}/root/app:v1"}]
    base = f"/projects/root%2Fapp/registry/repositories/{row['id']}/tags"
    shown = world.api("GET", f"{base}/v1").json
    assert (shown["digest"], shown["total_size"]) == (digest, 5)
    assert shown["created_at"] == "2026-01-02T03:04:05.000+00:00"
    assert shown["short_revision"] == shown["revision"][:9]
    missing = world.api("GET", f"{base}/v2")
    assert (missing.status, missing.json["message"]) == (404, "404 Tag Not Found")
    assert world.api("GET", f"/registry/repositories/{row['id']}?size=true").json["size"] == 5
    assert world.api("GET", base.replace("/tags", "x/tags")).status == 400


def test_bulk_removal_spares_latest_and_what_is_kept_and_runs_once_an_hour(world: World):
    for tag in ("latest", "a1", "a2", "keep-a", "b1"):
        world.push_image("root/app/bulk", tag)
    rows = world.api("GET", "/projects/root%2Fapp/registry/repositories").json
    base = "/projects/root%2Fapp/registry/repositories/" + str(next(r["id"] for r in rows if r["name"] == "bulk"))
    assert world.api("DELETE", f"{base}/tags", {}).status == 400
    wish = {"name_regex_delete": ".*a.*", "name_regex_keep": "keep-.*"}
    assert world.api("DELETE", f"{base}/tags", wish).status == 202
    assert [tag["name"] for tag in world.api("GET", f"{base}/tags").json] == ["b1", "keep-a", "latest"]
    assert world.api("DELETE", f"{base}/tags", wish).status == 400
    assert world.api("DELETE", f"{base}/tags/b1").status == 200
    assert world.api("DELETE", base).status == 202
    assert world.api("GET", f"{base}/tags").status == 404


def test_images_follow_a_project_that_is_renamed_and_leave_its_path_free(world: World):
    made = world.api("POST", "/projects", {"name": "short"}).json
    world.push_image("root/short", "v1")
    world.push_image("root/short/part", "v1")
    assert world.api("DELETE", f"/projects/{made['id']}").status == 202
    renamed = world.api("GET", f"/projects/{made['id']}").json["path_with_namespace"]
    assert renamed != "root/short"
    rows = world.api("GET", f"/projects/{made['id']}/registry/repositories?tags_count=1").json
    assert [(row["path"], row["tags_count"]) for row in rows] == [(renamed, 1), (f"{renamed}/part", 1)]
    again = world.api("POST", "/projects", {"name": "short"}).json
    assert world.api("GET", f"/projects/{again['id']}/registry/repositories").json == []
    assert world.registry("GET", "/root/short/manifests/v1").code == "MANIFEST_UNKNOWN"
    assert world.registry("GET", f"/{renamed}/manifests/v1").status == 200
