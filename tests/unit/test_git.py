from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab import git
from lab.errors import LabError, UsageError
from lab.settings import ProjectSettings
from lab.source import inspect

PERSON = git.Person("Somebody", "somebody@lab.test", "2026-01-01T00:00:00Z")


@pytest.fixture
def remote(tmp_path: Path) -> git.Remote:
    """A bare repository, reached by a route that differs from its identity."""
    bare = tmp_path / "srv" / "root" / "hichat.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    return git.Remote("http://gitlab.lab.test:8929", f"file://{tmp_path}/srv", "root/hichat", "root", "secret")


def bare(remote: git.Remote) -> Path:
    return Path(remote.route.removeprefix("file://")) / "root" / "hichat.git"


def log(remote: git.Remote, branch: str, form: str = "%s") -> list[str]:
    words = ["git", "log", f"--format={form}", branch]
    return subprocess.run(words, cwd=bare(remote), capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "k8s").mkdir(parents=True)
    (folder / "k8s" / "a.yaml").write_text("a: 1\n")
    (folder / ".gitlab-ci.yml").write_text("stages: []\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("")
    return folder


def start(remote: git.Remote, tree: Path) -> str:
    with git.snapshot(tree, "feat: first", PERSON) as (path, sha):
        git.push(path, remote, sha, "master")
    return sha


def test_a_snapshot_is_the_same_commit_each_time(remote, tree):
    first = start(remote, tree)
    with git.snapshot(tree, "feat: first", PERSON) as (_, again):
        assert again == first
    assert log(remote, "master", "%H %an %s") == [f"{first} Somebody feat: first"]
    names = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "master"], cwd=bare(remote), capture_output=True, text=True, check=True
    ).stdout.split()
    assert names == [".gitlab-ci.yml", "k8s/a.yaml"]


def test_append_adds_one_commit_and_keeps_the_rest(remote, tree):
    start(remote, tree)
    sha = git.append(remote, "master", "test: smoke", git.Person("lab-smoke", "s@lab.test"), {".lab-smoke": "now\n"})
    assert log(remote, "master", "%H %an")[0] == f"{sha} lab-smoke"
    text = subprocess.run(
        ["git", "show", "--stat", "--format=", "master"], cwd=bare(remote), capture_output=True, text=True, check=True
    ).stdout
    assert ".lab-smoke" in text
    assert "1 file changed" in text


def test_an_empty_commit_repeats_the_trailers_below(remote, tree):
    with git.snapshot(tree, "chore: update image [skip ci]\n\nSource-Commit: abc", PERSON) as (path, sha):
        git.push(path, remote, sha, "k8s-config")
    git.append(remote, "k8s-config", "chore: prove [skip ci]\n\n{trailers}", PERSON)
    assert log(remote, "k8s-config", "%s|%(trailers:only,unfold,separator=%x2C)") == [
        "chore: prove [skip ci]|Source-Commit: abc",
        "chore: update image [skip ci]|Source-Commit: abc",
    ]
    trees = set(log(remote, "k8s-config", "%T"))
    assert len(trees) == 1


def test_a_branch_that_moves_meanwhile_is_met_by_another_attempt(remote, tree, tmp_path):
    start(remote, tree)
    other, blob = tmp_path / "moved", bare(remote) / "hooks" / "pre-receive"
    # The first push finds the branch moved: the hook itself pushes a commit before refusing nothing.
    blob.write_text(
        "#!/bin/sh\n"
        f'[ -e "{other}" ] && exit 0\n'
        f': > "{other}"\n'
        "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n"
        "new=$(git -c user.name=x -c user.email=x@x commit-tree -p master -m other 'master^{tree}')\n"
        "git update-ref refs/heads/master $new\n"
    )
    blob.chmod(0o755)
    git.append(remote, "master", "mine", PERSON)
    assert log(remote, "master") == ["mine", "other", "feat: first"]


def test_a_refused_push_says_why(remote, tree):
    start(remote, tree)
    hook = bare(remote) / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'GitLab: You are not allowed to push code to protected branches' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(LabError) as raised:
        git.append(remote, "master", "x", PERSON)
    assert "protected branches" in raised.value.evidence


def test_the_password_is_on_no_command_line(tmp_path, monkeypatch):
    shown = tmp_path / "argv"
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shown}\necho "$LAB_GIT_PASSWORD"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    remote = git.Remote("http://gitlab.lab.test", "http://127.0.0.1:1", "root/x", "root", "glpat-hidden")
    done = git.git("fetch", remote.url, cwd=tmp_path, remote=remote)
    assert "glpat-hidden" not in shown.read_text()
    assert done.stdout.strip() == "[masked]"
    assert "url.http://127.0.0.1:1/.insteadOf=http://gitlab.lab.test/" in shown.read_text()
    assert "glpat-hidden" not in repr(remote)


def source(tmp_path: Path, files: dict[str, str]) -> ProjectSettings:
    folder = tmp_path / "own"
    folder.mkdir()
    run = lambda *words: subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)  # noqa: E731
    run("init", "-q", "-b", "master")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    run("add", "-A")
    run("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "first")
    return ProjectSettings(source=folder)


SOUND = {
    "Dockerfile": "FROM scratch\n",
    ".gitlab-ci.yml": "a:\n  script:\n    - git push http://$CI_SERVER_HOST/x HEAD:k8s-config\n",
    "k8s/hichat.yaml": "image: x\n",
}


def test_a_sound_source_is_described(tmp_path):
    found = inspect(source(tmp_path, SOUND))
    assert "1 commits" in found.summary
    assert found.hosts == ()


def test_hard_coded_hosts_are_named_with_their_line(tmp_path):
    files = {
        **SOUND,
        ".gitlab-ci.yml": "x:\n  script:\n    - git push https://oauth2:$CI_JOB_TOKEN@gitlab.iceymoss/root/hichat.git\n"
        "    - git push http://oauth2:$CI_JOB_TOKEN@$CI_SERVER_HOST/root/hichat.git\n"
        "  services:\n    - {name: docker:24-dind, command: ['--insecure-registry=registry.lan:5050']}\n",
        "k8s/hichat.yaml": "# see http://comment.example/\nimage: gitlab.iceymoss:5050/root/hichat:latest\n",
        "k8s/argocd-application.yaml": "repoURL: http://172.21.0.1/root/hichat.git\nserver: https://kubernetes.default.svc\n",
    }
    found = inspect(source(tmp_path, files))
    assert set(found.hosts) == {
        ".gitlab-ci.yml:3 gitlab.iceymoss",
        ".gitlab-ci.yml:6 registry.lan",
        "k8s/hichat.yaml:2 gitlab.iceymoss",
        "k8s/argocd-application.yaml:1 172.21.0.1",
    }


@pytest.mark.parametrize("missing", ["Dockerfile", ".gitlab-ci.yml", "k8s/hichat.yaml"])
def test_a_source_that_lacks_a_file_is_refused(tmp_path, missing):
    project = source(tmp_path, {name: text for name, text in SOUND.items() if name != missing})
    with pytest.raises(UsageError) as raised:
        inspect(project)
    assert missing in raised.value.problem


def test_a_folder_that_is_no_repository_is_refused(tmp_path):
    with pytest.raises(UsageError) as raised:
        inspect(ProjectSettings(source=tmp_path))
    assert "no git repository" in raised.value.problem


def test_a_missing_branch_names_those_there_are(tmp_path):
    project = source(tmp_path, SOUND)
    with pytest.raises(UsageError) as raised:
        inspect(ProjectSettings(source=project.source, branch="main"))
    assert "master" in raised.value.evidence
