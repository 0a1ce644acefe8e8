"""The runner's parts: settings, masking, variables, scripts, archives."""

from __future__ import annotations

import subprocess
import zipfile

import pytest

from lab.emulator.runner import artifacts, script, settings
from lab.emulator.runner.environment import Variables, environment
from lab.emulator.runner.trace import Masker


def test_settings_are_read(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(
        'concurrent = 3\ncheck_interval = 7\n[[runners]]\nname = "a"\nurl = "http://x/"\ntoken = "glrt-1"\n'
        'executor = "shell"\nlimit = 2\nenvironment = ["A=1"]\n'
        '[[runners]]\nname = "b"\nurl = "http://x"\ntoken = "t"\nexecutor = "docker"\n'
    )
    found = settings.read(path)
    assert (found.concurrent, found.check_interval) == (3, 7.0)
    assert [(entry.name, entry.url, entry.limit, entry.environment) for entry in found.entries] == [
        ("a", "http://x", 2, ("A=1",))
    ]
    assert "glrt-1" not in repr(found)


def test_what_a_section_asks_for_in_vain_is_named(tmp_path, caplog):
    path = tmp_path / "config.toml"
    path.write_text('[[runners]]\nname = "a"\nurl = "http://x"\ntoken = "t"\npre_get_sources_script = "echo"\n')
    assert settings.read(path).entries
    assert "runner a: not emulated: pre_get_sources_script" in caplog.text


@pytest.mark.parametrize("text", ["concurrent = 0", "a = = b", "[[runners]]\nname = 'no url'"])
def test_broken_settings_are_refused(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"config\.toml"):
        settings.read(path)
    assert settings.read(tmp_path / "missing.toml").entries == ()


def test_secrets_are_masked_also_when_they_come_in_pieces():
    masker = Masker(["hush-hush", "hush"], ["glpat-"])
    shown = masker.feed(b"a hush-") + masker.feed(b"hush b\nglpat-abc_D ") + masker.feed(b"end", final=True)
    assert shown == b"a [MASKED] b\nglpat-[MASKED] end"


def test_a_long_line_without_an_end_is_not_held_back_for_ever():
    masker = Masker(["secret-value"])
    shown = masker.feed(b"x " * 400_000 + b"secret-")
    assert len(shown) > 500_000
    assert b"secret" not in shown
    assert masker.feed(b"value\n").endswith(b"[MASKED]\n")


def row(key, value, **more):
    return {"key": key, "value": value, **more}


def test_values_are_expanded_once_as_go_does(tmp_path):
    rows = [row("A", "1"), row("B", "$A-${A}-$NOBODY-$$A"), row("R", "$A", raw=True), row("C", "$B")]
    variables = Variables(rows, tmp_path)
    assert variables.all() == {"A": "1", "B": "1-1--$A", "R": "$A", "C": "$A-${A}-$NOBODY-$$A"}


def test_file_variables_are_private_files(tmp_path):
    variables = Variables([row("CERT", "pem\n", file=True, masked=True)], tmp_path)
    variables.write_files()
    assert variables.get("CERT") == str(tmp_path / "CERT")
    assert (tmp_path / "CERT").read_text() == "pem\n"
    assert (tmp_path / "CERT").stat().st_mode & 0o777 == 0o600
    assert variables.secrets() == ["pem\n"]


def test_the_environment_holds_nothing_of_the_emulators(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAK", "1")
    monkeypatch.setenv("http_proxy", "http://proxy")
    monkeypatch.setenv("PATH", "/usr/bin")
    variables = Variables([row("HOMEWORK", "x"), row("LAB_DOCKER_STORE", "/etc")], tmp_path)
    found = environment(
        variables, home=tmp_path / "h", temporary=tmp_path / "t", commands=tmp_path / "bin", store=tmp_path / "store"
    )
    assert set(found) == {"PATH", "HOME", "USER", "LANG", "TMPDIR", "SHELL", "HOMEWORK", "LAB_DOCKER_STORE"}
    assert found["PATH"] == f"{tmp_path / 'bin'}:/usr/bin"
    assert found["LAB_DOCKER_STORE"] == str(tmp_path / "store")


def shell(text, folder):
    return subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True, timeout=20, check=False)


def test_scripts_print_commands_and_end_with_the_first_failure(tmp_path):
    lines = ["echo 'it''s'", "false | true", "echo two\necho three", "exit 4", "echo never"]
    done = shell(script.commands([lines[0], *lines[2:]], folder=tmp_path), tmp_path)
    assert done.returncode == 4
    assert "$ echo 'it''s'" in done.stdout
    assert "its\n" in done.stdout
    assert "$ echo two # collapsed multi-line command" in done.stdout
    assert "never\n" not in done.stdout
    assert shell(script.commands(lines, folder=tmp_path), tmp_path).returncode == 1, "pipefail"
    assert shell(script.commands(["exit 0", "false"], folder=tmp_path), tmp_path).returncode == 0


def source(tmp_path, **more):
    git = {
        "repo_url": "http://gitlab-ci-token:s3cr3t@127.0.0.1:1/root/app.git", "sha": "a" * 40, "ref": "main",
        "depth": 20,
        "refspecs": ["+refs/heads/main:refs/remotes/origin/main"], **more.pop("git", {}),
    }  # fmt: skip
    return script.Sources(git, Variables([row(k, v) for k, v in more.items()], tmp_path))


def test_the_token_stands_in_the_credentials_alone(tmp_path):
    found = source(tmp_path)
    assert "s3cr3t" not in found.script(tmp_path, tmp_path / "credentials")
    assert found.url == "http://127.0.0.1:1/root/app.git"
    assert found.credentials() == (
        '[url "http://gitlab-ci-token:s3cr3t@127.0.0.1:1"]\n\tinsteadOf = "http://127.0.0.1:1"\n'
    )


def test_strategies_and_depths(tmp_path):
    assert "--depth 20" in source(tmp_path).script(tmp_path, tmp_path)
    whole = source(tmp_path, git={"depth": 0}).script(tmp_path, tmp_path)
    assert "--depth" not in whole
    assert "--unshallow" in whole
    assert "git fetch" not in source(tmp_path, GIT_STRATEGY="none").script(tmp_path, tmp_path)
    assert "rm -rf" in source(tmp_path, GIT_STRATEGY="clone").script(tmp_path, tmp_path)
    assert "git checkout -f" not in source(tmp_path, GIT_CHECKOUT="false").script(tmp_path, tmp_path)
    assert "--init --recursive" in source(tmp_path, GIT_SUBMODULE_STRATEGY="recursive").script(tmp_path, tmp_path)


def test_a_clone_url_replaces_the_host(tmp_path):
    git = {"repo_url": "http://gitlab-ci-token:s3cr3t@gitlab.lab.test:8929/root/app.git", "refspecs": []}
    found = script.Sources(git, Variables([], tmp_path), "http://127.0.0.1:9")
    assert (found.base, found.url) == ("http://127.0.0.1:9", "http://127.0.0.1:9/root/app.git")


def tree(folder):
    for name in ("out/a.txt", "out/deep/b.txt", ".hidden/c", "src/d.py", ".git/config"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"paths": ["out"]}, ["out/a.txt", "out/deep/b.txt"]),
        ({"paths": ["out/**/*.txt"]}, ["out/a.txt", "out/deep/b.txt"]),
        ({"paths": ["out/*.txt", "./src"]}, ["out/a.txt", "src/d.py"]),
        ({"paths": ["."], "exclude": ["out/**/*"]}, [".hidden/c", "src/d.py"]),
        ({"paths": [".hidden/"]}, [".hidden/c"]),
        ({"paths": ["nothing*"]}, []),
        ({"paths": ["../outside"]}, []),
    ],
)
def test_which_files_are_kept(tmp_path, wanted, expected):
    project = tmp_path / "project"
    tree(project)
    (tmp_path / "outside").write_text("x")
    found = [str(path.relative_to(project)) for path in artifacts.files(project, wanted)]
    assert [name for name in found if not name.startswith(".git/")] == expected


def test_archives_keep_modes_and_never_leave_their_folder(tmp_path):
    project, target = tmp_path / "a", tmp_path / "b"
    tree(project)
    target.mkdir()
    (project / "out/a.txt").chmod(0o755)
    artifacts.pack_zip(project, artifacts.files(project, {"paths": ["out"]}), tmp_path / "x.zip")
    assert artifacts.unpack_zip(tmp_path / "x.zip", target) == 2
    assert (target / "out/a.txt").stat().st_mode & 0o777 == 0o755
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with pytest.raises(artifacts.UnsafeArchiveError):
        artifacts.unpack_zip(tmp_path / "evil.zip", target)
