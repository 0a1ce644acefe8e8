import os
import signal
import sys
from pathlib import Path

import pytest

from lab import shell
from lab.errors import LabError, TimedOut
from lab.shell import launch, run
from lab.waiting import Pending, wait_until


def test_output_and_code_come_back():
    done = run([sys.executable, "-c", "import sys; print(input()); sys.exit(3)"], timeout=20, stdin="hi", check=False)
    assert (done.stdout, done.code) == ("hi\n", 3)


def test_a_failure_carries_argv_code_and_the_end_of_the_error_output():
    with pytest.raises(LabError) as caught:
        run([sys.executable, "-c", "import sys; sys.exit('no such branch')"], timeout=20)
    assert "ended with code 1" in caught.value.problem
    assert caught.value.evidence == "no such branch"


def test_secrets_are_masked_everywhere():
    with pytest.raises(LabError) as caught:
        run([sys.executable, "-c", "import sys; sys.exit('token s3cret')", "s3cret"], timeout=20, secrets=["s3cret"])
    assert "s3cret" not in str(caught.value)
    assert "[masked]" in caught.value.evidence


def test_a_missing_program_is_named():
    with pytest.raises(LabError, match="no-such-program is not installed"):
        run(["no-such-program"], timeout=1)


def test_a_time_out_ends_the_whole_group(tmp_path):
    child = tmp_path / "child"
    script = f"sleep 300 & echo $! > {child}; wait"
    with pytest.raises(TimedOut):
        run(["sh", "-c", script], timeout=1)
    pid = int(child.read_text())

    def gone():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return True if state in "ZX" else Pending(state)

    wait_until("the grandchild's end", gone, timeout=10)


def test_variables_are_added_to_the_inherited_ones():
    done = run(
        [sys.executable, "-c", "import os; print(os.environ['A'], os.environ['PATH'])"], timeout=20, env={"A": "b"}
    )
    assert done.stdout.split() == ["b", os.environ["PATH"]]


def test_a_launched_program_that_ends_gives_its_code():
    assert launch([sys.executable, "-c", "import sys; sys.exit(3)"], patience=20) == 3


def test_a_launched_program_that_goes_on_is_left_alone(tmp_path):
    fifo, started = tmp_path / "fifo", tmp_path / "started"
    os.mkfifo(fifo)
    assert launch(["sh", "-c", f"read line < {fifo}; echo $line > {started}"], patience=0.05) is None
    fifo.write_text("alive\n")  # blocks until the program reads, so it must still run
    wait_until("the program's sign", lambda: (started.exists() and started.read_text()) or Pending("-"), timeout=10)
    assert started.read_text() == "alive\n"
    assert shell._left.pop().wait(10) == 0


@pytest.mark.parametrize("content", [None, b"\x00MZ"])
def test_a_program_that_cannot_be_started_is_named(tmp_path, content):
    program = tmp_path / "browser.exe"
    if content:
        program.write_bytes(content)
        program.chmod(0o755)
    with pytest.raises(LabError, match=r"browser\.exe cannot be started"):
        launch([program], patience=1)


@pytest.mark.timeout(30)
def test_a_descendant_that_left_the_group_cannot_hold_up_the_end(tmp_path):
    script = 'setsid sh -c \'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 300\' "$0" & wait'
    with pytest.raises(TimedOut, match="did not end within"):
        run(["sh", "-c", script, tmp_path / "pid"], timeout=2)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
