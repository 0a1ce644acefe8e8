"""Steps and the one engine that runs them.

A step is data: a probe that only reads, an action that changes the world, and the names of the steps it needs.
`run` acts only where a probe says so, starts every step as soon as what it needs is done, and ends each in an
`Outcome` with a reason and a duration.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

from lab.causes.cause import Diagnosis, Gather
from lab.errors import Interrupted, LabError, defect
from lab.waiting import Pending, wait_until

T = TypeVar("T")
AT_ONCE = {"pull": 3}
"""How many steps of a group run at the same time at most, whatever ``parallel`` is; the others wait for no thread."""


@dataclass(frozen=True)
class Satisfied:
    """The world is already as the step wants it."""

    evidence: str = ""


@dataclass(frozen=True)
class Needed:
    """The step has something to do."""

    why: str


@dataclass(frozen=True)
class Unknown:
    """The probe cannot tell before something else exists."""

    until: str


Probe = Satisfied | Needed | Unknown


@dataclass(frozen=True)
class StepContext:
    """What a running step may use of its surroundings."""

    stop: threading.Event = field(default_factory=threading.Event)
    report: Callable[[str], None] = lambda _observation: None
    progress: Callable[[int, int], None] = lambda _done, _total: None
    """Told how many of how many bytes are there; a total of 0 is not known yet."""
    diagnosed: Callable[[Diagnosis], None] = lambda _found: None
    """Told each known cause that a wait has recognised, once."""

    def wait(
        self,
        what: str,
        probe: Callable[[], T | Pending],
        *,
        timeout: float,
        interval: float = 0.05,
        longest: float = 1.0,
        hint: str = "",
        diagnose: Gather | None = None,
    ) -> T:
        """`wait_until`, ended by this run's stop event; reports to this run's display what it waits for and sees."""
        return wait_until(
            what, probe, timeout=timeout, interval=interval, longest=longest,
            stop=self.stop, report=lambda seen: self.report(f"{what}: {seen}"), hint=hint,
            diagnose=diagnose, diagnosed=self.diagnosed,
        )  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing that `up` makes true.

    ``probe`` reads and never changes anything; a time-out or a 5xx raises LabError, it is never `Needed`.
    ``act`` may be killed at any moment and run again; it returns one line saying what was done.
    ``explain`` is what a person would have typed, without secrets.
    """

    name: str
    title: str
    probe: Callable[[StepContext], Probe]
    act: Callable[[StepContext], str]
    needs: tuple[str, ...] = ()
    explain: str = ""
    group: str = ""
    """One of `AT_ONCE`, or empty."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    ``state`` is ``satisfied`` (nothing to do), ``done`` (acted), ``needed`` or ``unknown`` (only looked at),
    ``failed``, ``skipped`` (a step it needs did not end well) or ``stopped``.
    """

    step: str
    state: str
    detail: str
    seconds: float
    error: LabError | None = None

    @property
    def good(self) -> bool:
        """Whether steps that need this one may start."""
        return self.state in ("satisfied", "done")


@dataclass(frozen=True)
class Event:
    """Progress for a display: ``kind`` is ``started``, ``waiting``, ``progress``, ``diagnosis`` or ``ended``."""

    kind: str
    step: Step
    detail: str = ""
    """What is waited for; of ``diagnosis``: code, problem and remedy of a known cause."""
    outcome: Outcome | None = None
    done: int = 0
    """Bytes of ``progress``."""
    total: int = 0


def order(steps: Sequence[Step]) -> list[Step]:
    """The steps with every step after those it needs, otherwise as given.

    Raises:
        ValueError: a name is used twice, a needed step does not exist, or steps need each other in a circle.
    """
    by_name = {step.name: step for step in steps}
    if len(by_name) != len(steps):
        raise ValueError("two steps have the same name")
    done: list[Step] = []
    state: dict[str, str] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name not in by_name:
            raise ValueError(f"step {path[-1]!r} needs {name!r}, which does not exist")
        if state.get(name) == "open":
            raise ValueError("steps need each other in a circle: " + " -> ".join((*path, name)))
        if name in state:
            return
        state[name] = "open"
        for need in by_name[name].needs:
            visit(need, (*path, name))
        state[name] = "closed"
        done.append(by_name[name])

    for step in steps:
        visit(step.name, ())
    return done


def leading_to(steps: Sequence[Step], names: Iterable[str]) -> list[Step]:
    """The steps with these names and all that they need, in order; raises ValueError as `order` does."""
    wanted = set(names)
    found = []
    for step in reversed(order(steps)):
        if step.name in wanted:
            wanted.update(step.needs)
            found.append(step)
    return found[::-1]


