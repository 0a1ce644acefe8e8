"""The parts of the ``docker`` command that need no image: references, words, patterns, flags, templates, the parser."""

from __future__ import annotations

import stat

import pytest

from lab.emulator.docker import expand, flags, template
from lab.emulator.docker.client import plain
from lab.emulator.docker.credentials import Credentials
from lab.emulator.docker.dockerfile import DockerfileError, parse
from lab.emulator.docker.errors import DockerError
from lab.emulator.docker.patterns import Ignore
from lab.emulator.docker.references import InvalidReferenceError
from lab.emulator.docker.references import parse as reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("127.0.0.1:5050/root/app:1", "127.0.0.1:5050/root/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("gitlab.lab.test:5050/a/b/c@" + DIGEST, "gitlab.lab.test:5050/a/b/c@" + DIGEST),
        ("index.docker.io/library/x:t@" + DIGEST, "docker.io/library/x:t@" + DIGEST),
    ],
)
def test_a_reference_is_normalised_as_docker_does(text, normalised):
    assert str(reference(text)) == normalised


@pytest.mark.parametrize("text", ["", "a b", "App", "x:-t", "x@sha256:12", "host:5050/", "a//b", "x:" + "t" * 129])
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InvalidReferenceError, match=r"^invalid reference format"):
        reference(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a $A ${A}b", ["a", "1", "1b"]),
        ("${NONE:-d} ${EMPTY:-d} ${EMPTY-d}x ${A:+y}", ["d", "d", "x", "y"]),
        ("${NONE:-${A}2}", ["12"]),
        ("\"a $A\" '$A' x\\ y \\$A", ["a 1", "$A", "x y", "$A"]),
        ('k="v w"z', ["kv wz".replace("kv", "k=v")]),
        ('""', [""]),
    ],
)
def test_words_are_expanded_and_unquoted(text, words):
    assert expand.Expander({"A": "1", "EMPTY": ""}).words(text) == words


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${A", "missing }|syntax error|unsupported"),
        ('"open', "matching double-quote"),
        ("'open", "matching single-quote"),
        ("${NONE:?give it}", "NONE: give it"),
        ("${A#x}", "not emulated"),
        ("${A:x}", r"unsupported modifier \(:x\)"),
    ],
)
def test_words_that_cannot_be_expanded_say_why(text, problem):
    with pytest.raises(expand.ExpansionError, match=problem):
        expand.Expander({"A": "1"}).word(text)


@pytest.mark.parametrize(
    ("rules", "ignored", "kept"),
    [
        ("*\n!app\n**/__pycache__", ["README", "app/__pycache__/x", "sub/y"], ["app", "app/main.py"]),
        ("*.md\n!README.md", ["a.md"], ["README.md", "docs/a.md"]),
        ("**/*.log\n# comment\n\n/tmp", ["a.log", "x/y/b.log", "tmp/z"], ["log", "x/tmp"]),
        ("docs\n!docs/keep", ["docs/a", "docs"], ["docs/keep"]),
        ("file?.[tc]xt", ["file1.txt", "file2.cxt"], ["file10.txt", "file1.mxt"]),
    ],
)
def test_dockerignore(rules, ignored, kept):
    rule = Ignore(rules)
    assert [path for path in [*ignored, *kept] if rule.matches(path)] == ignored


def test_lines_are_continued_commented_and_numbered():
    file = parse(
        "# syntax=docker/dockerfile:1\n# escape=`\n\nARG V=1\nfrom x:$V as Build\n"
        'ENV A=1 `\n  # within\n\n  B=2\nCMD ["a", "b"]\n',
        "Dockerfile",
    )
    (stage,) = file.stages
    assert (file.syntax, file.escape, stage.name, stage.base) == ("docker/dockerfile:1", "`", "build", "x:$V")
    environment, command = stage.instructions
    assert (environment.line, environment.value.split()) == (6, ["A=1", "B=2"])
    assert (command.line, command.words) == (10, ["a", "b"])


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("FROM x\nCOPPY a b", 2, r"unknown instruction: COPPY \(did you mean COPY\?\)"),
        ("FROM a b", 1, "FROM requires either one or three arguments"),
        ("FROM x as 1st", 1, "invalid name for build stage"),
        ("RUN x\nFROM y", 1, "no build stage in current context"),
        ("FROM x\n\nCOPY <<EOF /a\nhello\nEOF", 3, "not emulated: heredoc <<EOF in COPY"),
        ("FROM x\nRUN <<-'END' sh\nEND", 2, "not emulated: heredoc"),
        ("FROM x\nUSER", 2, "USER requires exactly one argument"),
    ],
)
def test_a_line_that_is_wrong_is_shown(text, line, problem):
    with pytest.raises(DockerfileError, match=problem) as raised:
        parse(text, "sub/Dockerfile")
    assert raised.value.where.startswith(f"sub/Dockerfile:{line}\n")
    assert f"{line:>4} | >>> {text.splitlines()[line - 1]}" in raised.value.where


