"""The catch at the top: every end of a task has its exit code, its words, and no traceback unless asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest
from driver import ROOT

from lab import logs
from lab.errors import UsageError
from lab.main import main


def broken(_lab):
    raise KeyError("metadata")


def refused(_lab):
    raise UsageError("LAB-X-01", "The flag is wrong.", evidence="--x", hint="Use --y.")


@pytest.fixture
def environ(tmp_path):
    return {"LAB_HOME": str(tmp_path)}


def test_an_error_ends_with_its_code_and_says_what_to_do(environ, capsys):
    assert main(refused, environ) == 2
    out = capsys.readouterr().err
    assert [part in out for part in ("The flag is wrong. [LAB-X-01]", "--x", "Use --y.")] == [True] * 3


def test_a_defect_is_an_error_like_others_and_shows_its_place_when_asked(environ, capsys):
    assert main(broken, environ) == 1
    out = capsys.readouterr().err
    assert "KeyError: 'metadata' [LAB-BUG-01]" in out
    assert "Traceback" not in out
    assert main(broken, {**environ, "LAB_DEBUG": "1"}) == 1
    assert "in broken" in capsys.readouterr().err


def test_ctrl_c_reaches_the_waits_and_is_no_success(environ, capsys):
    before = signal.getsignal(signal.SIGINT)

    def work(lab):
        os.kill(os.getpid(), signal.SIGINT)
        assert lab.stop_event.wait(5)

    assert main(work, environ) == 130
    assert "Interrupted." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    left = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in left), "what would end the process five seconds later is called off"


def test_a_reader_that_leaves_is_no_defect(tmp_path):
    code = """
import os, sys
from lab.main import main
def work(lab):
    while True:
        lab.console.line("x" * 1000)
sys.exit(main(work, os.environ))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "LAB_HOME": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(20), errors) == (1, b"")


def test_a_followed_file_ends_with_the_stop_event(tmp_path):
    path, stop = tmp_path / "a.log", threading.Event()
    path.write_text("one\ntwo\n")
    lines = logs.file(path, True, stop)
    assert [next(lines), next(lines)] == ["one", "two"]
    with path.open("a") as file:
        file.write("three\n")
    assert next(lines) == "three"
    stop.set()
    assert list(lines) == []
