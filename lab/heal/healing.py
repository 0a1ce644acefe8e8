"""Looks first, acts on what is broken, verifies, and prints before and after."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from lab import plan
from lab.console import Cell
from lab.errors import CheckFailed, Interrupted, LabError
from lab.heal.table import Row, table
from lab.journal import Journal
from lab.model import Check, Finding
from lab.running import Running

MACHINE = ("system.clock", "net.hosts", "wsl.network")
"""Findings of the doctor about what sleep and restarts change; nobody but a person can mend them."""
_OFF = ("warning", "problem")
_MARK = 10
"""Columns of the first words of a line."""


@dataclass
class Healing:
    """One `heal`.

    Args:
        running: console, settings and stop event of the task.
        steps: those of `up`.
        own: names of the steps that are the engine's.
        changing: takes the lab's lock and keeps the journal.
        require: raises when this machine cannot run the lab at all.
        findings: what the doctor says about this machine now.
        verify: the checks of `verify`.
        since: why the engine may have ended, in one sentence; "" when nothing is known.
    """

    running: Running
    steps: Sequence[plan.Step]
    own: frozenset[str]
    changing: Callable[[], AbstractContextManager[Journal]]
    require: Callable[[], None]
    findings: Callable[[], Sequence[Finding]]
    verify: Callable[[], Sequence[Check]]
    since: Callable[[], str]
    rows: dict[str, Row] = field(default_factory=dict)

    def run(self) -> None:
        """Heal the lab, and tell.

        Raises:
            MachineError: the lab cannot run on this machine.
            CheckFailed: a check does not pass, though every step is done.
            LabError: as `up`.
        """
        machine = [finding for finding in self.findings() if finding.id in MACHINE and finding.state in _OFF]
        broken = self._look()
        if broken:
            self._tell_broken(broken)
            self._act()
        checks = self.verify()
        bad = [check for check in checks if check.ok is not True]
        self.running.console.checks(bad)
        self._tell_machine(machine)
        self._tell_end([check.id for check in bad], len(checks))

    def _look(self) -> list[plan.Outcome]:
        """The steps that are not as they should be; those behind them cannot be told yet."""
        alone = threading.Event()  # a probe that fails ends the look, and must not end the task
        outcomes = plan.run(self.steps, parallel=self.running.settings.parallel, stop=alone, dry=True)
        if self.running.stop.is_set():
            raise Interrupted
        return [outcome for outcome in outcomes if outcome.state != "satisfied"]

    def _act(self) -> None:
        self.require()
        try:
            with self.changing() as journal:
                self.running.act([self._watched(step) for step in self.steps], journal)
        finally:
            self._tell_rows()

    def _watched(self, step: plan.Step) -> plan.Step:
        """The step, with what its probe finds noted: what lies behind a broken step can be seen only now."""

        def probe(context: plan.StepContext) -> plan.Probe:
            try:
                found = step.probe(context)
            except LabError as error:
                self.rows[step.name] = Row(step.name, step.title, "could not be looked at", error.problem)
                raise
            if not isinstance(found, plan.Satisfied):
                before = found.why if isinstance(found, plan.Needed) else f"unknown until {found.until}"
                self.rows[step.name] = Row(step.name, step.title, before)
            return found

        def act(context: plan.StepContext) -> str:
            row = self.rows[step.name]
            try:
                done = step.act(context)
            except LabError as error:
                row.after = error.problem
                raise
            row.after, row.mended = done or "done", True
            return done

        return replace(step, probe=probe, act=act)

    def _tell_broken(self, broken: Sequence[plan.Outcome]) -> None:
        console, seen = self.running.console, [item for item in broken if item.state in ("needed", "failed")]
        titles = {step.name: step.title for step in self.steps}
        for outcome in seen:
            console.document({"type": "broken", "step": outcome.step, "why": outcome.detail})
            head = (Cell("✗ broken", _MARK, "red"), Cell(f"{outcome.step} "))
            console.row(head, f"{titles[outcome.step]}: {outcome.detail}")
        hidden = len(broken) - len(seen)
        if hidden:
            console.row((Cell("", _MARK),), f"{hidden} more steps come after that and cannot be looked at yet.")
        why = self.since() if any(outcome.step in self.own for outcome in seen) else ""
        if why:
            console.document({"type": "since", "text": why})
            console.row((Cell("", _MARK),), why)
        console.line()

    def _tell_rows(self) -> None:
        console = self.running.console
        rows = [self.rows[step.name] for step in plan.order(self.steps) if step.name in self.rows]
        for row in rows:
            about = {"before": row.before, "after": row.after, "mended": row.mended}
            console.document({"type": "healed", "step": row.what, **about})
        console.line()
        for line in table(rows):
            console.line(line)
        console.line()

    def _tell_machine(self, findings: Sequence[Finding]) -> None:
        """What only a person can mend."""
        console = self.running.console
        for finding in findings:
            console.document({"type": "machine", "id": finding.id, "measured": finding.measured})
            console.row((Cell("! machine", _MARK, "yellow"),), f"{finding.title}: {finding.measured}")
            for text in (finding.why, *finding.remedy.splitlines()):
                console.row((Cell("", _MARK),), text)

    def _tell_end(self, bad: Sequence[str], checks: int) -> None:
        mended = [row for row in self.rows.values() if row.mended]
        document = {"type": "heal", "mended": [row.what for row in mended], "checks": checks, "failed": list(bad)}
        self.running.console.document(document)
        if bad:
            raise CheckFailed(
                "LAB-HEAL-01", f"{len(bad)} of {checks} checks still do not pass: {', '.join(bad)}",
                hint="What to try stands beside each check; invoke support packs what others need to help.",
            )  # fmt: skip
        healthy = f"Nothing is broken: {len(self.steps)} steps are as they should be"
        said = f"{len(mended)} mended" if mended else healthy
        self.running.console.line(f"{said}, {checks} of {checks} checks passed.")
