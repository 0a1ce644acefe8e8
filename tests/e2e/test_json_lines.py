"""What `--json` prints, held against the schema that `python -m lab.console.schema` prints."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from driver import ROOT, driven
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def validator():
    done = subprocess.run(
        [sys.executable, "-m", "lab.console.schema"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with driven(tmp_path_factory.mktemp("lab")) as driver:
        yield driver


def kinds(validator, documents):
    """The types of documents that are all as the schema says, a step with its event."""
    assert documents
    for document in documents:
        assert [error.message for error in validator.iter_errors(document)] == [], document
    return {f"{found['type']}.{found['event']}" if "event" in found else found["type"] for found in documents}


def test_a_first_up_and_everything_that_looks_at_it(lab, validator):
    assert kinds(validator, lab.documents("up", "--explain")) == {"engine", "step.explained"}
    looked = kinds(validator, lab.documents("up", "--plan"))
    assert looked == {"engine", "step.started", "step.ended", "result"}
    first = kinds(validator, lab.documents("up", "--timings"))
    assert {"engine", "step.started", "step.waiting", "step.ended", "result", "timings"} <= first
    assert kinds(validator, lab.documents("verify")) == {"check"}
    assert kinds(validator, lab.documents("status")) == {"status"}
    assert {"hop", "result"} <= kinds(validator, lab.documents("smoke")) <= {"hop", "result", "waiting", "diagnosis"}
    assert {"hop"} <= kinds(validator, lab.documents("follow", "HEAD")) <= {"hop", "waiting", "diagnosis"}
    assert kinds(validator, lab.documents("heal")) == {"heal"}
    lab.invoke("stop")
    assert {"broken", "healed", "heal", "step.ended", "result"} <= kinds(validator, lab.documents("heal"))
    assert kinds(validator, lab.documents("timings", "--last", "2")) == {"timings"}


def test_what_needs_no_lab(lab, validator, tmp_path):
    assert kinds(validator, lab.documents("config.show")) == {"setting"}
    assert kinds(validator, lab.documents("pull", "--list")) == {"image"}
    assert kinds(validator, lab.documents("explain", "LAB-REG-01")) == {"explanation"}
    (tmp_path / "app.py").write_text("print('nobody asked')\n")
    lab.git(tmp_path, "init", "-q")
    lab.git(tmp_path, "add", "-A")
    lab.git(tmp_path, "commit", "-qm", "begin")
    adopted = kinds(validator, lab.documents("adopt", tmp_path))
    assert adopted == {"repository", "finding", "offer", "settings", "result"}


def test_a_machine_and_its_remedies(lab, validator):
    found = subprocess.run(
        [sys.executable, "-m", "invoke", "doctor", "--json"],
        cwd=ROOT, env=lab.env | {"LAB_ENGINE": "docker"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert found.returncode in (0, 3), found.stderr  # what this machine lacks is not this test's business
    assert {"finding"} <= kinds(validator, [json.loads(line) for line in found.stdout.splitlines()])


def test_errors_are_the_last_documents(lab, validator):
    for words, code in ((("follow", "no-such-commit"), 2), (("verify", "--only", "no.such"), 2)):
        documents = lab.documents(*words, code=code)
        assert "error" in kinds(validator, documents)
        assert documents[-1]["type"] == "error"
        assert documents[-1]["exit_code"] == code


def test_the_schema_tells_right_from_wrong(validator):
    right = {"type": "step", "step": "a", "event": "ended", "detail": "", "state": "done", "seconds": 0.1}
    assert validator.is_valid(right)
    for wrong in ({"state": "finished"}, {"seconds": "0.1"}, {"type": "stop"}, {"more": 1}, {"event": "began"}):
        assert not validator.is_valid(right | wrong), wrong
