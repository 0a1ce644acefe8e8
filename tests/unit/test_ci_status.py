"""Composite status, and whose turn it is."""

from __future__ import annotations

import pytest

from lab.emulator.ci import status
from lab.emulator.ci.model import Job


def job(number, state, *, stage=0, **more):
    return Job(
        id=number, pipeline_id=1, project_id=1, name=more.pop("name", f"job{number}"), stage=str(stage),
        stage_index=stage, options={}, variables=[], status=state, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        (["success", "success"], "success"),
        (["success", "skipped"], "success"),
        (["skipped"], "skipped"),
        (["created", "created"], "created"),
        (["pending", "created"], "pending"),
        (["success", "created"], "running"),
        (["success", "pending"], "running"),
        (["running", "failed"], "running"),
        (["failed", "success"], "failed"),
        (["failed", "created"], "running"),
        (["canceled", "success"], "canceled"),
        (["canceling", "running"], "canceling"),
        (["success", "manual"], "manual"),
        (["success", "waiting_for_resource"], "waiting_for_resource"),
        (["success", "scheduled"], "scheduled"),
    ],
)
def test_composite(states, expected):
    assert status.composite([job(i, state) for i, state in enumerate(states)]) == expected


def test_allowed_failures_and_optional_manual_jobs_do_not_count():
    rows = [job(1, "success"), job(2, "failed", allow_failure=True), job(3, "manual", allow_failure=True)]
    assert status.composite(rows) == "success"
    assert status.has_warnings(rows)


def actions(*jobs):
    return {found.id: action for found, action in status.ready(jobs)}


def test_a_stage_waits_for_the_one_before():
    first, second = job(1, "running"), job(2, "created", stage=1)
    assert actions(first, second) == {}
    first.status = "success"
    assert actions(first, second) == {2: "start"}
    first.status = "failed"
    assert actions(first, second) == {2: "skip"}


def test_when_decides_what_follows_a_failure():
    first = job(1, "failed")
    rows = [job(2, "created", stage=1, when="on_failure"), job(3, "created", stage=1, when="always")]
    assert actions(first, *rows) == {2: "start", 3: "start"}
    first.status = "success"
    assert actions(first, *rows) == {2: "skip", 3: "start"}


def test_a_blocking_manual_job_holds_the_later_stages():
    assert actions(job(1, "manual"), job(2, "created", stage=1)) == {}
    assert actions(job(1, "manual", allow_failure=True), job(2, "created", stage=1)) == {2: "start"}


def test_needs_do_not_wait_for_the_stage():
    rows = [job(1, "running"), job(2, "success"), job(3, "created", stage=1, needs=[{"job": "job2"}])]
    assert actions(*rows) == {3: "start"}
    rows[1].status = "skipped"
    assert actions(*rows) == {3: "skip"}
    assert actions(job(1, "running"), job(2, "created", stage=2, needs=[])) == {2: "start"}


def test_needs_wait_for_every_part_of_a_parallel_job():
    parts = [job(i, "success", name=f"test {i}/2", parallel_index=i, parallel_total=2) for i in (1, 2)]
    last = job(3, "created", stage=1, needs=[{"job": "test"}])
    parts[1].status = "running"
    assert actions(*parts, last) == {}
    parts[1].status = "success"
    assert actions(*parts, last) == {3: "start"}


@pytest.mark.parametrize(("when", "action"), [("manual", "manual"), ("delayed", "delay"), ("on_success", "start")])
def test_what_happens_when_the_turn_has_come(when, action):
    assert actions(job(1, "created", when=when)) == {1: action}
