"""The only door to subprocess: argv lists, a time limit, an own process group, secrets masked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, TimedOut

_SHOWN = 2000
_LAST_WORDS = 1.0
"""Seconds that the pipes of a killed process are read on."""
_left: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Completed:
    """A process that has ended."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    check: bool = True,
    secrets: Iterable[str] = (),
    keep: Sequence[int] = (),
) -> Completed:
    """Run a program to its end.

    Args:
        argv: the program and its arguments; never a secret among them, `ps` shows them to everybody.
        timeout: seconds until the whole process group is killed.
        cwd: folder to run in.
        env: variables set on top of the inherited ones.
        stdin: text given to the program.
        check: raise when the exit code is not 0.
        secrets: values replaced by ``[masked]`` in everything that is returned or raised.
        keep: open files that the program inherits, such as a lock that it holds even when this task is killed.

    Raises:
        TimedOut: the time was over.
        LabError: the program is missing, or ended with another code than 0 while ``check`` holds.
    """
    words = tuple(str(word) for word in argv)
    try:
        process = subprocess.Popen(
            words, cwd=cwd, env={**os.environ, **(env or {})}, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=keep,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError("LAB-CMD-01", f"{words[0]} is not installed.", hint=f"Install {words[0]}.") from error
    try:
        stdout, stderr = _talk(process, stdin, timeout)
    except subprocess.TimeoutExpired:
        problem = f"`{mask(' '.join(words), secrets)}` did not end within {timeout:g} s."
        raise TimedOut("LAB-CMD-02", problem, hint="Run it again; by hand, it shows what it waits for.") from None
    done = Completed(words, process.returncode, mask(stdout, secrets), mask(stderr, secrets))
    if check and done.code != 0:
        raise LabError(
            "LAB-CMD-03",
            f"`{mask(' '.join(words), secrets)}` ended with code {done.code}.",
            evidence=(done.stderr.strip() or done.stdout.strip())[-_SHOWN:],
            hint="The program's own words are above.",
        )
    return done


def _talk(process: subprocess.Popen[str], stdin: str, timeout: float) -> tuple[str, str]:
    """What the process prints until its end; whatever cuts that short, a Ctrl-C too, kills its group."""
    try:
        return process.communicate(stdin, timeout)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # What has left the group may keep the pipes open for as long as it likes.
        with process, contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_LAST_WORDS)
        raise


def launch(argv: Sequence[str | Path], *, patience: float, cwd: Path | None = None) -> int | None:
    """Start a program that may outlive this task, a browser for example; its output goes nowhere.

    Args:
        argv: the program and its arguments.
        patience: seconds to wait for its end.
        cwd: folder to run in.

    Returns:
        The exit code, or None when the program still runs; it is then left alone.

    Raises:
        LabError: the program cannot be started.
    """
    try:
        process = subprocess.Popen(
            [str(word) for word in argv], cwd=cwd, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:  # missing, or of another system (Windows programs while WSL's interop is off)
        hint = "Is it installed, and may it be executed?"
        raise LabError("LAB-CMD-04", f"{argv[0]} cannot be started.", evidence=str(error), hint=hint) from error
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        _left.append(process)  # collecting the object of a running process would warn
        return None


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every secret replaced by ``[masked]``."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[masked]")
    return text
