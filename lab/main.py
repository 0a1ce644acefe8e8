"""Around every task: one catch at the top, Ctrl-C, and the list of tasks."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from lab.app import Lab
from lab.causes import with_remedy
from lab.console import Console
from lab.errors import Interrupted, LabError, defect

_DRAIN = 5.0
_LEFT = (
    b"\xe2\x9c\x97 Error  Interrupted before everything that ran had ended. [LAB-STOP-01]\n"
    b"  \xe2\x86\x92 Run the same again; it continues where it stopped.\n"
)
"""What is said then: bytes, because whoever holds the console's lock may be what does not end."""


def list_tasks(groups: Mapping[str, Sequence[tuple[str, str | None]]], environ: Mapping[str, str]) -> None:
    """Print the tasks with the first line of their description."""
    console = Console(environ=environ)
    console.row((), "The lab: GitLab, registry, runner, Kubernetes and Argo CD, wired. Usage: invoke TASK [--flags]")
    for group, tasks in groups.items():
        console.line(f"\n{console.paint(group, 'bold')}")
        console.table([(name, (about or "").splitlines()[0]) for name, about in tasks])


def main(work: Callable[[Lab], None], environ: Mapping[str, str], *, as_json: bool = False) -> int:
    """Run one task with everything that a task needs around it; returns the exit code."""
    console, debug = Console(as_json=as_json, environ=environ), environ.get("LAB_DEBUG") == "1"
    try:
        lab = Lab(console, environ)
        with _interruptible(lab.stop_event, console.abandon):
            work(lab)
    except LabError as error:
        return _failed(console, error, debug=debug)
    except KeyboardInterrupt:
        console.error(Interrupted())
        return Interrupted.exit_code
    except BrokenPipeError:  # whoever read our output has had enough (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the one catch at the top: a defect of ours is told, not dumped
        return _failed(console, defect(error), debug=debug)
    return 0


def _failed(console: Console, error: LabError, *, debug: bool) -> int:
    console.error(with_remedy(error))
    if debug:
        console.trace("".join(traceback.format_exception(None, error, error.__traceback__)))
    return error.exit_code


@contextmanager
def _interruptible(stop: threading.Event, last_words: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C asks every wait to end and allows five seconds; the second leaves at once."""

    def leave() -> None:
        last_words()
        os.write(2, _LEFT)
        os._exit(Interrupted.exit_code)

    patience = threading.Timer(_DRAIN, leave)
    patience.daemon = True

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            leave()
        stop.set()
        patience.start()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        patience.cancel()
        signal.signal(signal.SIGINT, before)
    if stop.is_set():
        raise Interrupted
