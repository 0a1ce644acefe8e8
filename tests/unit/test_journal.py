import json
import threading
from pathlib import Path

import pytest

from lab.errors import Interrupted, LabError
from lab.journal import recording, runs
from lab.journal import writing as journal_writing
from lab.model import Hop
from lab.plan import Needed, Step, run
from lab.settings import ProjectSettings, Settings
from lab.state import State


def step(name, act=lambda _c: "made", needs=()):
    return Step(name, f"Title of {name}", lambda _c: Needed("missing"), act, tuple(needs))


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / ".lab")


def record(state, work, *, task="up", settings=None):
    with recording(state, task, engine="embedded", settings=settings or Settings()) as journal:
        work(journal)


def planned(*steps, parallel=4):
    def work(journal):
        journal.plan(steps, parallel)
        outcomes = run(steps, parallel=parallel, on_event=journal.event)
        error = next((outcome.error for outcome in outcomes if outcome.error), None)
        if error:
            raise error

    return work


def files(state) -> list[Path]:
    return sorted((state.folder / "journal").iterdir())


def lines(state) -> list[dict]:
    return [json.loads(line) for path in files(state) for line in path.read_text().splitlines()]


def test_a_run_is_read_back_with_its_steps(state):
    record(state, planned(step("a"), step("b", needs=["a"])))
    (found,) = runs(state.folder)
    assert (found.task, found.engine, found.outcome, found.parallel, found.error) == ("up", "embedded", "done", 4, "")
    assert [(span.name, span.needs, span.state, span.detail) for span in found.spans] == [
        ("a", (), "done", "made"),
        ("b", ("a",), "done", "made"),
    ]
    assert 0 <= found.spans[0].start <= found.spans[0].end <= found.spans[1].start <= found.seconds


def test_the_header_says_what_ran_where(state):
    record(state, planned(step("a")))
    head = lines(state)[0]
    assert head["type"] == "run"
    assert {"task", "lab", "python", "engine", "settings", "pid", "boot", "at", "wall"} <= set(head)


def test_only_the_owner_can_read_it(state):
    record(state, planned(step("a")))
    assert [path.stat().st_mode & 0o777 for path in files(state)] == [0o600]
    assert (state.folder / "journal").stat().st_mode & 0o777 == 0o700


def test_a_failure_is_recorded_and_goes_on_its_way(state):
    def fail(context):
        context.report("looking")
        raise LabError("LAB-X-01", "broken", evidence="seen", hint="mend")

    with pytest.raises(LabError, match="broken"):
        record(state, planned(step("a", fail)))
    (found,) = runs(state.folder)
    assert (found.outcome, found.error) == ("failed", "broken [LAB-X-01]")
    assert (found.spans[0].state, found.spans[0].error) == ("failed", "LAB-X-01")
    assert [line["detail"] for line in lines(state) if line.get("event") == "waiting"] == ["looking"]
    assert lines(state)[-1]["error"]["evidence"] == "seen"


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt()])
def test_an_interrupted_run_says_so(state, error):
    def work(_journal):
        raise error

    with pytest.raises(type(error)):
        record(state, work)
    assert next(runs(state.folder)).outcome == "interrupted"


