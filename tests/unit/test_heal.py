import contextlib
import json
import threading
from dataclasses import dataclass, field
from io import StringIO

import pytest
from rich.cells import cell_len
from shapes import fits

from lab.console import Console
from lab.errors import CheckFailed, Interrupted, LabError, MachineError, TimedOut
from lab.heal import Healing, since
from lab.heal.table import Row, table
from lab.journal import Journal, boot, recording, runs
from lab.model import Check, Finding
from lab.plan import Needed, Satisfied, Step
from lab.running import Running
from lab.settings import Settings
from lab.state import State

CLOCK = Finding("system.clock", "Clock", "problem", "90 s behind", "Tokens expire.", "$ sudo hwclock --hctosys")


@dataclass
class World:
    """A lab of three steps, each of which may be broken."""

    state: State
    broken: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, LabError] = field(default_factory=dict)
    unmendable: dict[str, LabError] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    refusal: LabError | None = None
    checks: list[Check] = field(default_factory=lambda: [Check("app.answers", "answers", True, "200")])
    acted: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    stream: StringIO = field(default_factory=StringIO)

    def step(self, name, *needs):
        def probe(_context):
            if name in self.unreadable:
                raise self.unreadable[name]
            return Needed(self.broken[name]) if name in self.broken else Satisfied("fine")

        def act(_context):
            self.acted.append(name)
            if name in self.unmendable:
                raise self.unmendable[name]
            self.broken.pop(name)
            return f"{name} made anew"

        return Step(name, f"Title of {name}", probe, act, needs)

    def require(self):
        if self.refusal:
            raise self.refusal

    def heal(self, *, as_json=False):
        console = Console(as_json=as_json, stream=self.stream)
        Healing(
            Running(console, Settings(), self.state, self.stop),
            [self.step("hook", "endpoints"), self.step("endpoints"), self.step("live", "hook")],
            frozenset(["endpoints"]),
            changing=lambda: recording(self.state, "heal", engine="embedded", settings=Settings()),
            require=self.require,
            findings=lambda: self.findings,
            verify=lambda: self.checks,
            since=lambda: "It was restarted.",
        ).run()
        return self.stream.getvalue()

    def documents(self):
        with contextlib.suppress(LabError):
            self.heal(as_json=True)
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lab(tmp_path):
    return World(State(tmp_path / ".lab"))


def test_a_healthy_lab_is_left_alone(lab):
    text = lab.heal()
    assert text == "Nothing is broken: 3 steps are as they should be, 1 of 1 checks passed.\n"
    assert lab.acted == []
    assert not lab.state.folder.exists()


def test_what_is_broken_is_named_mended_and_shown_before_and_after(lab):
    lab.broken = {"endpoints": "no emulator runs", "hook": "it does not exist"}
    text = lab.heal()
    before, _, after = text.partition("actions done")
    assert "✗ broken   endpoints  Title of endpoints: no emulator runs" in before
    assert "2 more steps come after that" in before
    assert "It was restarted." in before
    rows = [line for line in after.splitlines() if "✗" in line]
    assert [row.split() for row in rows] == [
        ["endpoints", "✗", "no", "emulator", "runs", "✓", "endpoints", "made", "anew"],
        ["hook", "✗", "it", "does", "not", "exist", "✓", "hook", "made", "anew"],
    ]
    assert text.endswith("2 mended, 1 of 1 checks passed.\n")
    assert next(runs(lab.state.folder)).task == "heal"


def test_why_the_engine_ended_is_not_told_when_it_runs(lab):
    lab.broken = {"hook": "it does not exist"}
    assert "restarted" not in lab.heal()


def test_what_cannot_be_mended_fails_as_up_does_with_the_table(lab):
    lab.broken = {"endpoints": "no emulator runs"}
    lab.unmendable = {"endpoints": TimedOut("LAB-X-01", "it will not start")}
    with pytest.raises(TimedOut):
        lab.heal()
    assert "✗ no emulator runs" in lab.stream.getvalue()
    assert "✗ it will not start" in lab.stream.getvalue()
    assert next(runs(lab.state.folder)).outcome == "failed"


def test_a_probe_that_cannot_read_does_not_end_the_task_before_it_has_acted(lab):
    lab.unreadable, lab.broken = {"hook": LabError("LAB-GITLAB-07", "GitLab answered 502.")}, {"endpoints": "no"}
    with pytest.raises(LabError, match="502"):
        lab.heal()
    assert lab.acted == ["endpoints"]
    table_row = next(line for line in lab.stream.getvalue().splitlines() if "could not be looked at" in line)
    assert "✗ GitLab answered 502." in table_row


