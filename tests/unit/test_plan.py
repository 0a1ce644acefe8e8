import threading

import pytest

from lab.errors import Interrupted, LabError
from lab.plan import AT_ONCE, Needed, Outcome, Satisfied, Step, StepContext, Unknown, leading_to, order, run
from lab.waiting import Pending


def step(name, probe=None, act=None, needs=()):
    return Step(name, name.title(), probe or (lambda _c: Needed("missing")), act or (lambda _c: "made"), tuple(needs))


def states(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.step: outcome.state for outcome in outcomes}


def test_a_satisfied_step_is_not_acted_on():
    acted = []
    outcomes = run([step("a", lambda _c: Satisfied("there"), lambda _c: acted.append("a") or "")])
    assert states(outcomes) == {"a": "satisfied"}
    assert outcomes[0].detail == "there"
    assert acted == []


def test_unknown_and_needed_are_acted_on():
    outcomes = run([step("a", lambda _c: Unknown("b exists")), step("b")])
    assert states(outcomes) == {"a": "done", "b": "done"}


def test_order_follows_needs_and_keeps_the_given_order_otherwise():
    names = [s.name for s in order([step("c", needs=["a"]), step("b"), step("a")])]
    assert names == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([step("a", needs=["b"]), step("b", needs=["a"])], "a -> b -> a"),
        ([step("a", needs=["x"])], "'x', which does not exist"),
        ([step("a"), step("a")], "same name"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(steps, text):
    with pytest.raises(ValueError, match=text):
        order(steps)


def test_independent_steps_run_at_once():
    both = threading.Barrier(2, timeout=10)
    outcomes = run([step("a", act=lambda _c: str(both.wait())), step("b", act=lambda _c: str(both.wait()))])
    assert states(outcomes) == {"a": "done", "b": "done"}


def test_parallel_is_an_upper_bound():
    running, most, lock = [0], [0], threading.Lock()

    def act(_context):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        with lock:
            running[0] -= 1
        return ""

    run([step(str(n), act=act) for n in range(20)], parallel=2)
    assert most[0] <= 2


def test_a_failure_stops_the_rest_and_names_itself_in_what_was_skipped():
    def fail(_context):
        raise LabError("X", "broken")

    outcomes = {o.step: o for o in run([step("a", act=fail), step("b", needs=["a"]), step("c", needs=["b"])])}
    assert outcomes["a"].state == "failed"
    assert outcomes["a"].error.problem == "broken"
    assert outcomes["b"].state == "skipped"
    assert "a, which failed" in outcomes["b"].detail
    assert "b, which was skipped" in outcomes["c"].detail


def test_a_failure_ends_the_waits_of_its_neighbours():
    waiting = threading.Event()

    def wait_for_ever(context: StepContext):
        waiting.set()
        return context.wait("rain", lambda: Pending("sun"), timeout=60)

    def fail(_context):
        waiting.wait(10)
        raise LabError("X", "broken")

    outcomes = run([step("a", act=fail), step("b", act=wait_for_ever)])
    assert states(outcomes) == {"a": "failed", "b": "stopped"}
    assert isinstance(outcomes[1].error, Interrupted)


def test_a_defect_becomes_a_failure_with_its_cause():
    outcomes = run([step("a", act=lambda _c: 1 / 0)])
    assert outcomes[0].state == "failed"
    assert isinstance(outcomes[0].error.__cause__, ZeroDivisionError)


def test_a_probe_that_cannot_read_is_an_error_and_never_needed():
    def probe(_context):
        raise LabError("X", "502")

    acted = []
    outcomes = run([step("a", probe, lambda _c: acted.append(1) or "")])
    assert outcomes[0].state == "failed"
    assert acted == []


def test_a_dry_run_only_probes():
    acted = []
    act = lambda _c: acted.append(1) or ""  # noqa: E731
    outcomes = run(
        [step("a", lambda _c: Satisfied(), act), step("b", act=act), step("c", act=act, needs=["b"])], dry=True
    )
    assert states(outcomes) == {"a": "satisfied", "b": "needed", "c": "unknown"}
    assert acted == []


def test_nothing_starts_after_stop():
    stop = threading.Event()
    stop.set()
    assert states(run([step("a")], stop=stop)) == {"a": "stopped"}


def test_events_tell_start_waiting_and_end():
    seen = []
    answers = iter([Pending("sun"), Pending("clouds"), "rain"])
    run(
        [step("a", act=lambda c: c.wait("rain", lambda: next(answers), timeout=10, interval=0.001))],
        on_event=lambda event: seen.append((event.kind, event.detail)),
    )
    assert seen == [("started", ""), ("waiting", "rain: sun"), ("waiting", "rain: clouds"), ("ended", "rain")]


def test_a_group_has_a_limit_of_its_own_and_holds_nobody_else_up():
    lock, running, most = threading.Lock(), set(), []
    free = threading.Event()

    def pull(name):
        def act(_context):
            with lock:
                running.add(name)
                most.append(len(running))
            assert free.wait(20)
            with lock:
                running.discard(name)
            return "done"

        return act

    def needed(_context):
        return Needed("absent")

    pulls = [Step(f"pull.{n}", "an image", needed, pull(n), group="pull") for n in range(6)]
    other = Step("other", "free when the pulls are not", needed, lambda _context: str(free.set() or "done"))
    outcomes = run([*pulls, other], parallel=4)
    assert [outcome.state for outcome in outcomes] == ["done"] * 7
    assert max(most) <= AT_ONCE["pull"]


def test_what_leads_to_a_step_is_it_and_all_that_it_needs():
    steps = [step("top", needs=["left"]), step("left", needs=["base"]), step("right", needs=["base"]), step("base")]
    assert [each.name for each in leading_to(steps, ["top"])] == ["base", "left", "top"]
    assert [each.name for each in leading_to(steps, ["left", "right"])] == ["base", "left", "right"]