def test_a_run_that_was_killed_leaves_what_it_had_come_to(state):
    record(state, planned(step("a"), step("b", needs=["a"])))
    path = files(state)[0]
    text = path.read_text().splitlines(keepends=True)
    begun = next(number for number, line in enumerate(text) if '"step": "b", "event": "started"' in line)
    path.write_text("".join(text[: begun + 1]) + text[begun + 1][:25])
    (found,) = runs(state.folder)
    assert found.outcome == "unfinished"
    assert [(span.name, span.state) for span in found.spans] == [("a", "done"), ("b", "unfinished")]


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0" * 4096, b"{", b"[]\n3\nnull\n", b'{"type": "run", "at": "x"}\n', b"\xff\xfe{}", b"[" * 100_000],
)
def test_a_damaged_journal_is_skipped(state, damage):
    record(state, planned(step("a")))
    (state.folder / "journal/20990101-000000-000000-up-1.jsonl").write_bytes(damage)
    (state.folder / "journal/20990102-000000-000000-up-1.jsonl").mkdir()
    assert [found.task for found in runs(state.folder)] == ["up"]


def test_a_damaged_line_is_left_out(state):
    record(state, planned(step("a"), step("b", needs=["a"])))
    path = files(state)[0]
    text = path.read_text().splitlines()
    middle = ['{"type": "step", "at": 1}', "garbage", '{"at": 0.1, "type": "plan", "parallel": [], "steps": 3}']
    path.write_text("\n".join([*text[:3], *middle, *text[3:]]) + "\n")
    (found,) = runs(state.folder)
    assert [span.name for span in found.spans] == ["a", "b"]


def test_secrets_are_masked_from_the_moment_they_are_written(state):
    def act(context):
        state.put_secret("token", "s3cret-of-later")
        context.report("got s3cret-of-later and glpat-abcdefgh")
        return "set s3cret-of-later, hunter2"

    settings = Settings(project=ProjectSettings(variables={"PASSWORD": "hunter2"}))
    record(state, planned(step("a", act)), settings=settings)
    text = files(state)[0].read_text()
    assert "got [masked] and [masked]" in text
    assert not [secret for secret in ("s3cret", "hunter2", "glpat-abc") if secret in text]


def test_steps_at_once_do_not_mix_their_lines(state):
    both = threading.Barrier(8, timeout=10)

    def act(context):
        both.wait()
        for number in range(100):
            context.report(f"{number} " + "x" * 300)
        return ""

    record(state, planned(*(step(str(number), act) for number in range(8)), parallel=8))
    assert len([line for line in lines(state) if line.get("event") == "waiting"]) == 800
    assert len(next(runs(state.folder)).spans) == 8


def test_two_runs_at_once_have_a_journal_each(state):
    inside = threading.Barrier(2, timeout=10)
    threads = [
        threading.Thread(target=record, args=(state, lambda _journal: inside.wait()), kwargs={"task": task})
        for task in ("follow", "smoke")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found.task for found in runs(state.folder)) == ["follow", "smoke"]


def test_progress_is_noted_once_a_second_at_most(state):
    def act(context):
        for done in range(1000):
            context.progress(done, 1000)
        return ""

    record(state, planned(step("a", act)))
    assert len([line for line in lines(state) if line.get("event") == "progress"]) == 1


def test_a_long_journal_keeps_only_starts_and_ends(state, monkeypatch):
    monkeypatch.setattr(journal_writing, "LONGEST", 3000)

    def act(context):
        for number in range(500):
            context.report(f"still {number}")
        return ""

    record(state, planned(step("a", act), step("b", needs=["a"])))
    assert files(state)[0].stat().st_size < 6000
    found = next(runs(state.folder))
    assert ([span.name for span in found.spans], found.outcome) == (["a", "b"], "done")


def test_old_journals_make_room(state, monkeypatch):
    monkeypatch.setattr(journal_writing, "KEPT", 3)
    for number in range(5):
        record(state, lambda _journal: None, task=f"t{number}")
    assert [found.task for found in runs(state.folder)] == ["t4", "t3", "t2"]
    monkeypatch.setattr(journal_writing, "KEPT_BYTES", 1)
    record(state, lambda _journal: None, task="last")
    assert [found.task for found in runs(state.folder)] == ["last"]


def test_a_journal_that_cannot_be_written_does_not_stop_the_run(state):
    state.path("journal").write_text("a file where the folder should be")
    done = []
    record(state, done.append)
    assert done


def test_hops_follow_each_other(state):
    def work(journal):
        journal.note("waiting for a pod")
        journal.hop(Hop("T0", "Push", 0.5, "abc"))
        journal.hop(Hop("T1", "Image", 1.5, "def"))

    record(state, work, task="smoke")
    (found,) = runs(state.folder)
    assert [(span.name, span.needs, span.start, span.end) for span in found.spans] == [
        ("T0", (), 0.0, 0.5),
        ("T1", ("T0",), 0.5, 2.0),
    ]


def test_the_settings_digest_changes_with_a_setting_and_not_with_a_secret():
    def digest(**variables):
        return journal_writing.digest(Settings(project=ProjectSettings(variables=variables)))

    assert digest(A="1") == digest(A="2")
    assert digest(A="1") != digest(B="1")
    assert journal_writing.digest(Settings(parallel=2)) != journal_writing.digest(Settings())
