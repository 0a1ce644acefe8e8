"""What the live area shows in a list of situations, at 60, 80 and 120 columns."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from lab.console.board import ROWS, Board
from lab.console.layout import plain
from lab.errors import LabError
from lab.plan import Event, Outcome, Step


class Clock:
    """Seconds that pass when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def step(name: str, title: str) -> Step:
    return Step(name, title, lambda _c: None, lambda _c: "")


GITLAB = step("gitlab", "GitLab answers")
IMAGE = step("image", "Image rancher/k3s:v1.34.9-k3s1")
CLUSTER = step("cluster", "Cluster lab with 1 server and 0 agents, published on 127.0.0.1")


def ended(found: Step, state: str, detail: str = "") -> Event:
    error = LabError("LAB-X-01", detail) if state == "failed" else None
    return Event("ended", found, detail, Outcome(found.name, state, detail, 1.5, error))


class Picture:
    """A board, its clock and what it shows."""

    def __init__(self, expected: int = 0):
        self.clock = Clock()
        self.board = Board(expected, self.clock)

    def tell(self, *events: Event, after: float = 0.0) -> Picture:
        self.clock.now += after
        for event in events:
            self.board.event(event)
        return self

    def shown(self, columns: int, rows: int = 40) -> list[str]:
        return [plain(line) for line in self.board.frame((columns, rows))]


@pytest.fixture
def booting() -> Picture:
    """Two steps done, GitLab boots, an image comes, the cluster has just begun."""
    picture = Picture(expected=20)
    picture.tell(ended(step("a", "A"), "done"), ended(step("b", "B"), "satisfied"))
    picture.tell(Event("started", GITLAB), Event("waiting", GITLAB, "GitLab: /-/readiness answers 502"))
    picture.tell(Event("started", IMAGE), Event("progress", IMAGE, done=0, total=240_000_000), after=60)
    picture.tell(Event("progress", IMAGE, done=60_000_000, total=240_000_000), after=5)
    return picture.tell(Event("started", CLUSTER), after=2)


def test_at_120_columns(booting):
    assert booting.shown(120) == [
        "… waiting       1:07  GitLab answers                               GitLab: /-/readiness answers 502",
        "> running        7 s  Image rancher/k3s:v1.34.9-k3s1               25 %, 60 of 240 MB, 8.6 MB/s, 21 s left",
        "> running        0 s  Cluster lab with 1 server and 0 agents, published on 127.0.0.1",
        "  2 done, 3 running, 15 to come; 1:07 so far",
    ]


def test_at_80_columns_what_is_waited_for_stands_below(booting):
    assert booting.shown(80) == [
        "… waiting       1:07  GitLab answers",
        "                        GitLab: /-/readiness answers 502",
        "> running        7 s  Image rancher/k3s:v1.34.9-k3s1",
        "                        25 %, 60 of 240 MB, 8.6 MB/s, 21 s left",
        "> running        0 s  Cluster lab with 1 server and 0 agents, published on 12…",
        "  2 done, 3 running, 15 to come; 1:07 so far",
    ]


def test_at_60_columns(booting):
    assert booting.shown(60)[2:4] == [
        "> running        7 s  Image rancher/k3s:v1.34.9-k3s1",
        "                        25 %, 60 of 240 MB, 8.6 MB/s, 21…",
    ]


def test_what_failed_stays_on_top_until_the_end(booting):
    booting.tell(ended(IMAGE, "failed", "429: You have reached your pull rate limit."))
    assert booting.shown(120)[0] == (
        "✗ failed         1 s  Image rancher/k3s:v1.34.9-k3s1               429: You have reached your pull rate limit."
    )
    assert booting.shown(120)[-1] == "  2 done, 2 running, 1 failed, 15 to come; 1:07 so far"


def test_a_diagnosis_stands_below_its_step(booting):
    booting.tell(Event("diagnosis", GITLAB, "LAB-GL-03: not enough memory. Give WSL 8 GB."))
    assert booting.shown(120)[1] == "                      ! LAB-GL-03: not enough memory. Give WSL 8 GB."


def test_a_step_that_waits_again_shows_no_old_transfer(booting):
    booting.tell(Event("waiting", IMAGE, "unpacking"))
    assert booting.shown(120)[1] == "… waiting        7 s  Image rancher/k3s:v1.34.9-k3s1               unpacking"


def test_a_look_counts_what_there_is_to_do():
    picture = Picture().tell(ended(GITLAB, "needed"), ended(IMAGE, "unknown"), ended(CLUSTER, "satisfied"))
    assert picture.shown(80) == ["  1 done, 2 looked at, 0 running; 0 s so far"]


def test_a_journey_shows_the_hop_that_is_missing():
    picture = Picture()
    picture.board.note("T3 Webhook woke Argo CD: no delivery for f387338d yet")
    picture.clock.now += 12
    assert picture.shown(80) == ["… waiting       12 s  T3 Webhook woke Argo CD: no delivery for f387338d yet"]
    picture.board.note("")
    assert picture.shown(80) == []


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
@pytest.mark.parametrize("rows", [1, 2, 5, 10, 15, 24, 60])
@pytest.mark.parametrize("count", [0, 1, 6, 14, 15, 40])
def test_the_area_fits_into_the_terminal_and_into_fifteen_rows(columns, rows, count):
    picture = Picture(expected=50).tell(ended(GITLAB, "done"))
    for number in range(count):
        found = step(f"s{number}", f"第{number}步 a title of some length that no narrow terminal has room for")
        picture.tell(
            Event("started", found), Event("waiting", found, "正在等待 something that takes its time"), after=1
        )
    lines = picture.shown(columns, rows)
    assert 1 <= len(lines) <= max(1, min(ROWS, rows - 1))
    assert max(map(cell_len, lines)) <= columns - 2


def test_more_steps_than_rows_are_counted_and_the_longest_are_shown():
    picture = Picture()
    for number in range(20):
        picture.tell(Event("started", step(f"s{number}", f"Step {number}")), after=1)
    lines = picture.shown(80, 10)
    assert lines[0] == "> running       19 s  Step 0"
    assert lines[-2:] == ["  and 13 more", "  20 running; 20 s so far"]
    assert len(lines) == 9


def test_where_there_is_little_room_every_step_is_named_before_any_says_more():
    picture = Picture()
    for number in range(8):
        found = step(f"s{number}", f"Step {number}")
        picture.tell(Event("started", found), Event("waiting", found, f"Something {number} that is long enough"))
    lines = picture.shown(60, 13)
    assert [line.split("Step ")[1] for line in lines if "Step" in line] == [str(number) for number in range(8)]
    assert sum("Something" in line for line in lines) == 3
