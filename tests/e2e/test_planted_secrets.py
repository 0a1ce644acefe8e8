"""Secrets planted everywhere in a running lab: none of them is in the support archive, in whatever form."""

from __future__ import annotations

import base64
import json
import tarfile
import urllib.request
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from driver import Driver, driven

pytestmark = pytest.mark.timeout(240)

VARIABLE, CI, ENVIRONMENT, KUBERNETES = "Var!/9 x?ab", "Ci-Only-7f/xy+z", "Env-Only-55aa", "Kube=Only&31"
"""Known by value: in lab.yaml, in GitLab alone, in the environment, in a Kubernetes secret alone."""
TOKEN, JWT = "glpat-Pl4ntedPl4ntedPl4nted", "eyJhbGciOiJub25lIn0.eyJwbGFudGVkIjp0cnVlfQ.cGxhbnRlZA"
PEM = "-----BEGIN PRIVATE KEY-----\nUGxhbnRlZFBsYW50ZWQ\n-----END PRIVATE KEY-----"
HOOK_LOGIN, HOOK_QUERY, GIT_LOGIN, GIT_HEADER = "hookpw1", "hookpw2", "gitpw1", "Z2l0OnB3Mg"
KNOWN = (VARIABLE, CI, ENVIRONMENT, KUBERNETES)
MARKS = ("MARK-TRACE", "MARK-POD", "MARK-JOURNAL", "MARK-LOG")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def forms(value: str) -> set[str]:
    """What a leak of a value looks like; of base64 the digits that do not depend on the neighbours."""
    inner = {encoded("x" * offset + value)[(0, 2, 3)[offset] :].rstrip("=")[:-2] for offset in range(3)}
    return {value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], *inner}


def said() -> str:
    """Everything that is planted, in every form, as a program might print it."""
    plain = [TOKEN, f"Authorization: Bearer {JWT}", f"http://me:{HOOK_LOGIN}@host/x", *PEM.splitlines()]
    known = [form(value) for value in KNOWN for form in (str, encoded, quote, quote_plus, json.dumps)]
    return "\n".join([*plain, *known, *(encoded(f"user:{value}") for value in KNOWN), "MARK"])


def gitlab(lab: Driver, path: str, data: dict[str, str]) -> None:
    token = (lab.home / ".lab/secrets/root-token").read_text()
    url = f"http://127.0.0.1:{lab.ports['gitlab']}/api/v4/projects/root%2Fhichat/{path}"
    headers = {"PRIVATE-TOKEN": token, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(data).encode(), headers), timeout=10):
        pass


def push_programs_that_talk(lab: Driver, folder: Path) -> None:
    """A pipeline and an application that print what they should not."""
    lab.invoke("clone", folder)
    (folder / "said.txt").write_text(said())
    (folder / ".dockerignore").write_text("")
    pipeline = folder / ".gitlab-ci.yml"
    text = pipeline.read_text()
    assert text.count("  before_script:\n") == 1
    pipeline.write_text(
        text.replace("  before_script:\n", "  before_script:\n    - cat said.txt; echo MARK-TRACE $LATE\n")
    )
    main = folder / "hichat/__main__.py"
    start, future, rest = main.read_text().partition("from __future__ import annotations\n")
    assert future
    main.write_text(f"{start}{future}print({said()!r}, flush=True)\nprint('MARK-POD', flush=True)\n{rest}")
    lab.git(folder, "add", "-A")
    lab.git(folder, "commit", "-qm", "Talk too much")
    lab.git(folder, "push", "-q", "origin", "HEAD:master")
    lab.invoke("follow", "HEAD" if folder == Path() else lab.git(folder, "rev-parse", "HEAD"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    home = tmp_path_factory.mktemp("lab")
    config = home / "gitconfig"
    config.write_text(
        f'[url "https://me:{GIT_LOGIN}@git.example.com/"]\n\tinsteadOf = https://git.example.com/\n'
        f'[http "https://git.example.com/"]\n\textraHeader = "Authorization: Basic {GIT_HEADER}"\n'
    )
    with driven(home) as driver:
        driver.environ = {
            "MY_API_TOKEN": ENVIRONMENT,
            "LAB_NOTE": f"see {ENVIRONMENT}",
            "GIT_CONFIG_SYSTEM": str(config),
        }
        (home / "lab.yaml").write_text(f"project:\n  variables:\n    LATE: {json.dumps(VARIABLE)}\n")
        driver.invoke("up", timeout=120)
        yield driver


@pytest.fixture(scope="module")
def planted(lab, tmp_path_factory):
    gitlab(lab, "variables", {"key": "ONLY_HERE", "value": CI})
    gitlab(lab, "hooks", {"url": f"http://me:{HOOK_LOGIN}@127.0.0.1:1/x?private_token={HOOK_QUERY}"})
    lab.kubectl("create", "secret", "generic", "planted", "-n", "hichat", f"--from-literal=value={KUBERNETES}")
    push_programs_that_talk(lab, tmp_path_factory.mktemp("clone") / "hichat")
    state = lab.home / ".lab"
    with (state / "emulator.log").open("a") as file:
        file.write(said() + "\nMARK-LOG\n")
    line = {"type": "note", "at": 1, "wall": 1, "text": said() + "\nMARK-JOURNAL"}
    with max((state / "journal").iterdir()).open("a") as file:
        file.write(json.dumps(line) + "\n")
    return lab


def unpacked(lab: Driver, file: Path) -> str:
    lab.invoke("support", file)
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        return "\n".join(f"{entry.name}\n{archive.extractfile(entry).read().decode()}" for entry in archive)


def test_no_planted_secret_leaves_the_machine(planted, tmp_path):
    text = unpacked(planted, tmp_path / "s.tar.gz")
    assert [mark for mark in MARKS if mark not in text] == [], "what carries the secrets is in it"
    assert "git.example.com" in text
    assert "127.0.0.1:1/x?private_token=" in text
    mine = {path.name: path.read_text() for path in (planted.home / ".lab/secrets").iterdir()}
    lines = {line.partition("=")[2] or line for value in mine.values() for line in value.splitlines()}
    secrets = {*KNOWN, TOKEN, JWT, *(line for line in lines if line != "root")}
    leaks = {form for secret in secrets for form in forms(secret) if form in text}
    words = (HOOK_LOGIN, HOOK_QUERY, GIT_LOGIN, GIT_HEADER, "UGxhbnRlZFBsYW50ZWQ")
    assert leaks | {word for word in words if word in text} == set()


def test_an_archive_of_a_lab_whose_emulator_is_gone(planted, tmp_path):
    planted.invoke("stop")
    text = unpacked(planted, tmp_path / "s.tar.gz")
    assert "LAB-GITLAB-01" in text
    assert "LAB-KUBE-02" in text
    assert "MARK-LOG" in text
    assert [form for value in (VARIABLE, ENVIRONMENT, TOKEN) for form in forms(value) if form in text] == []
