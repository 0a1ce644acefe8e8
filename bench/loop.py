"""How long the lab takes and how large it is: builds one of its own, goes once round the loop, removes it, N times.

    .venv/bin/python bench/loop.py [--runs N]

Prints a table of medians. Beside each time stands its ratio to the time of `python -c "import kubernetes, gitlab"` in
the same runs, so that figures of different machines can be compared. The lab it builds lies in a temporary folder, on
free ports; a lab that runs here already is left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INVOKE = Path(sys.executable).with_name("invoke")
TIMEOUT = 600  # seconds for one command
WIDTH = 28  # characters of the table's first column

BASELINE = "import kubernetes, gitlab"
TARGETS = {  # seconds or MB, from the README's table; None where only the figure is of interest
    "first up": 5.0,
    "up again": 1.0,
    "verify": 1.0,
    "smoke, push to answer": 4.0,
    "smoke, whole command": None,
    "down": 1.0,
    "invoke --version": None,
    "invoke --list": None,
    "emulator resident (MB)": 120.0,
    "with jobs and pods (MB)": None,
}

Samples = dict[str, list[float]]


class BenchError(Exception):
    """A command of the loop failed; its figures would mean nothing."""


class Lab:
    """A lab in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        keys = ("gitlab", "registry", "kubernetes", "argocd", "app")
        ports = dict(zip(keys, free_ports(len(keys)), strict=True))
        (home / "lab.yaml").write_text(json.dumps({"engine": "embedded", "ports": ports}))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
        self.environment = {**clean, "LAB_HOME": str(home), "LAB_ENGINE": "embedded"}

    def invoke(self, *arguments: str) -> tuple[float, str]:
        """Run `invoke`; seconds and output. Raises BenchError when it fails."""
        return timed([str(INVOKE), *arguments], self.environment)

    def documents(self, *arguments: str) -> tuple[float, list[dict[str, object]]]:
        """Run `invoke ... --json`; seconds and the documents it printed."""
        seconds, output = self.invoke(*arguments, "--json")
        return seconds, [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def timed(argv: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Run a command; seconds and output. Raises BenchError when it fails."""
    began = time.perf_counter()
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise BenchError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds, done.stdout


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody uses at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


def run(lab: Lab, samples: Samples) -> None:
    """Once round the loop; adds a sample for each figure."""
    samples[BASELINE].append(timed([sys.executable, "-c", BASELINE], lab.environment)[0])
    samples["first up"].append(lab.invoke("up")[0])
    seconds, documents = lab.documents("up")
    samples["up again"].append(seconds)
    actions = next(document["actions"] for document in documents if document["type"] == "result")
    if actions:
        raise BenchError(f"the second up performed {actions} actions; it should perform none")
    samples["verify"].append(lab.invoke("verify")[0])
    seconds, documents = lab.documents("smoke")
    samples["smoke, whole command"].append(seconds)
    samples["smoke, push to answer"].extend(
        float(str(document["seconds"])) for document in documents if document["type"] == "result"
    )
    samples["invoke --version"].append(lab.invoke("--version")[0])
    samples["invoke --list"].append(lab.invoke("--list")[0])
    pid = emulator(lab)
    samples["emulator resident (MB)"].append(resident(pid))
    samples["with jobs and pods (MB)"].append(sum(resident(one) for one in [pid, *descendants(pid)]))
    samples["down"].append(lab.invoke("down")[0])


def emulator(lab: Lab) -> int:
    """The process id of the lab's emulator, as `invoke status` reports it."""
    _, output = lab.invoke("status", "--json")
    found = re.search(r"\bpid (\d+)", output)
    if not found:
        raise BenchError(f"`invoke status` names no process:\n{output}")
    return int(found[1])


def resident(pid: int) -> float:
    """Resident memory of a process in MB; 0 when it has ended meanwhile."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def descendants(pid: int) -> Iterator[int]:
    """Children of a process, their children, and so on."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield int(child)
            yield from descendants(int(child))


def table(samples: Samples) -> Iterator[str]:
    """The lines of the table."""
    base = statistics.median(samples[BASELINE])
    yield f"{'':<{WIDTH}}{'median':>9}{'worst':>9}{'target':>9}{'ratio':>8}"
    for name, target in TARGETS.items():
        median, memory = statistics.median(samples[name]), "(MB)" in name
        unit, digits = ("MB", 0) if memory else ("s ", 2)
        wanted = f"{target:.0f} {unit}" if target else ""
        ratio = "" if memory else f"{median / base:.1f}"
        yield (
            f"{name.removesuffix(' (MB)'):<{WIDTH}}{median:>6.{digits}f} {unit}{max(samples[name]):>6.{digits}f} {unit}"
            f"{wanted:>9}{ratio:>8}"
        )
    yield f"{BASELINE:<{WIDTH}}{base:>6.2f} s {max(samples[BASELINE]):>6.2f} s {'':>9}{1:>8.1f}"
    listing, version = statistics.median(samples["invoke --list"]), statistics.median(samples["invoke --version"])
    yield f"invoke --list takes {listing / version:.2f} times as long as invoke --version (target 1.5)"


@contextmanager
def laboratory() -> Iterator[Lab]:
    """A lab that is gone afterwards, whatever happens."""
    home = Path(tempfile.mkdtemp(prefix="lab-bench-"))
    lab = Lab(home)
    try:
        yield lab
    finally:
        subprocess.run(
            [str(INVOKE), "down"], cwd=ROOT, env=lab.environment, capture_output=True, timeout=TIMEOUT, check=False
        )
        shutil.rmtree(home)


def main() -> int:
    """Run the benchmark and print its table; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure the lab; prints a table of medians.")
    parser.add_argument("--runs", type=int, default=3, help="labs to build one after the other (default 3)")
    runs = max(1, parser.parse_args().runs)
    samples: Samples = defaultdict(list)
    for number in range(1, runs + 1):
        with laboratory() as lab:
            try:
                run(lab, samples)
            except BenchError as error:
                print(error, file=sys.stderr)
                return 1
        print(f"run {number} of {runs} done", file=sys.stderr)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {runs} runs")
    print("\n".join(table(samples)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
