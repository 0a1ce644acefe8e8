"""A background process as others see it: who holds its lock, and whether it has ended."""

from __future__ import annotations

import fcntl
from pathlib import Path

from lab.waiting import Pending, wait_until


def lock_owner(path: Path) -> int | None:
    """The process that holds ``path`` exclusively and wrote its pid into it, or None when nobody holds it."""

    def look() -> int | Pending | None:
        try:
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = file.read()
                    return int(text) if text.isdecimal() else Pending("a process that has just begun")
        except FileNotFoundError:
            pass
        return None

    return wait_until("the emulator to write its pid", look, timeout=10, interval=0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that its parent has not reaped yet (state Z) has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
