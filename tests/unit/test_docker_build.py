"""``docker build``: what an image holds, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_world import Docker


@pytest.fixture
def docker(tmp_path):
    return Docker(tmp_path)


def files(docker: Docker, name: str) -> dict[str, tarfile.TarInfo]:
    """Every member of every layer of an image, the last one of a name."""
    return {member.name: member for _, member in members(docker, name)}


def members(docker: Docker, name: str) -> list[tuple[bytes, tarfile.TarInfo]]:
    digest = docker.inspect(name)["RepoDigests"][0].rpartition(":")[2]
    blobs = docker.folder / "store" / "blobs" / "sha256"
    manifest = json.loads((blobs / digest).read_bytes())
    found = []
    for layer in manifest["layers"]:
        raw = (blobs / layer["digest"].rpartition(":")[2]).read_bytes()
        assert raw[4:8] == b"\0\0\0\0", "no time in the gzip header"
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as archive:
            for member in archive:
                file = archive.extractfile(member)
                found.append((file.read() if file else b"", member))
    return found


def content(docker: Docker, name: str, path: str) -> str:
    return next(data for data, member in reversed(members(docker, name)) if member.name == path).decode()


def test_stages_arguments_and_configuration(docker):
    context = docker.context(
        """
# syntax=docker/dockerfile:1
ARG BASE=python:3.12
FROM scratch AS unused
RUN this is never reached
FROM scratch AS source
WORKDIR /app
COPY src/ src/
FROM ${BASE}-slim AS final
ARG SHA=none
ENV SHA=$SHA \\
    # a comment
    TEXT="two words" PATH=/opt/bin:$PATH