def run(
    steps: Sequence[Step],
    *,
    parallel: int = 8,
    stop: threading.Event | None = None,
    on_event: Callable[[Event], None] = lambda _event: None,
    dry: bool = False,
) -> list[Outcome]:
    """Make every step true; independent steps run at once.

    Args:
        steps: in any order; `order` sorts them and complains.
        parallel: upper bound of steps that run at the same time.
        stop: set from outside to end early; set from inside when a step fails, so that waits end soon.
        on_event: called from the steps' threads, one call at a time.
        dry: only probe. A step whose needs are not satisfied is reported as ``unknown``.

    Returns:
        One outcome per step, in the order of `order`.
    """
    return _Run(order(steps), parallel, stop or threading.Event(), on_event, dry).execute()


class _Run:
    """The state of one `run`."""

    def __init__(
        self,
        steps: list[Step],
        parallel: int,
        stop: threading.Event,
        on_event: Callable[[Event], None],
        dry: bool,
    ) -> None:
        self._steps = steps
        self._parallel = parallel
        self._stop = stop
        self._emit_now = on_event
        self._dry = dry
        self._lock = threading.Lock()
        self._outcomes: dict[str, Outcome] = {}

    def execute(self) -> list[Outcome]:
        waiting = list(self._steps)
        running: dict[Future[Outcome], Step] = {}
        with ThreadPoolExecutor(max_workers=self._parallel, thread_name_prefix="step") as pool:
            while waiting or running:
                waiting = self._launch(waiting, running, pool)
                if running:
                    self._collect(running)
        return [self._outcomes[step.name] for step in self._steps]

    def _launch(
        self, waiting: Iterable[Step], running: dict[Future[Outcome], Step], pool: ThreadPoolExecutor
    ) -> list[Step]:
        """Start what can start, end what never can; returns the steps that still wait."""
        later = []
        for step in waiting:
            needs = [self._outcomes.get(name) for name in step.needs]
            blocker = next((outcome for outcome in needs if outcome and not outcome.good), None)
            if blocker:
                self._end(step, self._blocked(step, blocker))
            elif any(outcome is None for outcome in needs):
                later.append(step)
            elif self._stop.is_set():
                self._end(step, Outcome(step.name, "stopped", "not started", 0.0))
            elif sum(other.group == step.group for other in running.values()) >= AT_ONCE.get(
                step.group, self._parallel
            ):
                later.append(step)
            else:
                running[pool.submit(self._one, step)] = step
        return later

    def _blocked(self, step: Step, blocker: Outcome) -> Outcome:
        if self._dry:
            return Outcome(step.name, "unknown", f"after {blocker.step}", 0.0)
        return Outcome(step.name, "skipped", f"needs {blocker.step}, which {_ended(blocker)}", 0.0)

    def _collect(self, running: dict[Future[Outcome], Step]) -> None:
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            self._end(running.pop(future), future.result())

    def _end(self, step: Step, outcome: Outcome) -> None:
        self._outcomes[step.name] = outcome
        if outcome.state == "failed":
            self._stop.set()
        self._emit(Event("ended", step, outcome.detail, outcome))

    def _emit(self, event: Event) -> None:
        with self._lock:
            self._emit_now(event)

    def _one(self, step: Step) -> Outcome:
        started = time.monotonic()
        self._emit(Event("started", step))
        context = StepContext(
            self._stop,
            lambda seen: self._emit(Event("waiting", step, seen)),
            lambda done, total: self._emit(Event("progress", step, done=done, total=total)),
            lambda found: self._emit(Event("diagnosis", step, found.text)),
        )

        def ended(state: str, detail: str, error: LabError | None = None) -> Outcome:
            return Outcome(step.name, state, detail, time.monotonic() - started, error)

        try:
            probe = step.probe(context)
            if isinstance(probe, Satisfied):
                return ended("satisfied", probe.evidence)
            reason = probe.why if isinstance(probe, Needed) else f"until {probe.until}"
            if self._dry:
                return ended("needed" if isinstance(probe, Needed) else "unknown", reason)
            return ended("done", step.act(context) or reason)
        except Interrupted as error:
            return ended("stopped", error.problem, error)
        except LabError as error:
            return ended("failed", error.problem, error)
        except Exception as error:  # noqa: BLE001 - the boundary of a step
            # A defect of ours must not hang the plan; app.py prints it with its cause under LAB_DEBUG=1.
            wrapped = defect(error, step.title)
            return ended("failed", wrapped.problem, wrapped)


def _ended(outcome: Outcome) -> str:
    return {"failed": "failed", "skipped": "was skipped", "stopped": "was stopped"}.get(outcome.state, outcome.state)
