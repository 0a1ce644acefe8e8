"""What is said when something does not end after Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from lab import main
main._DRAIN = 0.1
def work(lab):
    print("works", flush=True)
    threading.Event().wait(60)
main.main(work, {"LAB_HOME": sys.argv[1]})
"""


@pytest.mark.timeout(30)
def test_leaving_what_does_not_end_says_so_and_what_comes_next(tmp_path):
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "works\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "[LAB-STOP-01]" in said
    assert "→ Run the same again" in said