def test_a_check_that_still_fails_ends_with_1_and_says_so(lab):
    lab.checks = [Check("pod.image", "runs", False, "ErrImagePull", "invoke logs app"), *lab.checks]
    with pytest.raises(CheckFailed, match="1 of 2 checks still do not pass"):
        lab.heal()
    assert "ErrImagePull" in lab.stream.getvalue()
    assert "app.answers" not in lab.stream.getvalue()


def test_what_only_a_person_can_mend_is_told_with_its_remedy(lab):
    lab.findings = [CLOCK, Finding("net.hosts", "Hosts", "ok", "fine", ""),
                    Finding("system.memory", "Memory", "problem", "small", "")]  # fmt: skip
    text = lab.heal()
    assert "! machine  Clock: 90 s behind" in text
    assert "$ sudo hwclock --hctosys" in text
    assert "Memory" not in text


def test_a_machine_that_cannot_run_it_is_refused_before_anything_is_touched(lab):
    lab.broken, lab.refusal = {"endpoints": "no"}, MachineError("LAB-PORT-01", "Port 8929 is taken.")
    with pytest.raises(MachineError):
        lab.heal()
    assert lab.acted == []


def test_ctrl_c_while_looking(lab):
    lab.stop.set()
    lab.broken = {"endpoints": "no emulator runs"}
    with pytest.raises(Interrupted):
        lab.heal()
    assert lab.acted == []


def test_documents(lab):
    lab.broken, lab.findings = {"endpoints": "no emulator runs"}, [CLOCK]
    found = lab.documents()
    assert [document for document in found if not fits(document)] == []
    kinds = [document["type"] for document in found if document["type"] != "step"]
    assert kinds == ["broken", "since", "result", "healed", "machine", "heal"]
    assert found[-1] == {"type": "heal", "mended": ["endpoints"], "checks": 1, "failed": []}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_keeps_to_its_width(width):
    rows = [Row("a" * 30, "", "why " * 40, "done " * 30, mended=True), Row("b", "", "", "x" * 300)]
    lines = list(table(rows, width))
    assert max(map(len, lines)) <= width
    assert "".join(lines).count("x") == 300
    assert "".join(lines).count("why") == 40


def test_wide_characters_count_as_two_columns():
    lines = list(table([Row("a", "", "原因" * 30, "完成", mended=True)], 60))
    assert max(map(cell_len, lines)) <= 60
    assert cell_len(lines[1].partition("✓")[0]) == cell_len(lines[0].partition("after")[0])


def ran(state, task="up", **header):
    with recording(state, task, engine="embedded", settings=Settings()) as journal:
        assert isinstance(journal, Journal)
    if header:
        path = next(runs(state.folder)).file
        first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([json.dumps({**json.loads(first), **header}), *rest]))


@pytest.mark.parametrize(
    ("header", "now", "inside_wsl", "told"),
    [
        ({"boot": "k1/20"}, "k1/20", False, "this machine was not restarted"),
        ({"boot": "k1/20"}, "k2/20", False, "This machine was started anew"),
        ({"boot": "k1/20"}, "k1/99", True, "This WSL distribution was stopped"),
        ({"boot": "k1/20"}, "k2/20", True, "WSL was stopped as a whole, or Windows restarted"),
        ({"boot": ""}, "k2/20", True, "nobody has stopped the lab"),
        ({"boot": "k1/20"}, "", True, "nobody has stopped the lab"),
        ({"boot": "k1/20", "task": "stop"}, "k2/20", True, "`invoke stop` ended it"),
        ({"boot": "k1/20", "task": "down"}, "k1/20", False, "`invoke down` ended it"),
    ],
)
def test_what_has_happened_since(lab, header, now, inside_wsl, told):
    ran(lab.state, **{"task": "up", **header})
    assert told in since(lab.state.folder, inside_wsl=inside_wsl, now=now)


def test_wsl_says_how_to_keep_it_running(lab):
    ran(lab.state, boot="k1/20")
    assert "instanceIdleTimeout" in since(lab.state.folder, inside_wsl=True, now="k1/99")


def test_nothing_is_known_without_a_journal(tmp_path):
    assert since(tmp_path, inside_wsl=True) == ""


def test_this_start_of_the_machine_stays_the_same():
    assert boot() == boot() != ""
