"""`logs pipeline`: the traces, as they are or as they grow."""

from __future__ import annotations

import threading

import pytest
from world import P, world

from lab import logs
from lab.errors import UsageError


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "_ASK", 0.01)
    with world(tmp_path) as made:
        yield made


def pipelines(lab, *rows: tuple[int, str]) -> None:
    """Pipelines, newest first."""
    lab.gitlab.on("GET", f"{P}/pipelines", (200, [{"id": number, "status": status} for number, status in rows]))


def job(lab, pipeline: int, number: int, status: str, trace: str) -> None:
    row = {"id": number, "name": f"job-{number}", "status": status, "web_url": f"http://x/{number}"}
    lab.gitlab.on("GET", f"{P}/pipelines/{pipeline}/jobs", (200, [row]))
    lab.gitlab.on("GET", f"{P}/jobs/{number}/trace", (200, trace))


def read(lab, *, follow: bool = False, stop: threading.Event | None = None):
    return logs.pipeline(lab.endpoints, lab.settings, follow, stop or threading.Event())


def test_the_newest_pipelines_traces_are_printed_once(lab):
    pipelines(lab, (7, "success"), (6, "failed"))
    job(lab, 7, 1, "success", "\x1b[0KRunning\nsection_start:1:x\rdone\n")
    assert list(read(lab)) == ["--- job-1 (success) http://x/1", "Running", "done"]


def test_without_a_pipeline_there_is_nothing_to_print(lab):
    pipelines(lab)
    with pytest.raises(UsageError) as caught:
        list(read(lab))
    assert caught.value.code == "LAB-LOGS-03"


def test_a_followed_trace_grows_by_whole_lines_and_goes_on_with_the_next_pipeline(lab):
    stop = threading.Event()
    pipelines(lab, (7, "running"))
    job(lab, 7, 1, "pending", "")
    lines = read(lab, follow=True, stop=stop)
    assert next(lines) == "--- job-1 (pending) http://x/1"
    job(lab, 7, 1, "running", "one\nhal")
    assert [next(lines), next(lines)] == ["--- job-1 (running) http://x/1", "one"]
    job(lab, 7, 1, "success", "one\nhalf\n")
    pipelines(lab, (7, "success"))
    assert [next(lines), next(lines)] == ["--- job-1 (success) http://x/1", "half"]
    pipelines(lab, (8, "running"), (7, "success"))
    job(lab, 8, 2, "running", "two\n")
    assert [next(lines), next(lines)] == ["--- job-2 (running) http://x/2", "two"]
    stop.set()
    assert list(lines) == []


def test_following_waits_for_the_first_pipeline(lab):
    pipelines(lab)
    stop = threading.Event()
    lines = read(lab, follow=True, stop=stop)
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.append(next(lines)))
    reader.start()
    job(lab, 7, 1, "running", "one\n")
    pipelines(lab, (7, "running"))
    reader.join(10)
    assert seen == ["--- job-1 (running) http://x/1"]
