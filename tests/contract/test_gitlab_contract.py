"""GitLab through python-gitlab and git: the calls that the loop and the README use, and the errors they rest on."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import secrets
import subprocess
import threading
import warnings
from datetime import date, timedelta

import gitlab
import pytest
import requests

from lab.waiting import Pending, wait_until

pytestmark = pytest.mark.needs("gitlab")


@pytest.fixture(scope="module")
def gl(target):
    client = gitlab.Gitlab(target.gitlab, private_token=target.root_token, timeout=20, keep_base_url=True)
    client.auth()
    return client


@pytest.fixture
def project(gl):
    created = gl.projects.create({"name": f"contract-{secrets.token_hex(4)}"})
    yield created
    with contextlib.suppress(gitlab.GitlabError):
        created.delete()


@pytest.fixture
def filled(project):
    """A project whose default branch ``main`` has a README."""
    project.branches.create({"branch": "start", "ref": "main"})
    return project


def _git(*arguments, cwd=None, check=True):
    environment = {
        "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_AUTHOR_NAME": "A", "GIT_COMMITTER_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_EMAIL": "a@example.com",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def _address(target, project, login="root", password=None):
    base = target.gitlab.replace("://", f"://{login}:{password or target.root_token}@")
    return f"{base}/{project.path_with_namespace}.git"


@pytest.fixture
def checkout(target, project, tmp_path):
    """A folder with one commit on ``master``, and remote ``origin``."""
    folder = tmp_path / "work"
    _git("init", "-q", "-b", "master", str(folder))
    _git("remote", "add", "origin", _address(target, project), cwd=folder)
    (folder / "app.py").write_text("print()\n")
    _git("add", "-A", cwd=folder)
    _git("commit", "-q", "-m", "first", cwd=folder)
    return folder


def _head(folder):
    return _git("rev-parse", "HEAD", cwd=folder).stdout.strip()


@contextlib.contextmanager
def _receiver(target, status=200):
    """A webhook's target where the target's systems reach it, with the requests that arrived."""
    arrived = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            arrived.append((dict(self.headers), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer((target.callback, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{target.callback}:{server.server_port}/api/webhook", arrived
        finally:
            server.shutdown()
            thread.join(5)


def _arrival(arrived):
    return wait_until("a delivery", lambda: arrived[0] if arrived else Pending("none yet"), timeout=20)


@pytest.fixture
def local_hooks(gl):
    settings = gl.settings.get()
    settings.allow_local_requests_from_web_hooks_and_services = True
    settings.save()


def test_version_needs_a_token(target, gl):
    version, revision = gl.version()
    assert version[0].isdigit()
    assert revision
    answer = requests.get(f"{target.gitlab}/api/v4/version", timeout=10)
    assert (answer.status_code, answer.json()) == (401, {"message": "401 Unauthorized"})


def test_wrong_tokens_are_refused(target):
    with pytest.raises(gitlab.GitlabAuthenticationError):
        gitlab.Gitlab(target.gitlab, private_token="glpat-wrong", timeout=20).auth()


def test_root_is_the_administrator(gl):
    assert (gl.user.username, gl.user.is_admin) == ("root", True)
    assert gl.personal_access_tokens.get("self").active


def test_projects_are_found_by_id_and_path(gl, project):
    assert gl.projects.get(project.path_with_namespace).id == project.id
    assert gl.projects.get(project.id).http_url_to_repo.endswith(f"/{project.path_with_namespace}.git")
    with pytest.raises(gitlab.GitlabCreateError) as error:
        gl.projects.create({"name": project.name})
    assert error.value.response_code == 400
    assert error.value.error_message["path"] == ["has already been taken"]
    with pytest.raises(gitlab.GitlabGetError) as error:
        gl.projects.get("root/there-is-no-such-project")
    assert error.value.response_code == 404


def test_settings_of_a_project_are_saved(gl, project):
    project.ci_push_repository_for_job_token_allowed = True
    project.description = "about"
    project.save()
    read = gl.projects.get(project.id)
    assert (read.ci_push_repository_for_job_token_allowed, read.description) == (True, "about")


def test_deletion_frees_the_path_and_purge_ends_it(gl, project):
    path = project.path_with_namespace
    project.delete()
    marked = gl.projects.get(project.id)
    assert marked.path_with_namespace == f"{path}-deletion_scheduled-{project.id}"
    again = gl.projects.create({"name": project.name})
    assert again.id != project.id
    query = {"permanently_remove": True, "full_path": marked.path_with_namespace}
    gl.http_delete(f"/projects/{project.id}", query_data=query)

    def gone():
        found = gl.projects.list(get_all=True, search=project.name, include_pending_delete=True)
        return project.id not in [row.id for row in found] or Pending("the project is still there")

    wait_until("the purge", gone, timeout=60)
    with pytest.raises(gitlab.GitlabGetError) as error:
        gl.projects.get(project.id)
    assert error.value.response_code == 404
    again.delete()


def test_a_push_makes_the_default_branch(gl, project, checkout):
    _git("push", "-q", "origin", "master", cwd=checkout)
    branch = wait_until(
        "the protection of master",
        lambda: found if (found := project.branches.get("master")).protected else Pending("not protected"),
        timeout=20,
    )
    assert branch.default
    assert branch.commit["id"] == _head(checkout)
    assert gl.projects.get(project.id).default_branch == "master"
    rule = project.protectedbranches.get("master")
    assert rule.push_access_levels[0]["access_level"] == 40
    with pytest.raises(gitlab.GitlabCreateError) as error:
        project.protectedbranches.create({"name": "master"})
    assert error.value.response_code == 409


def test_clone_gives_what_was_pushed(target, project, checkout, tmp_path):
    _git("push", "-q", "origin", "master", cwd=checkout)
    _git("clone", "-q", _address(target, project, password=target.root_password), str(tmp_path / "copy"))
    assert _head(tmp_path / "copy") == _head(checkout)
    refused = _git("ls-remote", _address(target, project, password="wrong"), check=False)
    assert "HTTP Basic: Access denied" in refused.stderr


def test_force_pushes_to_a_protected_branch_are_declined(project, checkout):
    _git("push", "-q", "origin", "master", cwd=checkout)
    wait_until(
        "the protection of master",
        lambda: project.branches.get("master").protected or Pending("not protected"),
        timeout=20,
    )
    _git("commit", "-q", "--amend", "-m", "rewritten", cwd=checkout)
    refused = _git("push", "-f", "origin", "master", cwd=checkout, check=False)
    assert "You are not allowed to force push code to a protected branch on this project." in refused.stderr


def test_a_bot_pushes_where_it_may(target, project, checkout):
    _git("push", "-q", "origin", "master", cwd=checkout)
    wait_until(
        "the protection of master",
        lambda: project.branches.get("master").protected or Pending("not protected"),
        timeout=20,
    )
    expires = (date.today() + timedelta(days=30)).isoformat()  # noqa: DTZ011 - GitLab takes a day
    token = project.access_tokens.create(
        {"name": "config", "scopes": ["write_repository"], "access_level": 30, "expires_at": expires}
    )
    assert token.token
    bot = _address(target, project, "whatever", token.token)
    _git("push", "-q", bot, "master:k8s-config", cwd=checkout)
    assert project.branches.get("k8s-config").commit["id"] == _head(checkout)
    (checkout / "b").write_text("")
    _git("add", "b", cwd=checkout)
    _git("commit", "-q", "-m", "b", cwd=checkout)
    refused = _git("push", bot, "master", cwd=checkout, check=False)
    assert "You are not allowed to push code to protected branches on this project." in refused.stderr
    with pytest.raises(gitlab.GitlabHttpError):
        gitlab.Gitlab(target.gitlab, private_token=token.token, timeout=20).http_get(f"/projects/{project.id}")
    project.access_tokens.delete(token.id)
    assert _git("ls-remote", bot, check=False).returncode


def test_tokens_rotate_for_a_week(project):
    token = project.access_tokens.create({"name": "t", "scopes": ["api"], "access_level": 40})
    old = token.token
    token.rotate()
    assert token.token != old
    read = project.access_tokens.get(token.id)
    assert read.active
    days = (date.fromisoformat(read.expires_at) - date.today()).days  # noqa: DTZ011 - GitLab gives a day
    assert 6 <= days <= 8


def test_deploy_tokens_read(target, project, checkout):
    _git("push", "-q", "origin", "master", cwd=checkout)
    token = project.deploytokens.create({"name": "argo", "scopes": ["read_repository", "read_registry"]})
    address = _address(target, project, token.username, token.token)
    assert _head(checkout) in _git("ls-remote", address).stdout
    refused = _git("push", address, "master:x", cwd=checkout, check=False)
    assert "You are not allowed to upload code." in refused.stderr
    assert token.id in [row.id for row in project.deploytokens.list(get_all=True)]
    project.deploytokens.delete(token.id)
    assert _git("ls-remote", address, check=False).returncode


def test_branches_in_an_empty_repository(project):
    assert project.branches.list(get_all=True) == []
    project.branches.create({"branch": "k8s-config", "ref": "main"})
    assert {branch.name for branch in project.branches.list(get_all=True)} == {"main", "k8s-config"}
    with pytest.raises(gitlab.GitlabCreateError) as error:
        project.branches.create({"branch": "k8s-config", "ref": "main"})
    assert (error.value.response_code, error.value.error_message) == (400, "Branch already exists")
    project.branches.delete("k8s-config")
    with pytest.raises(gitlab.GitlabGetError):
        project.branches.get("k8s-config")


def test_files_and_commits(filled):
    body = {"file_path": "k8s/app.yaml", "branch": "main", "content": "a: 1\n", "commit_message": "add"}
    filled.files.create(body)
    with pytest.raises(gitlab.GitlabCreateError) as error:
        filled.files.create(body)
    assert error.value.error_message == "A file with this name already exists"
    file = filled.files.get("k8s/app.yaml", ref="main")
    assert file.decode() == b"a: 1\n"
    file.content = base64.b64encode(b"a: 2\n").decode()
    file.encoding = "base64"
    file.save(branch="main", commit_message="change")
    assert filled.files.raw("k8s/app.yaml", ref="main") == b"a: 2\n"
    commit = filled.commits.create(
        {
            "branch": "main",
            "commit_message": "two at once",
            "actions": [
                {"action": "create", "file_path": "one", "content": "1"},
                {"action": "delete", "file_path": "k8s/app.yaml"},
            ],
        }
    )
    assert commit.short_id == commit.id[:8]
    titles = [row.title for row in filled.commits.list(ref_name="main", get_all=True)]
    assert titles == ["two at once", "change", "add", "Initial commit"]
    assert {entry["path"] for entry in filled.repository_tree(ref="main", get_all=True)} == {"README.md", "one"}
    assert filled.repository_compare("start", "main")["commits"][-1]["id"] == commit.id
    with pytest.raises(gitlab.GitlabGetError) as missing:
        filled.files.get("nothing", ref="main")
    assert missing.value.response_code == 404


def test_tags(filled):
    tag = filled.tags.create({"tag_name": "v1.0", "ref": "main", "message": "first"})
    assert filled.tags.get("v1.0").commit["id"] == tag.commit["id"]
    filled.tags.delete("v1.0")
    assert filled.tags.list(get_all=True) == []


@pytest.mark.usefixtures("local_hooks")
def test_hooks_are_delivered_tested_and_logged(target, gl, project, checkout):
    with _receiver(target) as (url, arrived):
        hook = project.hooks.create(
            {"url": url, "token": "secret", "push_events": True, "push_events_branch_filter": "k8s-config"}
        )
        assert "token" not in hook.attributes
        _git("push", "-q", "origin", "master", cwd=checkout)
        _git("push", "-q", "origin", "master:k8s-config", cwd=checkout)
        headers, body = _arrival(arrived)
        assert headers["X-Gitlab-Event"] == "Push Hook"
        assert headers["X-Gitlab-Token"] == "secret"
        assert (body["ref"], body["after"]) == ("refs/heads/k8s-config", _head(checkout))
        assert body["project"]["path_with_namespace"] == project.path_with_namespace
        path = f"/projects/{project.id}/hooks/{hook.id}"

        def recorded():
            events = gl.http_get(f"{path}/events")
            return events[0] if events else Pending("no event yet")

        event = wait_until("the event", recorded, timeout=30)
        assert (event["response_status"], event["request_data"]["after"]) == ("200", _head(checkout))
        hook.test("push_events")
        assert gl.http_post(f"{path}/events/{event['id']}/resend")["response_status"] == 200
        assert len(arrived) == 3
    with _receiver(target, status=500) as (url, _):
        hook.url = url
        hook.save()
        with pytest.raises(gitlab.GitlabHookTestError) as error:
            hook.test("push_events")
        assert error.value.response_code == 422


def test_lists_page_without_warnings(filled):
    for number in range(25):
        filled.tags.create({"tag_name": f"v{number}", "ref": "main"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = {tag.name for tag in filled.tags.list(iterator=True, per_page=10)}
    assert len(names) == 25
    rows = filled.tags.list(iterator=True, per_page=10)
    assert (rows.total, rows.total_pages, rows.next_page) == (25, 3, 2)
