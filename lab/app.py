"""The lab as a whole: chooses the engine, joins its steps with the wiring, runs journeys, reports.

Every task of tasks.py is one method here. Errors reach main.py, the one place that catches them.
"""

from __future__ import annotations

import functools
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab import (
    assets,
    checkout,
    explain,
    files,
    follow,
    logs,
    plan,
    settings,
    status,
    verify,
    wiring,
    wsl,
)  # fmt: skip
from lab.adopt.command import Adoption
from lab.config.commands import Configuration
from lab.console import Cell, Console
from lab.doctor import ThisMachine, examine, require
from lab.doctor.consult import consult
from lab.engines import choice
from lab.engines.base import Engine, LogSource
from lab.errors import CheckFailed, UsageError
from lab.journal import Journal, recording
from lab.junit import as_junit
from lab.model import Check, Endpoints
from lab.names import Names
from lab.removal import Removal
from lab.running import Running
from lab.state import State

if TYPE_CHECKING:
    from lab.engines.docker.supplies import Supplies


class Lab:
    """One lab: its settings, its memory, its engine and a console."""

    def __init__(self, console: Console, environ: Mapping[str, str]) -> None:
        self.console = console
        self.environ = environ
        self.home = Path(environ.get("LAB_HOME") or assets.ROOT).resolve()
        self.file = self.home / "lab.yaml"
        self.state = State(self.home / ".lab", lambda secret: console.mask([secret]))
        self.stop_event = threading.Event()
        console.mask(self.state.secrets())

    @functools.cached_property
    def settings(self) -> settings.Settings:
        """What holds, read at first use: the tasks that mend lab.yaml must run while it is wrong."""
        return settings.load(self.file, self.environ)

    @property
    def config(self) -> Configuration:
        """lab.yaml itself, for the tasks that show and change it."""
        return Configuration(self.file, self.environ, self.console)

    @property
    def adoption(self) -> Adoption:
        """Repositories of the user's, for the task that looks into one."""
        running = bool(choice.recorded(self.state))
        return Adoption(self.file, self.environ, self.console, self.settings.project, running=running)

    @property
    def names(self) -> Names:
        """Names and pages, for the tasks that bring a person to the lab."""
        return Names(self.settings, self.state, self.environ, self.console, self.endpoints)

    @property
    def engine(self) -> Engine:
        """The engine that the first `up` chose.

        Raises:
            UsageError: there is no lab yet.
        """
        if not choice.recorded(self.state):
            raise UsageError("LAB-NONE-01", "There is no lab here yet.", hint="invoke up")
        return choice.create(choice.choose("auto", self.state, self.environ), self.settings, self.state, self.environ)

    def endpoints(self) -> Endpoints:
        """Where the lab answers."""
        return self.engine.endpoints()

    @property
    def supplies(self) -> Supplies:
        """What the Docker engine needs from elsewhere, for the tasks that fetch and carry it."""
        from lab.engines.docker.site import Site  # noqa: PLC0415 - an embedded lab never needs it
        from lab.engines.docker.supplies import Supplies  # noqa: PLC0415

        return Supplies(Site(self.settings, self.state, self.environ), self.console)

    def pull(self, *, listing: bool) -> None:
        """Fetch everything that the Docker engine needs, and start nothing; or only show it."""
        self.supplies.show()
        if not listing:
            self._provide("pull", self.supplies.fetch())

    def bundle(self, path: str) -> None:
        """Write everything that the Docker engine needs into one file."""
        self._provide("bundle", self.supplies.pack(Path(path)))

    def _load(self, bundle: Path, *, dry: bool, explain: bool) -> None:
        steps = self.supplies.unpack(bundle)
        if explain:
            self._running.explain(steps)
        elif dry:
            self._running.look(steps)
        else:
            self._provide("bundle", steps)

    def _provide(self, task: str, steps: Sequence[plan.Step]) -> None:
        with self._changing(task, "docker") as journal:
            self._running.act(steps, journal)

    def up(
        self, engine: str = "", *, dry: bool = False, explain: bool = False, timed: bool = False, bundle: str = "",
        task: str = "up",
    ) -> None:  # fmt: skip
        """Make everything true that `verify` checks; act only on the difference."""
        if bundle:
            engine = engine or "docker"
            choice.choose(engine, self.state, self.environ)
            self._load(Path(bundle), dry=dry, explain=explain)
        chosen = choice.choose(engine or self.settings.engine, self.state, self.environ)
        built = choice.create(chosen, self.settings, self.state, self.environ)
        self.console.row((Cell("Engine:"),), f"{chosen.name} ({chosen.why})")
        self.console.row((), built.about)
        self.console.document({"type": "engine", "name": chosen.name, "why": chosen.why})
        steps = self._steps(built)
        if explain:
            self._running.explain(steps)
            return
        require(self._machine(), self.settings, chosen.name)
        if dry:
            self._running.look(steps)
            return
        try:
            with self._changing(task, chosen.name) as journal:
                choice.record(chosen, self.state)
                self._running.act(steps, journal)
        finally:
            if timed:
                from lab import timings  # noqa: PLC0415 - as in timings

                timings.show_run(self.console, self.state.folder)
        self._running.summary(built.endpoints())

    def _steps(self, engine: Engine) -> list[plan.Step]:
        wired = wiring.steps(
            engine.endpoints, self.settings, self.state, engine.attach_runner,
            forge=engine.forge_ready, runner=engine.runner_ready, cluster=engine.cluster_ready,
            evidence=engine.evidence,
        )  # fmt: skip
        return [*engine.steps(), *wired]

    def verify(self, only: Sequence[str], junit: str) -> None:
        """Print the checklist; raises CheckFailed when a check is not ok."""
        checks = self._checks(only)
        self.console.checks(checks)
        if junit:
            files.write(Path(junit), as_junit(checks))
        bad = [check.id for check in checks if check.ok is not True]
        self.console.line(f"{len(checks) - len(bad)} of {len(checks)} checks passed.")
        if bad:
            raise CheckFailed("LAB-VER-01", f"{len(bad)} checks did not pass: {', '.join(bad)}", hint="invoke up")

    def _checks(self, only: Sequence[str] = ()) -> list[Check]:
        engine = self.engine
        health = engine.health()
        checks = [check for check in health if not only or check.id in only]
        return checks + verify.checks(
            engine.endpoints(), self.settings, self.state,
            only=only, elsewhere=[check.id for check in health], stop=self.stop_event,
        )  # fmt: skip

    def heal(self) -> None:
        """Mend what is broken and tell what it was."""
        from lab.heal import Healing, since  # noqa: PLC0415 - as in timings

        engine, machine = self.engine, self._machine()
        Healing(
            self._running,
            self._steps(engine),
            frozenset(step.name for step in engine.steps()),
            changing=lambda: self._changing("heal"),
            require=lambda: require(machine, self.settings, engine.name),
            findings=lambda: examine(machine, self.settings, engine=engine.name, stop=self.stop_event),
            verify=self._checks,
            since=lambda: since(self.state.folder, inside_wsl=wsl.inside()),
        ).run()

    def support(self, file: str) -> None:
        """Pack what somebody who helps from afar needs."""
        from lab.support import Subject, support  # noqa: PLC0415 - as in timings

        subject = Subject(
            self.home, self.file, self.state, self.environ, self._machine(),
            settings=lambda: self.settings, engine=lambda: self.engine, checks=self._checks,
        )  # fmt: skip
        support(subject, self.console, file=file, stop=self.stop_event)

    def timings(self, *, last: str, html: str) -> None:
        """Where the time of the last runs went."""
        from lab import timings  # noqa: PLC0415 - only few tasks need it

        timings.show(self.console, self.state.folder, last=last, html=html)

    def doctor(self, *, fix: bool) -> None:
        """Examine this machine, for the engine that was recorded or asked for."""
        engine = choice.likely(self.settings.engine, self.state, self.environ)
        consult(self._machine(), self.settings, self.console, engine=engine, fix=fix, stop=self.stop_event)

    def _machine(self) -> ThisMachine:
        return ThisMachine(self.home, assets.ROOT, self.environ)

    def explain(self, code: str) -> None:
        """What a code means, and what mends it; without a code, all of them."""
        explain.explain(code, self.environ, self.console)

    def follow(self, commit: str) -> None:
        """Watch one push travel to its pod."""
        self.console.line(
            "Waiting for a push to the code branch; Ctrl-C ends." if not commit else f"Following {commit}"
        )
        points = self.endpoints()
        with self._recording("follow") as journal, self.console.live():
            follow.follow(
                points, self.settings, self.state, commit or None, timeout=self.settings.timeouts.smoke,
                stop=self.stop_event, on_hop=self._running.hop(journal), report=self._running.note(journal),
                diagnosed=self._running.cause(journal),
            )  # fmt: skip

    def smoke(self, message: str, timeout: str) -> None:
        """Push a commit and watch it arrive, within ``timeout`` seconds (default: timeouts.smoke)."""
        limit = _seconds(timeout) if timeout else self.settings.timeouts.smoke
        points = self.endpoints()
        with self._recording("smoke") as journal, self.console.live():
            hops = follow.smoke(
                points, self.settings, self.state, message=message, timeout=limit,
                stop=self.stop_event, on_hop=self._running.hop(journal), report=self._running.note(journal),
                diagnosed=self._running.cause(journal),
            )  # fmt: skip
        total = sum(hop.seconds for hop in hops)
        self.console.line(f"{self.console.paint('✓ arrived', 'green')}  {total:.2f} s from push to answer")
        self.console.document({"type": "result", "seconds": round(total, 3)})

    def clone(self, folder: str) -> None:
        """Check the project out with a credential helper for that repository only."""
        where = checkout.clone(
            self.endpoints(), self.settings, self.state, Path(folder or self.settings.project.name).resolve()
        )
        self.console.line(f"Cloned into {where}. Commit there, `git push`, and watch with `invoke follow`.")

    def env(self) -> None:
        """Print shell lines for `eval`."""
        self.console.raw(f"export KUBECONFIG={shlex.quote(str(self.endpoints().kubeconfig))}")
        self.console.raw(f'export PATH={shlex.quote(str(self.state.folder / "bin"))}:"$PATH"')

    def status(self) -> None:
        """Where everything is and how it is."""
        engine = self.engine
        points = engine.endpoints()
        health = engine.health()
        rows = [("Engine", engine.name), *((check.title, check.evidence) for check in health)]
        if all(check.ok for check in health):
            rows += status.rows(points, self.settings, self.state)
        self.console.table(rows)
        self.console.document(
            {
                "type": "status", "engine": engine.name, "healthy": all(check.ok for check in health),
                "gitlab": points.gitlab, "registry": points.registry, "argocd": points.argocd, "app": points.app,
                "kubeconfig": str(points.kubeconfig), "rows": dict(rows),
            }
        )  # fmt: skip

    def creds(self) -> None:
        """Users and passwords: the one place that shows them."""
        for name, value in status.credentials(self.endpoints(), self.settings, self.state):
            self.console.raw(f"{name:<24} {value}")

    def logs(self, component: str, *, follow: bool) -> None:
        """Print a log, and go on with it when asked."""
        sources: dict[str, LogSource] = {
            "app": functools.partial(logs.app, self.endpoints(), self.settings),
            "pipeline": functools.partial(logs.pipeline, self.endpoints(), self.settings),
            **self.engine.logs(),
        }
        if component not in sources:
            hint = "Choose one of " + ", ".join(sources) + "."
            raise UsageError("LAB-LOGS-01", f"There is no log of {component!r}.", hint=hint)
        for text in sources[component](follow, self.stop_event):
            self.console.raw(text)
            if self.stop_event.is_set():
                break

    def reset(self, *, yes: bool) -> None:
        """Project, branches and namespace back to the start."""
        self._removal.reset(yes=yes)
        self.up()

    def stop(self) -> None:
        """Pause; `start` continues."""
        self._removal.stop()

    def down(self, *, purge: bool, images: bool, yes: bool) -> None:
        """Remove processes and ports, and with ``purge`` the data."""
        if images and not purge:
            raise UsageError("LAB-FLAG-01", "--images goes with --purge.", hint="invoke down --purge --images")
        if choice.recorded(self.state):
            self._removal.down(purge=purge, images=images, yes=yes)
        else:
            removed = self.supplies.remove() if images else ""
            self.console.line(removed or "There is no lab here; nothing to remove.")

    @property
    def _removal(self) -> Removal:
        return Removal(self._running, self.engine, self.home, self._changing)

    @property
    def _running(self) -> Running:
        return Running(self.console, self.settings, self.state, self.stop_event)

    @contextmanager
    def _changing(self, task: str, engine: str = "") -> Iterator[Journal]:
        """Hold the lab's lock while something changes, and keep a journal of it."""
        with self.state.lock(), self._recording(task, engine) as journal:
            yield journal

    def _recording(self, task: str, engine: str = "") -> AbstractContextManager[Journal]:
        return recording(self.state, task, engine=engine or self.engine.name, settings=self.settings)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise UsageError("LAB-FLAG-02", f"--timeout takes seconds, not {text!r}.", hint="invoke smoke --timeout 60")
    return found
