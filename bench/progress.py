"""What the live display costs: CPU time of a run that only waits, on a pseudo-terminal and into a pipe.

    .venv/bin/python bench/progress.py [--seconds N]

Eight steps wait at once, each seeing something new every second; one of them receives bytes and tells it twenty times a
second, as an engine does that pulls an image. The display's share is what the terminal costs more than the pipe.
"""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 20
TARGET = 1.0  # per cent of one core
STEPS = 7
PROGRAM = """
import os, sys, time, threading
from lab.console import Console
from lab.plan import Needed, Step, run
from lab.waiting import Pending

seconds = float(sys.argv[1])
end = time.monotonic() + seconds

def wait(context):
    def look():
        return "ready" if time.monotonic() >= end else Pending(f"/-/readiness answers 502, look {time.time():.0f}")
    return context.wait("GitLab", look, timeout=seconds + 30)

def pull(context):
    stop, total = threading.Event(), int(seconds * 20)
    for number in range(total):
        context.progress(number * 1_000_000, total * 1_000_000)
        stop.wait(0.05)
    return "pulled"

steps = [Step(f"wait.{n}", f"A step that waits, number {n}", lambda _c: Needed("always"), wait) for n in range(STEPS)]
steps.append(Step("pull", "Image gitlab/gitlab-ce:19.3.0-ce.0", lambda _c: Needed("always"), pull))
console = Console(environ=os.environ)
began, cpu = time.monotonic(), time.process_time()
with console.live(len(steps)):
    run(steps, on_event=console.event)
sys.stderr.write(f"CPU {100 * (time.process_time() - cpu) / (time.monotonic() - began):.4f}\\n")
""".replace("STEPS", str(STEPS))


def measured(seconds: float, *, terminal: bool) -> float:
    """CPU time of the run in per cent of its duration."""
    outer, inner = pty.openpty() if terminal else os.pipe()
    environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    environ.pop("CI", None)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seconds)],
        cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=inner, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        os.close(inner)
        threading.Thread(target=drain, args=(outer,), daemon=True).start()
        _, errors = process.communicate(timeout=seconds + 60)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}:\n{errors}")
    return float(errors.rpartition("CPU ")[2])


def drain(descriptor: int) -> None:
    """Read what is printed, as a terminal does."""
    try:
        while os.read(descriptor, 65536):
            pass
    except OSError:  # the other end of a pseudo-terminal is closed
        return


def main() -> int:
    """Measure both and print the shares."""
    parser = argparse.ArgumentParser(description="Measure what the live display costs.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"length of each run (default {SECONDS})")
    seconds = parser.parse_args().seconds
    pipe, terminal = measured(seconds, terminal=False), measured(seconds, terminal=True)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {STEPS + 1} waiting steps, {seconds:g} s each")
    print(f"{'into a pipe':<28}{pipe:>6.2f} % of one core")
    print(f"{'on a terminal':<28}{terminal:>6.2f} %")
    print(f"{'the live display':<28}{terminal - pipe:>6.2f} %   (target below {TARGET:g} %)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
