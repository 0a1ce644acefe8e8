import threading

import pytest

from lab.errors import Interrupted, LabError, TimedOut
from lab.waiting import Pending, wait_until


class Clock:
    """Seconds that pass only when somebody waits."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def __call__(self):
        return self.now

    def event(self):
        clock = self

        class Passing(threading.Event):
            def wait(self, timeout=None):
                clock.waits.append(timeout)
                clock.now += timeout
                return self.is_set()

        return Passing()


def test_the_first_answer_that_is_not_pending_is_returned():
    answers = iter([Pending("a"), Pending("b"), 0])
    assert wait_until("it", lambda: next(answers), timeout=10, interval=0.001) == 0


def test_the_probe_runs_once_even_without_time():
    assert wait_until("it", lambda: "there", timeout=0) == "there"


def test_the_error_carries_what_was_last_seen_and_the_hint():
    clock = Clock()
    with pytest.raises(TimedOut) as caught:
        wait_until(
            "rain", lambda: Pending(f"sun at {clock.now:g}"), timeout=3, interval=1, longest=1,
            stop=clock.event(), clock=clock, hint="dance",
        )  # fmt: skip
    assert "rain" in caught.value.problem
    assert caught.value.evidence == "last seen: sun at 3"
    assert caught.value.hint == "dance"
    assert caught.value.exit_code == 4


def test_intervals_grow_to_the_longest_and_never_pass_the_deadline():
    clock = Clock()
    with pytest.raises(TimedOut):
        wait_until("x", lambda: Pending("no"), timeout=5, interval=1, longest=2, stop=clock.event(), clock=clock)
    assert clock.waits == [1, 1.5, 2, 0.5]


def test_never_is_an_error_of_the_probe_and_ends_the_wait():
    def probe():
        raise LabError("X", "never")

    with pytest.raises(LabError, match="never"):
        wait_until("x", probe, timeout=10)


def test_stop_ends_the_wait():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted, match="rain"):
        wait_until("rain", lambda: Pending("sun"), timeout=10, stop=stop)


def test_each_observation_is_reported_once():
    answers = iter([Pending("a"), Pending("a"), Pending("b"), 1])
    seen = []
    wait_until("x", lambda: next(answers), timeout=10, interval=0.001, report=seen.append)
    assert seen == ["a", "b"]
