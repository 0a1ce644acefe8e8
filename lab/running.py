"""Runs a plan for a task: told to the console and the journal while it runs, summed up in one line at its end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab import plan
from lab.causes import Diagnosis
from lab.console import Cell, Console
from lab.errors import Interrupted
from lab.journal import Journal
from lab.model import Endpoints, Hop
from lab.settings import Settings
from lab.state import State


@dataclass(frozen=True)
class Running:
    """What a run needs beside its steps."""

    console: Console
    settings: Settings
    state: State
    stop: threading.Event

    def look(self, steps: Sequence[plan.Step]) -> list[plan.Outcome]:
        """Only probe, and say what there is to do.

        Raises:
            LabError: a probe could not read.
        """
        with self.console.live(len(steps)):
            outcomes = plan.run(
                steps, parallel=self.settings.parallel, stop=self.stop, on_event=self.console.event, dry=True
            )
        self._report(outcomes, dry=True)
        return outcomes

    def act(self, steps: Sequence[plan.Step], journal: Journal) -> list[plan.Outcome]:
        """Make every step true.

        Raises:
            LabError: the first failure.
            Interrupted: the run was ended before everything was done.
        """

        def told(event: plan.Event) -> None:
            journal.event(event)
            self.console.event(event)

        journal.plan(steps, self.settings.parallel)
        with self.console.live(len(steps)):
            outcomes = plan.run(steps, parallel=self.settings.parallel, stop=self.stop, on_event=told)
        self._report(outcomes, dry=False)
        return outcomes

    def hop(self, journal: Journal) -> Callable[[Hop], None]:
        """Tells journal and console each hop of a journey."""

        def told(hop: Hop) -> None:
            journal.hop(hop)
            self.console.hop(hop)

        return told

    def note(self, journal: Journal) -> Callable[[str], None]:
        """Tells both what is waited for."""

        def told(seen: str) -> None:
            journal.note(seen)
            self.console.note(seen)

        return told

    def cause(self, journal: Journal) -> Callable[[Diagnosis], None]:
        """Tells both which known cause keeps a journey waiting."""

        def told(found: Diagnosis) -> None:
            journal.note(found.text)
            self.console.diagnosis(found.code, found.text)

        return told

    def said(self, journal: Journal, text: str) -> None:
        """Tell both what was done."""
        journal.note(text)
        self.console.line(text)

    def explain(self, steps: Sequence[plan.Step]) -> None:
        """Show what a person would have typed for each step."""
        for step in plan.order(steps):
            self.console.document(
                {
                    "type": "step", "event": "explained", "step": step.name, "title": step.title,
                    "needs": step.needs, "explain": step.explain,
                }
            )  # fmt: skip
            after = f"(after {', '.join(step.needs)})" if step.needs else ""
            self.console.line()
            self.console.row((Cell(f"{step.name}:"), Cell(step.title)), after)
            for text in step.explain.splitlines():
                self.console.line(f"    {text}")

    def summary(self, points: Endpoints) -> None:
        """Where everything is, and what to do next."""
        self.console.line()
        self.console.table(
            [
                ("GitLab", f"{points.gitlab_route}/{self.settings.project.path}   (user root, password: invoke creds)"),
                ("Registry", points.registry),
                ("Argo CD", points.argocd),
                ("Application", f"{points.app}/"),
                ("Next", 'invoke clone · invoke follow · invoke smoke · invoke verify · eval "$(invoke env)"'),
            ]
        )

    def _report(self, outcomes: Sequence[plan.Outcome], *, dry: bool) -> None:
        self.console.mask(self.state.secrets())
        count = Counter(outcome.state for outcome in outcomes)
        actions = count["done"] + count["needed"] + count["unknown"]
        said = [f"{actions} actions {'to do' if dry else 'done'}", f"{count['satisfied']} already as they should be"]
        said += [f"{count[state]} {state}" for state in ("failed", "skipped", "stopped") if count[state]]
        self.console.line(", ".join(said) + ".")
        self.console.document({"type": "result", "actions": actions, "steps": len(outcomes), "dry": dry})
        failed = next((outcome.error for outcome in outcomes if outcome.state == "failed" and outcome.error), None)
        if failed:
            raise failed
        if any(not outcome.good for outcome in outcomes) and not dry:
            raise Interrupted("The lab is not complete.", hint="Run `invoke up` again; it continues where it stopped.")
