"""Checklists, journeys, tables, findings and errors at the widths that people have, and in a file."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
from pathlib import Path

import pytest
from rich.cells import cell_len

from lab.config.commands import Configuration
from lab.console import Console
from lab.doctor.consult import consult
from lab.doctor.recorded import Recorded
from lab.errors import LabError, MachineError
from lab.model import Check, Hop
from lab.plan import Event, Outcome, Step
from lab.settings import Settings

MACHINES = Path(__file__).parents[1] / "fixtures/machines"
CHECKS = [
    Check("gitlab.ready", "GitLab", ok=True, evidence="GitLab 19.3.0 answers"),
    Check(
        "hook.settings", "Webhook", ok=True,
        evidence="allow_local_requests_from_web_hooks_and_services is on; hook 1, executable",
    ),
    Check("app.synced", "Argo CD", ok=False, evidence="OutOfSync, Healthy, revision 6390ac51", hint="invoke up"),
    Check("app.answers", "Application", ok=None, evidence="app.synced failed"),
]  # fmt: skip
HOPS = [
    Hop("T1", "Image built and pushed under three tags", 0.64, "pipeline 4, tags b5a32987, master, latest"),
    Hop("T4", "Argo CD synced", 12.5, "OutOfSync, revision f387338d, tag b5a32987"),
]
STEP = Step("branch.config", "Branch k8s-config protected: the bot may push", lambda _c: None, lambda _c: "")


def shown(columns: int, print_all, **environ: str) -> list[str]:
    """The lines that ``print_all`` prints on a pseudo-terminal of that width."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    chunks: list[bytes] = []
    reader = threading.Thread(target=_read, args=(outer, chunks))
    reader.start()
    with os.fdopen(inner, "w", encoding="utf-8") as stream:
        print_all(Console(stream=stream, environ={"TERM": "xterm", **environ}))
    reader.join(20)
    os.close(outer)
    return b"".join(chunks).decode().replace("\r\n", "\n").splitlines()


def _read(outer: int, chunks: list[bytes]) -> None:
    try:
        while chunk := os.read(outer, 65536):
            chunks.append(chunk)
    except OSError:  # the other end is closed
        return


def checks(console):
    console.checks(CHECKS)


def hops(console):
    for hop in HOPS:
        console.hop(hop)


def outcome(console):
    console.event(
        Event("ended", STEP, "", Outcome("branch.config", "done", "developers, that is the bot, may push", 0.01))
    )


def table(console):
    console.table([("GitLab", "http://127.0.0.1:8929/root/hichat"), ("Next", "invoke clone · invoke follow · " * 3)])


def error(console):
    evidence = "last seen: /-/readiness answers 502\nLAB-GL-03: GitLab has too little memory and starts again and again"
    console.error(
        LabError("LAB-TIME-01", "Waited 900 s for GitLab.", evidence=evidence, hint="invoke doctor\ninvoke up")
    )


def doctor(console):
    machine = Recorded.load(MACHINES / "wsl2-docker-desktop.json")
    with pytest.raises(MachineError):
        consult(machine, Settings(), console, engine="docker", fix=False, stop=threading.Event())


def configuration(console):
    Configuration(Path("/nowhere/lab.yaml"), {"LAB_PORTS_GITLAB": "8930"}, console).show()


def test_checks_at_80_columns():
    assert shown(80, checks, NO_COLOR="1") == [
        "✓ ok      gitlab.ready           GitLab 19.3.0 answers",
        "✓ ok      hook.settings          allow_local_requests_from_web_hooks_and_",
        "                                 services is on; hook 1, executable",
        "✗ failed  app.synced             OutOfSync, Healthy, revision 6390ac51",
        "                                 try: invoke up",
        "? unknown app.answers            app.synced failed",
    ]


def test_hops_at_80_and_at_120_columns():
    assert shown(80, hops, NO_COLOR="1") == [
        "T1     0.64 s  Image built and pushed under three tags",
        "                 pipeline 4, tags b5a32987, master, latest",
        "T4    12.50 s  Argo CD synced",
        "                 OutOfSync, revision f387338d, tag b5a32987",
    ]
    assert shown(120, hops, NO_COLOR="1") == [
        "T1     0.64 s  Image built and pushed under three tags pipeline 4, tags b5a32987, master, latest",
        "T4    12.50 s  Argo CD synced                          OutOfSync, revision f387338d, tag b5a32987",
    ]


def test_a_step_at_80_and_at_120_columns():
    assert shown(80, outcome, NO_COLOR="1") == [
        "✓ done        0.01 s  Branch k8s-config protected: the bot may push",
        "                        developers, that is the bot, may push",
    ]
    assert shown(120, outcome, NO_COLOR="1") == [
        "✓ done        0.01 s  Branch k8s-config protected: the bot may push developers, that is the bot, may push",
    ]


def test_an_error_at_60_columns():
    assert shown(60, error, NO_COLOR="1") == [
        "✗ Error  Waited 900 s for GitLab. [LAB-TIME-01]",
        "    last seen: /-/readiness answers 502",
        "    LAB-GL-03: GitLab has too little memory and starts again",
        "    and again",
        "  → invoke doctor",
        "  → invoke up",
    ]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("print_all", [checks, hops, outcome, table, error, doctor, configuration])
def test_every_line_fits_and_only_commands_to_be_copied_do_not(columns, print_all):
    lines = shown(columns, print_all, NO_COLOR="1")
    assert lines
    long = [line for line in lines if cell_len(line) > columns]
    assert [line for line in long if not line.strip().startswith("$ ")] == []


@pytest.mark.parametrize("print_all", [checks, hops, outcome, table, error, doctor, configuration])
def test_nothing_of_it_is_faint(print_all):
    colours = set(re.findall(r"\x1b\[([\d;]*)m", "".join(shown(100, print_all))))
    assert colours <= {"1;31", "1;32", "1;33", "1", "0"}


@pytest.mark.parametrize("print_all", [checks, hops, outcome, table, error, doctor, configuration])
def test_in_a_file_nothing_is_wrapped_or_coloured(print_all):
    stream = io.StringIO()
    print_all(Console(stream=stream, environ={"TERM": "xterm"}))
    wide = shown(1000, print_all, NO_COLOR="1")
    assert stream.getvalue().splitlines() == wide
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", stream.getvalue())
