"""The pipeline of the sample project: its shape, and the script of update-config run for real against a Git server."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit

import pytest
import yaml

PROJECT = Path(__file__).parents[2] / "gitlab" / "project"
PIPELINE = yaml.safe_load((PROJECT / ".gitlab-ci.yml").read_text())
TOKEN = "glpat-a-secret-that-must-stay-one"
SHELLS = [shell for shell in ("sh", "dash", "bash", "busybox sh") if which(shell.split()[0])]


class GitServer(ThreadingHTTPServer):
    """Git over HTTP by git's own CGI program; asks for a password and may do something before a push is taken."""

    def __init__(self, repositories: Path) -> None:
        super().__init__(("127.0.0.1", 0), GitHandler)
        self.repositories = repositories
        self.password = TOKEN
        self.users: set[str] = set()
        self.before_push: list = []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join(10)


class GitHandler(BaseHTTPRequestHandler):
    server: GitServer

    def do_GET(self) -> None:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(value).decode().partition(":")
        if scheme != "Basic" or password != self.server.password:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="GitLab"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.users.add(user)
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if url.path.endswith("git-receive-pack") and self.server.before_push:
            self.server.before_push.pop(0)()
        self.answer(url.path, url.query, user, body)

    def do_POST(self) -> None:
        self.do_GET()

    def answer(self, path: str, query: str, user: str, body: bytes) -> None:
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.server.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_USER": user,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, timeout=30, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        self.send_response(next((int(value.split()[0]) for name, value in headers if name == "Status"), 200))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Lab:
    """A project on the server, a developer's clone, and jobs that run update-config."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bare = folder / "repositories" / "root" / "hichat.git"
        self.server = GitServer(folder / "repositories")
        self.developer = folder / "developer"
        self.jobs = 0
        self.git(folder, "init", "--quiet", "--bare", "--initial-branch=master", str(self.bare))
        self.git(self.bare, "config", "http.receivepack", "true")
        self.git(folder, "init", "--quiet", "--initial-branch=master", str(self.developer))
        (self.developer / "k8s").mkdir()
        for path in (PROJECT / "k8s").iterdir():
            (self.developer / "k8s" / path.name).write_text(path.read_text())

    def git(self, folder: Path, *arguments: str) -> str:
        names = {f"GIT_{who}_{what}": "dev@lab.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.strip()

    def push(self, text: str) -> str:
        """A commit on master; returns its SHA."""
        (self.developer / "file").write_text(text)
        self.git(self.developer, "add", "--all")
        self.git(self.developer, "commit", "--quiet", "--message", text)
        self.git(self.developer, "push", "--quiet", str(self.bare), "master")
        return self.git(self.developer, "rev-parse", "HEAD")

    def job(self, sha: str, *, shell: str = "sh", depth: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run update-config for a commit in a fresh clone."""
        self.jobs += 1
        clone = self.folder / f"job-{self.jobs}"
        shallow = [f"--depth={depth}"] if depth else []
        self.git(self.folder, "clone", "--quiet", *shallow, f"file://{self.bare}", str(clone))
        return self.job_in(clone, sha, shell=shell, **variables)

    def job_in(self, clone: Path, sha: str, *, shell: str = "sh", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run update-config for a commit as a runner does: detached, with the job token in the clone's settings."""
        self.git(clone, "checkout", "--quiet", "--detach", sha)
        # What real runners put into every clone: requests to the project's address get the job token.
        with_token = self.server.url.replace("://", "://gitlab-ci-token:job-token@")
        self.git(clone, "config", f"url.{with_token}.insteadOf", self.server.url)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CI_COMMIT_SHA": sha,
            "CI_COMMIT_SHORT_SHA": sha[:8],
            "CI_DEFAULT_BRANCH": "master",
            "CI_PROJECT_URL": f"{self.server.url}/root/hichat",
            "CI_REGISTRY_IMAGE": "gitlab.lab.test:5050/root/hichat",
            "IMAGE": "gitlab.lab.test:5050/root/hichat",
            "CONFIG_BRANCH": "k8s-config",
            "CONFIG_BRANCH_TOKEN": TOKEN,
            **variables,
        }
        script = "\n".join(PIPELINE["update-config"]["script"])
        done = subprocess.run(
            shell.split(),
            input=script,
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert TOKEN not in done.stdout + done.stderr
        left = [path for path in clone.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
        assert left == []
        return done

    def config(self, *arguments: str) -> str:
        return self.git(self.bare, *arguments)


@pytest.fixture
def lab(tmp_path: Path):
    lab = Lab(tmp_path)
    yield lab
    lab.server.stop()


def image_line(lab: Lab, revision: str = "k8s-config") -> str:
    lines = lab.config("show", f"{revision}:k8s/hichat.yaml").splitlines()
    return next(line.strip() for line in lines if "image:" in line)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_run_creates_the_branch_with_only_the_manifests(lab: Lab, shell: str) -> None:
    sha = lab.push("one")
    done = lab.job(sha, shell=shell)
    assert done.returncode == 0, done.stdout + done.stderr
    assert image_line(lab) == f'image: "gitlab.lab.test:5050/root/hichat:{sha[:8]}"'
    names = lab.config("ls-tree", "-r", "--name-only", "k8s-config").splitlines()
    assert names == sorted(f"k8s/{path.name}" for path in (PROJECT / "k8s").iterdir())
    message = lab.config("log", "-1", "--format=%B", "k8s-config")
    assert message == f"chore: update image to {sha[:8]} [skip ci]\n\nSource-Commit: {sha}"
    assert lab.config("log", "-1", "--format=%(trailers:key=Source-Commit,valueonly)", "k8s-config") == sha
    assert lab.config("rev-list", "--count", "k8s-config") == "1"
    assert lab.config("rev-parse", "master") == sha


def test_the_bot_pushes_and_not_the_job_token(lab: Lab) -> None:
    assert lab.job(lab.push("one")).returncode == 0
    assert lab.server.users == {"config-bot"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_second_run_adds_one_commit_and_takes_deletions_along(lab: Lab, shell: str) -> None:
    lab.job(lab.push("one"), shell=shell)
    (lab.developer / "k8s" / "redis.yaml").unlink()
    (lab.developer / "k8s" / "more").mkdir()
    (lab.developer / "k8s" / "more" / "new.yaml").write_text("new: 1\n")
    sha = lab.push("two")
    assert lab.job(sha, shell=shell).returncode == 0
    names = lab.config("ls-tree", "-r", "--name-only", "k8s-config").splitlines()
    assert "k8s/redis.yaml" not in names
    assert "k8s/more/new.yaml" in names
    assert lab.config("rev-list", "--count", "k8s-config") == "2"
    assert image_line(lab).endswith(f'{sha[:8]}"')


def test_what_people_put_beside_the_manifests_stays(lab: Lab) -> None:
    lab.git(lab.developer, "commit", "--quiet", "--allow-empty", "--message", "start")
    (lab.developer / "README").write_text("by hand")
    lab.git(lab.developer, "add", "README")
    lab.git(lab.developer, "commit", "--quiet", "--message", "derived branch")
    lab.git(lab.developer, "push", "--quiet", str(lab.bare), "HEAD:k8s-config")
    assert lab.job(lab.push("one")).returncode == 0
    assert lab.config("show", "k8s-config:README") == "by hand"


def test_the_same_commit_again_changes_nothing_and_succeeds(lab: Lab) -> None:
    sha = lab.push("one")
    lab.job(sha)
    tip = lab.config("rev-parse", "k8s-config")
    done = lab.job(sha)
    assert (done.returncode, lab.config("rev-parse", "k8s-config")) == (0, tip)
    assert "Nothing to do" in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("depth", [0, 2])
def test_an_older_pipeline_that_ends_last_changes_nothing(lab: Lab, shell: str, depth: int) -> None:
    older = lab.push("one")
    newer = lab.push("two")
    lab.job(newer)
    tip = lab.config("rev-parse", "k8s-config")
    done = lab.job(older, shell=shell, depth=depth)
    assert done.returncode == 0, done.stderr
    assert f"already holds {newer}" in done.stdout
    assert lab.config("rev-parse", "k8s-config") == tip


def test_the_order_is_known_even_after_somebody_else_committed_to_the_branch(lab: Lab) -> None:
    older, newer = lab.push("one"), lab.push("two")
    lab.job(newer)
    tree = lab.config("rev-parse", "k8s-config^{tree}")
    by_hand = lab.config("commit-tree", tree, "-p", "k8s-config", "-m", "by hand")
    lab.config("update-ref", "refs/heads/k8s-config", by_hand)
    done = lab.job(older)
    assert "already holds" in done.stdout
    assert lab.config("rev-parse", "k8s-config") == by_hand


def test_a_commit_of_a_rewritten_history_is_deployed(lab: Lab) -> None:
    lab.job(lab.push("one"))
    lab.git(lab.developer, "checkout", "--quiet", "--orphan", "again")
    lab.git(lab.developer, "commit", "--quiet", "--message", "other history")
    lab.git(lab.developer, "branch", "--quiet", "--force", "master", "again")
    lab.git(lab.developer, "checkout", "--quiet", "master")
    lab.git(lab.developer, "push", "--quiet", "--force", str(lab.bare), "master")
    sha = lab.git(lab.developer, "rev-parse", "HEAD")
    assert lab.job(sha).returncode == 0
    assert image_line(lab).endswith(f'{sha[:8]}"')


@pytest.mark.parametrize("shell", SHELLS)
def test_a_branch_that_moves_during_the_push_is_taken_up_again(lab: Lab, shell: str) -> None:
    lab.job(lab.push("one"))
    sha = lab.push("two")

    def somebody_is_faster() -> None:
        tree = lab.config("rev-parse", "k8s-config^{tree}")
        commit = lab.config("commit-tree", tree, "-p", "k8s-config", "-m", "faster")
        lab.config("update-ref", "refs/heads/k8s-config", commit)

    lab.server.before_push = [somebody_is_faster, somebody_is_faster]
    done = lab.job(sha, shell=shell)
    assert done.returncode == 0, done.stderr
    assert "has moved in the meantime" in done.stdout
    subjects = lab.config("log", "--format=%s", "k8s-config").splitlines()
    assert subjects[0] == f"chore: update image to {sha[:8]} [skip ci]"
    assert "faster" in subjects


def test_a_newer_pipeline_that_wins_the_race_ends_the_older_one(lab: Lab) -> None:
    first = lab.push("one")
    lab.job(first)
    older, newer = lab.push("two"), lab.push("three")
    lab.server.before_push = [lambda: lab.job(newer)]
    done = lab.job(older)
    assert done.returncode == 0, done.stderr
    assert f"already holds {newer}" in done.stdout
    assert image_line(lab).endswith(f'{newer[:8]}"')


def test_a_branch_that_somebody_else_creates_first_is_taken_up(lab: Lab) -> None:
    older, newer = lab.push("one"), lab.push("two")
    lab.server.before_push = [lambda: lab.job(older)]
    assert lab.job(newer).returncode == 0
    assert lab.config("rev-list", "--count", "k8s-config") == "2"
    assert image_line(lab).endswith(f'{newer[:8]}"')


def test_a_clone_that_the_runner_keeps_serves_again(lab: Lab) -> None:
    sha = lab.push("one")
    lab.job(sha)
    clone = lab.folder / "job-1"
    lab.config("update-ref", "-d", "refs/heads/k8s-config")
    done = lab.job_in(clone, sha)
    assert done.returncode == 0, done.stderr
    assert lab.job_in(clone, sha).returncode == 0
    assert lab.config("rev-list", "--count", "k8s-config") == "1"


def test_a_refused_push_ends_the_job_at_once(lab: Lab) -> None:
    lab.job(lab.push("one"))
    sha = lab.push("two")
    hook = lab.bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho GitLab: You are not allowed to push code to protected branches.\nexit 1\n")
    hook.chmod(0o755)
    done = lab.job(sha)
    assert done.returncode == 1
    assert "not allowed to push" in done.stderr
    assert "the branch has not moved" in done.stdout


def test_a_wrong_token_ends_the_job(lab: Lab) -> None:
    sha = lab.push("one")
    lab.server.password = "another"
    assert lab.job(sha).returncode != 0
    assert lab.config("branch", "--list", "k8s-config") == ""


def test_without_a_token_the_job_says_which_variable_is_missing(lab: Lab) -> None:
    done = lab.job(lab.push("one"), CONFIG_BRANCH_TOKEN="")
    assert done.returncode == 1
    assert "CONFIG_BRANCH_TOKEN" in done.stdout


def test_the_token_of_older_set_ups_serves_too(lab: Lab) -> None:
    done = lab.job(lab.push("one"), CONFIG_BRANCH_TOKEN="", PERSONAL_ACCESS_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr


def test_manifests_without_the_image_are_an_error(lab: Lab) -> None:
    (lab.developer / "k8s" / "hichat.yaml").write_text("kind: Nothing\n")
    done = lab.job(lab.push("one"))
    assert done.returncode == 1
    assert "no line 'image:" in done.stdout


def test_pipelines_run_on_branches_but_never_on_the_config_branch() -> None:
    assert PIPELINE["workflow"]["rules"] == [
        {"if": "$CI_COMMIT_BRANCH == $CONFIG_BRANCH", "when": "never"},
        {"if": "$CI_COMMIT_BRANCH"},
    ]
    assert PIPELINE["stages"] == ["build", "update-config"]
    assert PIPELINE["update-config"]["resource_group"] == "k8s-config"


def docker(folder: Path) -> Path:
    """A docker command that writes down how it was called."""
    command = folder / "docker"
    command.write_text(
        """#!/bin/sh
        if [ "$1" = login ]; then echo "$* <$(cat)"; else echo "$*"; fi >> "$DOCKER_CALLS"
        """
    )
    command.chmod(0o755)
    return command


def build(tmp_path: Path, shell: str, **variables: str) -> tuple[int, list[str]]:
    calls = tmp_path / "calls"
    environment = {
        "PATH": f"{docker(tmp_path).parent}:{os.environ['PATH']}",
        "DOCKER_CALLS": str(calls),
        "CI_REGISTRY": "gitlab.lab.test:5050",
        "CI_REGISTRY_USER": "gitlab-ci-token",
        "CI_REGISTRY_PASSWORD": "job-token",
        "CI_COMMIT_SHA": "a1b2c3d4" * 5,
        "CI_COMMIT_SHORT_SHA": "a1b2c3d4",
        "CI_COMMIT_BRANCH": "master",
        "CI_COMMIT_REF_SLUG": "master",
        "CI_DEFAULT_BRANCH": "master",
        "IMAGE": "gitlab.lab.test:5050/root/hichat",
        **variables,
    }
    job = PIPELINE["build"]
    script = "set -e\n" + "\n".join(job["before_script"] + job["script"])
    done = subprocess.run(
        shell.split(), input=script, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, calls.read_text().splitlines()


@pytest.mark.parametrize("shell", SHELLS)
def test_build_pushes_three_tags_of_one_image(tmp_path: Path, shell: str) -> None:
    code, calls = build(tmp_path, shell)
    image = "gitlab.lab.test:5050/root/hichat"
    assert code == 0
    assert "login --username gitlab-ci-token --password-stdin gitlab.lab.test:5050 <job-token" in calls
    arguments = f"--build-arg COMMIT_SHA={'a1b2c3d4' * 5}"
    assert f"build {arguments} --tag {image}:a1b2c3d4 --tag {image}:master ." in calls
    assert f"tag {image}:a1b2c3d4 {image}:latest" in calls
    pushed = {call.removeprefix("push ") for call in calls if call.startswith("push ")}
    assert pushed == {f"{image}:a1b2c3d4", f"{image}:master", f"{image}:latest"}


def test_another_branch_does_not_move_latest(tmp_path: Path) -> None:
    _, calls = build(tmp_path, "sh", CI_COMMIT_BRANCH="feature/x", CI_COMMIT_REF_SLUG="feature-x")
    assert not [call for call in calls if call.endswith(":latest")]


@pytest.mark.parametrize(
    ("image", "registry"),
    [("somebody/hichat", "docker.io"), ("docker.io/somebody/hichat", "docker.io"), ("ghcr.io/a/b", "ghcr.io")],
)
def test_another_registry_takes_its_own_login(tmp_path: Path, image: str, registry: str) -> None:
    code, calls = build(tmp_path, "sh", IMAGE=image, DOCKERHUB_USERNAME="somebody", DOCKERHUB_PASSWORD="hub")
    assert code == 0
    assert f"login --username somebody --password-stdin {registry} <hub" in calls


def test_another_registry_without_its_login_is_an_error(tmp_path: Path) -> None:
    code, calls = build(tmp_path, "sh", IMAGE="somebody/hichat")
    assert code == 1
    assert not [call for call in calls if call.startswith(("login", "build"))]


def test_the_daemon_gets_the_registry_from_its_environment(tmp_path: Path) -> None:
    (service,) = PIPELINE["build"]["services"]
    entrypoint = tmp_path / "dockerd-entrypoint.sh"
    entrypoint.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    entrypoint.chmod(0o755)
    done = subprocess.run(
        [*service["entrypoint"], *service["command"]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CI_REGISTRY": "gitlab.lab.test:5050"},
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert done.stdout.split() == ["--tls=false", "--insecure-registry=gitlab.lab.test:5050"]
    assert PIPELINE["build"]["variables"]["DOCKER_TLS_CERTDIR"] == ""


def test_another_base_image_is_passed_to_the_build(tmp_path: Path) -> None:
    _, calls = build(tmp_path, "sh", PYTHON_IMAGE="mirror.example.com/library/python:3")
    assert any("--build-arg PYTHON_IMAGE=mirror.example.com/library/python:3 --tag" in call for call in calls)
