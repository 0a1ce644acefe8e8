import io
import json
import os
import shutil
import tarfile
import threading
from pathlib import Path

import pytest
from shapes import fits

from lab import settings as lab_settings
from lab.console import Console
from lab.doctor import ThisMachine
from lab.errors import Interrupted, LabError, UsageError
from lab.model import Check
from lab.state import State
from lab.support import Subject, archive, known, support
from lab.support.parts import Part, collect


def never() -> threading.Event:
    return threading.Event()


def missing():
    raise UsageError("LAB-NONE-01", "There is no lab here yet.")


def subject(home: Path, environ=None, *, engine=missing, checks=missing):
    environ = environ or {}
    file = home / "lab.yaml"
    return Subject(
        home, file, State(home / ".lab"), environ, ThisMachine(home, home, environ),
        settings=lambda: lab_settings.load(file, environ), engine=engine, checks=checks,
    )  # fmt: skip


def packed(about, *, file="", as_json=False):
    stream = io.StringIO()
    path = support(about, Console(as_json=as_json, stream=stream), file=file, stop=never())
    with tarfile.open(path) as found:
        texts = {
            name.partition("/")[2]: found.extractfile(name).read().decode()
            for name in found.getnames()
        }  # fmt: skip
    return path, texts, stream.getvalue()


def test_parts_run_side_by_side_and_keep_their_order():
    both = threading.Barrier(2, timeout=10)

    def look(name):
        both.wait()
        yield name, "text"

    parts = [Part("b", lambda: look("x")), Part("a", lambda: look("y"))]
    assert [name for name, _ in collect(parts, never())] == ["b/x", "a/y"]


@pytest.mark.parametrize("error", [LabError("LAB-X-01", "gone"), ValueError("gone"), KeyError("gone")])
def test_a_part_that_fails_leaves_what_it_had_and_its_error(error):
    def look():
        yield "first", "1"
        raise error

    texts = dict(collect([Part("a", look), Part("b", lambda: iter([("only", "2")]))], never()))
    assert texts.keys() == {"a/first", "a/ERROR.txt", "b/only"}
    assert "gone" in texts["a/ERROR.txt"]


def test_a_part_that_hangs_is_given_up():
    release = threading.Event()

    def hang():
        yield "first", "1"
        release.wait(60)

    try:
        texts = dict(collect([Part("a", hang)], never(), seconds=0.2))
    finally:
        release.set()
    assert texts == {"a/first": "1", "a/ERROR.txt": "Not ready within 0.2 s.\n"}


def test_ctrl_c_ends_the_collecting():
    stop, release = threading.Event(), threading.Event()
    stop.set()

    def hang():
        release.wait(60)
        yield "x", ""

    try:
        with pytest.raises(Interrupted):
            collect([Part("a", hang)], stop)
    finally:
        release.set()


def test_a_lab_that_was_never_built_can_be_packed(tmp_path):
    path, texts, told = packed(subject(tmp_path))
    assert path.parent == tmp_path
    assert path.stat().st_mode & 0o777 == 0o600
    assert "There is no lab here yet." in texts["gitlab/ERROR.txt"]
    assert "python 3" in texts["versions/lab.txt"]
    assert "ports.app = 8088   (default)" in texts["settings/settings.txt"]
    assert texts["doctor/doctor.txt"]
    assert sorted(texts) == sorted({"README.txt", *texts})
    assert "Look at it before you send it" in told
    assert "There is no lab here yet." in told
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "nothing else was made"


def test_what_is_printed_and_the_readme_say_what_is_in_it(tmp_path):
    path, texts, told = packed(subject(tmp_path), as_json=True)
    document = json.loads(told.splitlines()[-1])
    assert fits(document)
    assert document["file"] == str(path)
    assert set(document["files"]) == set(texts) - {"README.txt"}
    assert all(name in texts["README.txt"] for name in document["files"])


def test_a_broken_lab_yaml_spoils_only_what_needs_it_and_its_variables_stay_secret(tmp_path):
    (tmp_path / "lab.yaml").write_text(
        "project:\n  variables:\n    DOCKERHUB_PASSWORD: plant-in-yaml\n    OTHER: 'plant-quoted' # x\n  path: [\n"
    )
    _, texts, _ = packed(subject(tmp_path))
    assert "LAB-CONF-01" in texts["settings/ERROR.txt"]
    assert "versions/lab.txt" in texts
    assert "plant" not in "".join(texts.values())


def test_a_damaged_lab_folder(tmp_path):
    folder = tmp_path / ".lab"
    for name in ("secrets", "journal", "emulator.log"):
        (folder / name).mkdir(parents=True)
    (folder / "secrets/root-token").write_bytes(b"\xff\xfeplant-bytes")
    (folder / "secrets/nested").mkdir()
    (folder / "engine.json").write_text("{plant-bytes")
    (folder / "journal/1.jsonl").write_bytes(b"\0\xff glpat-plantplantplant")
    _, texts, _ = packed(subject(tmp_path))
    assert "engine.json" in texts["lab/files.txt"]
    assert "lab/ERROR.txt" in texts
    assert texts["journal/1.jsonl"].endswith("[masked]")
    assert "glpat-plant" not in "".join(texts.values())


