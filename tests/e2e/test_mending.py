"""What a person does when something is wrong: heal, timings, and what the journal keeps of it."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest
from driver import Driver, driven

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with driven(tmp_path_factory.mktemp("lab")) as driver:
        driver.output = driver.invoke("up", "--timings", timeout=120)
        yield driver


def token(lab: Driver) -> str:
    return (lab.home / ".lab/secrets/root-token").read_text()


def gitlab(lab: Driver, method: str, path: str):
    request = urllib.request.Request(
        f"http://127.0.0.1:{lab.ports['gitlab']}/api/v4/{path}", method=method, headers={"PRIVATE-TOKEN": token(lab)}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def healed(lab: Driver) -> dict[str, str]:
    """What `heal` mended, with what was seen before; nothing may be left to do, and every check passes."""
    documents = lab.documents("heal", timeout=120)
    assert documents[-1]["type"] == "heal"
    assert documents[-1]["failed"] == []
    assert lab.up() == 0
    return {document["step"]: document["before"] for document in documents if document["type"] == "healed"}


def test_up_draws_its_chart(lab):
    assert "Critical path: " in lab.output
    assert "◆ ✓ done    endpoints" in lab.output
    assert "There is no earlier run" in lab.output


def test_timings_of_the_last_runs(lab):
    lab.invoke("smoke")
    smoke, up = (document for document in reversed(lab.documents("timings", "--last", "99")))
    assert (smoke["task"], up["task"]) == ("smoke", "up")
    assert [step["step"] for step in smoke["steps"]] == ["T0", "T1", "T2", "T3", "T4", "T5"]
    assert {"endpoints", "pipeline", "live"} <= set(up["critical"])
    for run in (smoke, up):
        lengths = {step["step"]: step["end"] - step["start"] for step in run["steps"]}
        total = max(step["end"] for step in run["steps"])
        assert sum(lengths[name] for name in run["critical"]) == pytest.approx(total, rel=0.3), "a chain without holes"


def test_the_journal_is_for_its_owner_and_holds_no_secret(lab):
    folder = lab.home / ".lab/journal"
    text = "".join(path.read_text() for path in folder.iterdir())
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert text
    assert [path.name for path in (lab.home / ".lab/secrets").iterdir() if path.read_text().strip() in text] == []


def test_a_healthy_lab_is_told_so_and_not_touched(lab):
    before = sorted((lab.home / ".lab/journal").iterdir())
    assert "Nothing is broken" in lab.invoke("heal")
    assert sorted((lab.home / ".lab/journal").iterdir()) == before


def test_an_emulator_that_was_killed(lab):
    pid = lab.emulator()
    assert pid
    os.kill(pid, signal.SIGKILL)
    text = lab.invoke("heal", timeout=120)
    assert "✗ broken   endpoints" in text
    assert "nobody has stopped the lab" in " ".join(text.split())
    assert "1 mended" in text
    assert lab.up() == 0


def test_a_lab_that_was_stopped(lab):
    lab.invoke("stop")
    assert "`invoke stop` ended it" in lab.invoke("heal", timeout=120)
    assert lab.up() == 0


def test_a_hook_and_a_runner_that_were_deleted_and_a_bot_whose_token_was_revoked(lab):
    project = "projects/root%2Fhichat"
    gitlab(lab, "DELETE", f"{project}/hooks/{gitlab(lab, 'GET', f'{project}/hooks')[0]['id']}")
    gitlab(lab, "DELETE", f"{project}/access_tokens/{gitlab(lab, 'GET', f'{project}/access_tokens')[0]['id']}")
    gitlab(lab, "DELETE", f"runners/{gitlab(lab, 'GET', f'{project}/runners')[0]['id']}")
    assert {"hook", "hook.delivered", "token.config-branch", "runner"} == set(healed(lab))


def test_a_root_token_that_was_revoked(lab):
    gitlab(lab, "DELETE", "personal_access_tokens/self")
    assert "refuses the lab's root token" in healed(lab)["endpoints"]


def test_a_namespace_that_was_deleted(lab):
    lab.kubectl("delete", "namespace", "hichat", "--wait=true")
    assert "namespace" in healed(lab)


def test_a_run_that_was_killed_leaves_a_journal_that_can_be_drawn(tmp_path):
    with driven(tmp_path) as driver:
        process = driver.start("up", "--json")
        assert process.stdout
        for line in process.stdout:
            if '"pipeline"' in line and '"started"' in line:
                os.killpg(process.pid, signal.SIGKILL)
                break
        process.communicate(timeout=20)
        run = driver.documents("timings")[0]
        assert run["outcome"] == "unfinished"
        states = {step["step"]: step["state"] for step in run["steps"]}
        assert (states["push"], states["pipeline"]) == ("done", "unfinished")
        assert "… cut off pipeline" in driver.invoke("timings")
        assert "application" in healed(driver), "what came after it"


def test_a_lab_that_was_never_built(tmp_path):
    with driven(tmp_path) as driver:
        assert "LAB-NONE-01" in driver.invoke("heal", code=2)
        assert "LAB-TIMINGS-01" in driver.invoke("timings", code=2)
        assert not (tmp_path / ".lab").exists()
