"""Pausing the lab, putting it back to the start, and taking it away; what people have committed is saved first."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lab import checkout, plan, reset
from lab.engines.base import Engine
from lab.errors import Interrupted, UsageError
from lab.journal import Journal
from lab.running import Running


@dataclass(frozen=True)
class Removal:
    """The lab that is to be paused, put back or removed."""

    running: Running
    engine: Engine
    home: Path
    """Where a bundle of the project is saved."""
    changing: Callable[[str], AbstractContextManager[Journal]]
    """Takes the lab's lock and keeps a journal of the task."""

    def stop(self) -> None:
        """Pause; `start` continues."""
        with self.changing("stop") as journal:
            self.running.said(journal, self.engine.stop())

    def reset(self, *, yes: bool) -> None:
        """Remove what a project's life has left; `up` makes it anew.

        Raises:
            UsageError: nobody can be asked, and ``yes`` was not given.
            Interrupted: the person said no.
            TimedOut: something did not go away.
        """
        settings, running = self.running.settings, self.running
        self._confirm(f"Remove project {settings.project.path} with its commits, and begin again?", yes=yes)
        with self.changing("reset") as journal, running.console.live():
            self._save_project(journal)
            report = running.note(journal)
            reset.reset(self.engine.endpoints(), settings, running.state, stop=running.stop, report=report)

    def down(self, *, purge: bool, images: bool, yes: bool) -> None:
        """Remove processes and ports, and with ``purge`` the data; errors as `reset`."""
        console, state = self.running.console, self.running.state
        if purge:
            self._confirm(f"Remove the lab with everything in {state.folder}?", yes=yes)
        with self.changing("down") as journal:
            if purge:
                self._save_project(journal)
            self.running.said(journal, self.engine.down())
            if purge:
                console.line(self.engine.purge(images=images))
                state.remove()
                console.line(f"Removed {state.folder}.")

    def _save_project(self, journal: Journal) -> None:
        """Write a git bundle beside lab.yaml before anything with commits in it goes away."""
        if not self.engine.has_data():
            return  # it was never started: there are no commits
        running, settings = self.running, self.running.settings
        # Only GitLab: a cluster that is broken is no reason to keep the lab.
        steps = plan.leading_to(self.engine.steps(), self.engine.forge_ready)
        outcomes = plan.run(steps, stop=running.stop, on_event=journal.event)
        error = next((outcome.error for outcome in outcomes if outcome.error), None)
        if error:
            raise error
        name = f"{settings.project.name}-{time.strftime('%Y%m%d-%H%M%S')}.bundle"
        saved = checkout.bundle(self.engine.endpoints(), settings, running.state, self.home / name)
        if saved:
            said = f"Saved every branch of {settings.project.path} in {saved} (git clone reads it)."
            running.said(journal, said)

    def _confirm(self, question: str, *, yes: bool) -> None:
        if yes:
            return
        if not sys.stdin.isatty():
            raise UsageError("LAB-ASK-01", question, hint="Nobody can answer here; add --yes.")
        if not self.running.console.ask(question):
            raise Interrupted("Nothing was changed.")