def test_secrets_of_the_environment(tmp_path):
    environ = {
        "HTTPS_PROXY": "http://me:plant-proxy@proxy:3128", "LAB_EXTRA": "plant-env", "CI_API_TOKEN": "plant-env",
        "SSH_AUTH_SOCK": str(tmp_path), "LAB_PROJECT_VARIABLES": "{A: plant-a}", "LAB_PLACE": str(tmp_path / "x"),
    }  # fmt: skip
    _, texts, _ = packed(subject(tmp_path, environ))
    assert "plant" not in "".join(texts.values())
    assert f"LAB_PLACE={tmp_path}" in texts["settings/environment.txt"], "a path is no secret"
    assert {"plant-env", "plant-a"} <= set(known.local(subject(tmp_path, environ)))


def test_a_file_of_that_name_is_not_overwritten(tmp_path):
    (tmp_path / "mine.tar.gz").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        packed(subject(tmp_path), file=str(tmp_path / "mine.tar.gz"))
    assert (tmp_path / "mine.tar.gz").read_text() == "precious"


def test_a_folder_gets_a_file_with_a_time_in_its_name(tmp_path):
    (tmp_path / "there").mkdir()
    path, _, _ = packed(subject(tmp_path), file=str(tmp_path / "there"))
    assert path.parent == tmp_path / "there"
    assert path.name.startswith("lab-support-")


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        packed(subject(tmp_path), file=str(tmp_path / "no/such/folder.tar.gz"))


def test_a_place_that_has_gone_meanwhile(tmp_path):
    (tmp_path / "there").mkdir()

    def engine():
        shutil.rmtree(tmp_path / "there", ignore_errors=True)
        missing()

    with pytest.raises(UsageError, match="cannot be written"):
        packed(subject(tmp_path, engine=engine), file=str(tmp_path / "there/x.tar.gz"))


def test_long_texts_keep_their_end_and_all_together_are_bounded(monkeypatch):
    monkeypatch.setattr(archive, "FILE_BYTES", 1000)
    monkeypatch.setattr(archive, "ALL_BYTES", 2500)
    log = "".join(f"line {number}\n" for number in range(1000))
    done = archive._masked([(name, log) for name in "abcdef"], lambda text: text)
    texts = dict(done)
    assert texts["a"].startswith("[")
    assert texts["a"].endswith("line 999\n")
    assert texts["a"].splitlines()[1].startswith("line ")
    assert sum(len(text) for text in texts.values()) < 3000


def test_a_secret_at_the_place_of_the_cut_is_masked_first(monkeypatch):
    monkeypatch.setattr(archive, "FILE_BYTES", 40)
    text = "x" * 30 + " plant-secret-value " + "y" * 30 + "\nend\n"
    ((_, kept),) = archive._masked([("a", text)], archive.Mask(["plant-secret-value"]))
    assert "secret" not in kept


class Engine:
    """As much of an engine as says how it is."""

    name = "embedded"

    def __init__(self, *health):
        self._health = list(health)

    def health(self):
        return self._health


def test_checks_are_in_it(tmp_path):
    engine = Engine(Check("engine.process", "Process", True, "pid 1"))
    checks = [Check("a.b", "A", False, "why"), Check("c.d", "C", None, "why not")]
    _, texts, _ = packed(subject(tmp_path, engine=lambda: engine, checks=lambda: checks))
    assert texts["checks/health.txt"].split() == ["ok", "engine.process", "pid", "1"]
    assert texts["checks/verify.txt"].split() == ["failed", "a.b", "why", "unknown", "c.d", "why", "not"]


def test_nothing_is_checked_behind_an_engine_that_does_not_answer(tmp_path):
    asked = []
    engine = Engine(Check("engine.gitlab", "GitLab", False, "timed out"))
    _, texts, told = packed(subject(tmp_path, engine=lambda: engine, checks=lambda: asked.append(1) or []))
    assert "timed out" in texts["checks/health.txt"]
    assert "checks/verify.txt" not in texts
    assert asked == []
    assert "checks    1 file\n" in told


def test_a_part_that_failed_is_told_with_its_reason(tmp_path):
    _, _, told = packed(subject(tmp_path))
    assert "gitlab    0 files; There is no lab here yet." in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path):
    folder = tmp_path / ".lab"
    folder.mkdir()
    folder.chmod(0)
    try:
        _, texts, _ = packed(subject(tmp_path))
    finally:
        folder.chmod(0o700)
    assert "versions/lab.txt" in texts
