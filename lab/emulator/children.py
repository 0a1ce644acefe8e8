"""Child processes that never outlive the emulator.

Each child leads its own process group and is recorded in a file, so that whoever starts the emulator next, or
takes it down after ``kill -9``, can end what was left. The kernel is asked to kill the direct child as soon as
the emulator dies (prctl PR_SET_PDEATHSIG, Linux); the record catches its descendants.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Children:
    """Spawns processes and records them under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def spawn(
        self,
        argv: list[str],
        *,
        cwd: Path,
        env: dict[str, str],
        stdin: int | IO[Any] | None = asyncio.subprocess.DEVNULL,
        stdout: int | IO[Any] | None = asyncio.subprocess.DEVNULL,
        stderr: int | IO[Any] | None = asyncio.subprocess.STDOUT,
    ) -> asyncio.subprocess.Process:
        """Start ``argv`` as leader of its own process group; raises OSError when it cannot be executed."""
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
        self._folder.mkdir(parents=True, exist_ok=True)
        record = {"pid": process.pid, "started": _start_time(process.pid)}
        (self._folder / f"{process.pid}.json").write_text(json.dumps(record))
        return process

    async def end(self, process: asyncio.subprocess.Process, grace: float = 2.0) -> None:
        """Terminate the process group, kill it after ``grace`` seconds, reap it and forget it."""
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), grace)
        self.forget(process)
        await process.wait()

    def forget(self, process: asyncio.subprocess.Process) -> None:
        """Kill what is left of the process group and drop its record; for a process that ended by itself."""
        _signal_group(process.pid, signal.SIGKILL)
        (self._folder / f"{process.pid}.json").unlink(missing_ok=True)

    @staticmethod
    def close_pipes(process: asyncio.subprocess.Process) -> None:
        """Close our ends of the pipes of a process that has ended; a descendant that left its group may hold others."""
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio offers no other way

    def sweep(self) -> int:
        """End every recorded process of an earlier emulator; returns how many groups were alive."""
        found = 0
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(ValueError, KeyError, OSError):
                record = json.loads(path.read_text())
                if _is_ours(int(record["pid"]), record["started"]):
                    found += _signal_group(int(record["pid"]), signal.SIGKILL)
            path.unlink(missing_ok=True)
        return found


def _is_ours(pid: int, started: str | None) -> bool:
    """Whether ``pid``'s group is the recorded one: the leader is the same process, or gone while its group lives.

    A group id is not given to a new process while members of the group are alive, so a leaderless group is ours
    as long as the machine has not been booted since.
    """
    if started is None or not started.startswith(f"{_boot_id()}:"):
        return False
    return _start_time(pid) in (None, started)


def _start_time(pid: int) -> str | None:
    """Start time in clock ticks since boot plus the boot id; with the pid it names a process for ever."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return f"{_boot_id()}:{stat.rpartition(')')[2].split()[19]}"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _signal_group(pid: int, number: signal.Signals) -> bool:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