def test_a_file_without_instructions_is_refused():
    with pytest.raises(DockerError, match="the Dockerfile cannot be empty"):
        parse("# nothing\n", "Dockerfile")
    with pytest.raises(DockerError, match="no build stage"):
        parse("ARG A=1\n", "Dockerfile")


def test_flags_are_read_as_pflag_reads_them():
    known = (flags.Flag("tag", "t"), flags.Flag("quiet", "q", boolean=True), flags.Flag("file", "f"))
    parsed = flags.parse(["-qfx", "--tag=a", ".", "-t", "b", "--quiet=false", "--", "-z"], known)
    assert (parsed.all("tag"), parsed.on("quiet"), parsed.last("file"), parsed.arguments) == (
        ["a", "b"],
        False,
        "x",
        [".", "-z"],
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--bogus"], "unknown flag: --bogus"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["--tag"], "flag needs an argument: --tag"),
        (["-t"], "flag needs an argument: 't' in -t"),
        (["--quiet=maybe"], 'invalid argument "maybe" for "--quiet" flag'),
    ],
)
def test_wrong_flags_end_with_125(arguments, problem):
    with pytest.raises(DockerError, match=problem) as raised:
        flags.parse(arguments, (flags.Flag("tag", "t"), flags.Flag("quiet", "q", boolean=True)))
    assert raised.value.exit_code == 125


def test_format_templates():
    document = {"Id": "x", "List": ["a", "b"], "Map": {"k.1": "v", "n": None}, "On": True}
    assert (
        template.render('{{.Id}} {{json .List}} {{index .List 1}} {{index .Map "k.1"}} {{ .On }}', document)
        == 'x ["a","b"] b v true'
    )
    assert template.render('{{join .List ","}} {{.List}} {{.Map}}', document) == "a,b [a b] map[k.1:v n:<nil>]"
    with pytest.raises(DockerError, match="not emulated: template action"):
        template.render("{{range .List}}x{{end}}", document)
    with pytest.raises(DockerError, match='no entry for key "Nope"'):
        template.render("{{.Nope}}", document)


def test_logins_are_kept_private_and_beside_other_keys(tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_AUTH_CONFIG", raising=False)
    (tmp_path / "config.json").write_text('{"credsStore": "", "auths": {}}')
    credentials = Credentials(tmp_path)
    credentials.put("127.0.0.1:5050", "me", "pass:word")
    assert stat.S_IMODE(credentials.path.stat().st_mode) == 0o600
    assert '"credsStore"' in credentials.path.read_text()
    assert Credentials(tmp_path).get("127.0.0.1:5050") == ("me", "pass:word")
    assert credentials.get("127.0.0.1:5051") is None
    assert (credentials.drop("127.0.0.1:5050"), credentials.drop("127.0.0.1:5050")) == (True, False)
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", '{"auths": {"reg.test": {"username": "a", "password": "b"}}}')
    assert credentials.get("reg.test") == ("a", "b")


def test_plain_http_is_spoken_to_loopback_and_the_labs_registry_only(monkeypatch):
    monkeypatch.delenv("CI_REGISTRY", raising=False)
    monkeypatch.setenv("LAB_REGISTRY", "gitlab.lab.test:5050")
    assert [plain(host) for host in ("127.0.0.1:5050", "localhost:1", "[::1]:1", "gitlab.lab.test:5050")] == [True] * 4
    assert not plain("192.0.2.1:5050")