LABEL a.b="c d" e=f
WORKDIR /srv
WORKDIR app
COPY --from=source /app/src/ ./
USER 10001:10001
EXPOSE 8080 53/udp 9000-9001
VOLUME ["/data"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=1m30s --retries=3 CMD curl localhost
ENTRYPOINT ["python"]
CMD ["-m", "app"]
""",
        src__main_dot_py="print(1)",
    )
    output = docker.ok(
        "build", "-t", "app", "--build-arg", "SHA=abc", "--build-arg", "LOST=1", "--label", "x=y", context
    )
    assert "[final 1/4] FROM python:3.12-slim" in output
    assert "docker.io/library/python:3.12-slim is not in the lab's registry and becomes an empty layer" in output
    assert "build-args [LOST] were not consumed" in output
    config = docker.inspect("app")["Config"]
    assert config["Env"] == [
        "PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SHA=abc",
        "TEXT=two words",
    ]
    assert config["Labels"] == {"emulator.lab/base": "python:3.12-slim", "a.b": "c d", "e": "f", "x": "y"}
    assert (config["WorkingDir"], config["User"], config["StopSignal"]) == ("/srv/app", "10001:10001", "SIGINT")
    assert sorted(config["ExposedPorts"]) == ["53/udp", "8080/tcp", "9000/tcp", "9001/tcp"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "curl localhost"], "Interval": 90_000_000_000, "Retries": 3}
    assert (config["Entrypoint"], config["Cmd"], config["Volumes"]) == (["python"], ["-m", "app"], {"/data": {}})
    assert content(docker, "app", "srv/app/main.py") == "print(1)"


def test_the_same_files_make_the_same_layers_whenever_they_were_written(docker, tmp_path):
    context = docker.context("FROM scratch\nCOPY . /app\n", a="1", b__c="2")
    docker.ok("build", "-t", "one", context)
    for path in (tmp_path / "context").rglob("*"):
        import os

        os.utime(path, (1, 1))
    docker.ok("build", "-t", "two", context)
    assert docker.inspect("one")["RootFS"] == docker.inspect("two")["RootFS"]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in files(docker, "one").values()} == {(0, 0, 0, "")}
    docker.ok("build", "-t", "three", context, SOURCE_DATE_EPOCH="86400")
    assert {m.mtime for m in files(docker, "three").values()} == {86400}
    assert docker.inspect("three")["Created"] == "1970-01-02T00:00:00Z"


def test_run_fails_naming_file_line_and_remedy(docker):
    context = docker.context("FROM alpine\n\nRUN apk add \\\n  curl\nCOPY a b\nRUN true\n", a="1")
    problem = docker.fails("build", "-t", "x", context)
    assert "Dockerfile:3: not emulated: RUN apk add" in problem
    assert "Dockerfile:6: not emulated: RUN true" in problem
    assert "   3 | >>> RUN apk add" in problem
    assert "COPY ready-made files" in problem
    assert "No such image: x:latest" in docker.fails("push", "x") + docker.fails("tag", "x", "y")


def test_copy_follows_dockers_rules(docker):
    context = docker.context(
        """
FROM scratch
WORKDIR /w
COPY one.txt renamed.txt
COPY one.txt dir/
COPY one.txt two.txt many/
COPY *.txt globbed/
COPY tree /whole
COPY tree/s[a-b]b/ /part/
COPY ["with space", "/quoted name"]
COPY --chown=7:8 --chmod=600 one.txt /owned/
COPY link /linked
""",
        **{"one_dot_txt": "1", "two_dot_txt": "2", "tree__sub__f": "f", "tree__g": "g", "with space": "s"},
    )
    from pathlib import Path

    (Path(context) / "tree" / "sab").mkdir()
    (Path(context) / "tree" / "sab" / "h").write_text("h")
    (Path(context) / "link").symlink_to("one.txt")
    docker.ok("build", "-t", "x", context)
    found = files(docker, "x")
    assert {name for name, member in found.items() if member.isfile()} == {
        "w/renamed.txt", "w/dir/one.txt", "w/many/one.txt", "w/many/two.txt", "w/globbed/one.txt", "w/globbed/two.txt",
        "whole/sub/f", "whole/sab/h", "whole/g", "part/h", "quoted name", "owned/one.txt", "linked",
    }  # fmt: skip
    owned = found["owned/one.txt"]
    assert (owned.uid, owned.gid, owned.mode) == (7, 8, 0o600)


def test_what_dockerignore_names_is_not_in_the_context(docker):
    context = docker.context(
        "FROM scratch\nCOPY . /\n", _dot_dockerignore="*\n!keep\n**/x", keep__a="1", keep__x="2", other="3"
    )
    docker.ok("build", "-t", "x", context)
    assert sorted(files(docker, "x")) == ["keep", "keep/a"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("COPY nope /x", 'failed to calculate checksum of ref lab::context: "/nope": not found'),
        ("COPY n*pe /x", '"/n*pe": not found'),
        ("COPY ../../etc/passwd /x", '"/etc/passwd": not found'),
        ("COPY a a /x", "the destination must be a directory and end with a /"),
        ("COPY a", "COPY requires at least two arguments"),
        ("COPY --chmod=rw a /x", "invalid chmod parameter"),
        ("COPY --chown=nobody a /x", "no such user"),
        ("COPY --parents a /x", "not emulated: COPY --parents"),
        ("COPY --bogus a /x", "unknown flag: --bogus"),
        ("COPY --from=alpine /etc /x", "not emulated: COPY --from=alpine"),
        ("COPY --from=later a /x", "circular dependency|not emulated"),
        ("ADD https://example.org/x /x", "not emulated: ADD of a URL"),
        ("COPY [z-a] /x", "syntax error in pattern"),
        ("EXPOSE 99999", "invalid containerPort: 99999"),
        ("HEALTHCHECK --interval=1x CMD true", 'invalid duration "1x"'),
        ("ONBUILD ONBUILD RUN x", "ONBUILD isn't allowed as an ONBUILD trigger"),
        ("ENV =x", "names can not be blank"),
        ("LABEL a=b c", "can't find = in 'c'"),
        ("SHELL bash", "SHELL requires the arguments to be in JSON form"),
        ("WORKDIR ${A:?unset}", "A: unset"),
    ],
)
def test_a_line_that_cannot_be_done_is_named(docker, line, problem):
    import re

    context = docker.context(f"FROM scratch\n\n{line}\n", a="1")
    output = docker.fails("build", context)
    assert re.search(problem if "|" in problem else re.escape(problem), output)
    assert "Dockerfile:3\n" in output
    assert output.splitlines()[-1].startswith("ERROR: failed to build: failed to solve: ")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["build"], "'docker build' requires 1 argument"),
        (["build", "/nowhere"], 'path "/nowhere": no such file or directory'),
        (["build", "-"], "not emulated: a build context other than a folder"),
        (["build", "https://example.org/x.git"], "not emulated: a build context"),
        (["build", "-f", "Other", "context"], "failed to read dockerfile: open Other: no such file or directory"),
        (["build", "--target", "no", "context"], 'target stage "no" could not be found'),
        (["build", "--platform", "linux/s390x", "context"], "not emulated: --platform linux/s390x"),
        (["build", "-t", "Upper", "context"], "must be lowercase"),
        (["build", "--secret", "id=x", "context"], "unknown flag: --secret"),
        (["run", "x"], "not emulated: docker run"),
        (["compose", "up"], "not emulated: docker compose"),
        (["buildx", "create"], "not emulated: docker buildx create"),
        (["-H", "tcp://x", "info"], "not emulated: docker --host"),
        (["inspect", "none"], "No such object: none"),
        (["tag", "none", "x"], "No such image: none:latest"),
    ],
)
def test_wrong_commands_say_what_is_wrong(docker, arguments, problem):
    docker.context("FROM scratch\n")
    assert problem in docker.fails(*arguments)


def test_a_target_an_own_file_and_quiet(docker):
    context = docker.context("FROM nothing-that-exists\n", a="1")
    (docker.folder / "context" / "Own").write_text("FROM scratch AS one\nCOPY a /one\nFROM scratch\nCOPY a /two\n")
    done = docker("build", "-q", "--target", "ONE", "-f", f"{context}/Own", "--iidfile", "id", "-t", "x", context)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(files(docker, "x")) == ["one"]
    assert done.stdout.strip() == docker.inspect("x")["Id"] == (docker.folder / "id").read_text()
    assert docker("build", "-q", "-f", "-", context, stdin="FROM scratch\nCOPY a /in\n").returncode == 0


def test_options_without_effect_say_so(docker):
    context = docker.context("FROM scratch\n")
    output = docker.ok(
        "build", "--network", "host", "--no-cache", "--add-host", "a:1.2.3.4", "--progress=plain", context
    )
    assert "--network has no effect: no RUN is ever executed" in output
    assert "--no-cache has no effect: there is no build cache" in output


def test_an_image_of_the_store_is_a_real_base(docker):
    docker.context(
        'FROM alpine\nCOPY a /base\nENV A=1\nENTRYPOINT ["e"]\nCMD ["c"]\nONBUILD COPY a /triggered\n', a="1"
    )
    docker.ok("build", "-t", "base", "context")
    docker.context("FROM base\nCOPY --from=base /base /again\nENTRYPOINT x\n")
    output = docker.ok("build", "-t", "top", "context")
    assert "becomes an empty layer" not in output
    assert sorted(files(docker, "top")) == ["again", "base", "triggered"]
    config = docker.inspect("top")["Config"]
    assert config["Labels"] == {"emulator.lab/base": "alpine"}
    assert config["Entrypoint"] == ["/bin/sh", "-c", "x"]
    assert "A=1" in config["Env"]
    assert "Cmd" not in config, "a new entrypoint drops the base's command"
    assert "OnBuild" not in config


def test_users_of_an_emptied_base_are_unknown_and_said_to_be(docker):
    docker.context("FROM node:22\nCOPY --chown=node:node a /a\n", a="1")
    assert "user or group 'node' of node:22 is unknown here and recorded as 0" in docker.ok("build", "context")
    docker.context("FROM scratch\nCOPY passwd /etc/\nCOPY --chown=app a /a\n", passwd="app:x:12:34::/:\n")
    docker.ok("build", "-t", "x", "context")
    assert (files(docker, "x")["a"].uid, files(docker, "x")["a"].gid) == (12, 34)


def test_add_unpacks_archives_and_copy_does_not(docker):
    docker.context("FROM scratch\nADD a.tar.gz /add/\nCOPY a.tar.gz /copy/\nADD plain /add/\n", plain="p")
    with tarfile.open(docker.folder / "context" / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("in/side")
        info.size = 2
        archive.addfile(info, io.BytesIO(b"ok"))
    docker.ok("build", "-t", "x", "context")
    assert {name for name, m in files(docker, "x").items() if m.isfile()} == {
        "add/in/side",
        "copy/a.tar.gz",
        "add/plain",
    }


def test_many_builds_at_once_share_the_store(docker):
    context = docker.context("FROM scratch\nARG N\nCOPY a /a\nENV N=$N\n", a="1")
    with ThreadPoolExecutor(8) as pool:
        done = list(
            pool.map(lambda n: docker("build", "-q", "-t", f"x:{n}", "--build-arg", f"N={n}", context), range(8))
        )
    assert [each.stderr for each in done] == [""] * 8
    assert [docker.inspect(f"x:{n}")["Config"]["Env"][-1] for n in range(8)] == [f"N={n}" for n in range(8)]
    assert not list((docker.folder / "store" / "blobs" / "sha256").glob(".*"))


def test_files_that_cannot_be_read_end_in_a_message(docker):
    context = docker.context("FROM scratch\nCOPY . /\n", _dot_dockerignore="[z-a]\n")
    assert ".dockerignore: syntax error in pattern" in docker.fails("build", context)
    (docker.folder / "other").mkdir()
    (docker.folder / "other" / "blobs").write_text("in the way")
    problem = docker.fails("build", context, LAB_DOCKER_STORE=str(docker.folder / "other"))
    assert problem.splitlines()[-1].startswith("Error: [Errno 20] Not a directory")
    assert "Traceback" not in problem


def test_images_are_listed_and_removed_by_name(docker):
    docker.context("FROM scratch\n")
    docker.ok("build", "-t", "a:1", "-t", "b", "context")
    assert docker.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split() == ["a:1", "b:latest"]
    identity = docker.inspect("b")["Id"]
    assert docker.ok("images", "-q", "--no-trunc", "a").split() == [identity]
    assert "Untagged: a:1" in docker.ok("rmi", "a:1")
    assert docker.inspect(identity.removeprefix("sha256:")[:12])["RepoTags"] == ["b:latest"]
    assert docker.ok("inspect", "-f", "{{.Id}}", "b").strip() == identity


def test_info_and_version_succeed_and_say_what_they_are(docker):
    done = docker("info", CI_REGISTRY="reg.test:5050")
    assert (done.returncode, "reg.test:5050" in done.stdout) == (0, True)
    assert "emulated image builder" in done.stderr
    assert docker.ok("version", "--format", "{{.Server.Version}}").strip()
    assert "lab emulator" in docker.ok("--version")
