"""The doctor: every precondition of this lab on this machine, with what was measured and what mends it.

examine    everything, in parallel and in bounded time
blocking   the few things without which `up` cannot work, before it touches anything
mend       what can be mended without root;  script: the rest, for a person to read and run
"""

from __future__ import annotations

import queue
import threading
import time

from lab.doctor import (
    checks_docker,
    checks_names_network,
    checks_ports,
    checks_resources,
    checks_system,
    checks_tools,
)
from lab.doctor.finding import ENGINES, Check, Seen
from lab.doctor.machine import Machine, ThisMachine
from lab.doctor.mending import mend, script
from lab.doctor.view import View
from lab.errors import Interrupted, MachineError
from lab.model import Finding
from lab.settings import Settings

__all__ = ["CHECKS", "Finding", "Machine", "ThisMachine", "blocking", "examine", "mend", "require", "script"]

CHECKS: tuple[Check, ...] = (
    *checks_tools.CHECKS,
    *checks_system.CHECKS,
    *checks_resources.CHECKS,
    *checks_ports.CHECKS,
    *checks_docker.CHECKS,
    *checks_names_network.CHECKS,
)
_WORKERS = 12
_BOUND = {"embedded": 0.9, "docker": 2.8}
"""Seconds for everything; what has not answered by then is unknown."""
_LOOK = 0.05


def examine(
    machine: Machine, settings: Settings, *, engine: str | None = None, stop: threading.Event | None = None
) -> list[Finding]:
    """Look at everything, in the order of `CHECKS`.

    Args:
        machine: the machine, or a recording of one.
        settings: the lab's settings.
        engine: ``docker`` or ``embedded``; None or ``auto`` lets Docker's answer decide.
        stop: ends the examination.

    Raises:
        Interrupted: ``stop`` was set.
    """
    view = View(machine, settings, engine if engine in ENGINES else None)
    work: queue.SimpleQueue[Check] = queue.SimpleQueue()
    found: dict[str, Finding] = {}
    for check in CHECKS:
        if view.engine in check.engines:
            work.put(check)
        else:
            found[check.id] = check.finding(Seen("ok", f"not needed for the {view.engine} engine"))
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                check = work.get_nowait()
            except queue.Empty:
                return
            found[check.id] = _finding(check, view)
            if len(found) == len(CHECKS):
                done.set()

    for _ in range(_WORKERS):
        # Daemons: a resolver that does not answer must not keep the process from ending.
        threading.Thread(target=look, daemon=True).start()
    _await(done, _BOUND[view.engine], stop)
    late = Seen("unknown", f"no answer within {_BOUND[view.engine]} s")
    return [found.get(check.id) or check.finding(late) for check in CHECKS]


def _await(done: threading.Event, bound: float, stop: threading.Event | None) -> None:
    deadline = time.monotonic() + bound
    while not done.wait(_LOOK) and time.monotonic() < deadline:
        if stop and stop.is_set():
            done.set()
            raise Interrupted
    done.set()


def _finding(check: Check, view: View) -> Finding:
    try:
        return check.finding(check.look(view))
    except Exception as error:  # noqa: BLE001 - one strange file must not hide what the other checks saw
        return check.finding(Seen("unknown", f"{type(error).__name__}: {error}"))


def blocking(machine: Machine, settings: Settings, engine: str) -> list[Finding]:
    """What keeps `up` from working on this engine; reads a few files and ports, changes nothing."""
    view = View(machine, settings, engine)
    found = (_finding(check, view) for check in CHECKS if check.stops_up and engine in check.engines)
    return [finding for finding in found if finding.stops_up]


def require(machine: Machine, settings: Settings, engine: str) -> None:
    """Make sure that `up` can work on this machine.

    Raises:
        MachineError: it cannot; names the first reason with its remedy, and the others.
    """
    found = blocking(machine, settings, engine)
    if found:
        first, *others = found
        raise MachineError(
            "LAB-PORT-01" if first.id.startswith("port.") else "LAB-DOC-01",
            f"{first.title}: {first.measured}",
            evidence="\n".join(
                [first.why, first.remedy, *(f"Also: {other.measured} [{other.id}]" for other in others)]
            ),
            hint="invoke doctor shows everything; with --fix it mends what it can and writes down the rest.",
        )
