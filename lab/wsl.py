"""Whether this Linux runs inside Windows, and where Windows' files are then."""

from __future__ import annotations

from pathlib import Path

SYSTEM = Path("/mnt/c/Windows/System32")


def inside(release: Path = Path("/proc/sys/kernel/osrelease")) -> bool:
    """WSL's kernels carry Microsoft's name in their release, version 1 and 2 alike."""
    try:
        return "microsoft" in release.read_text().lower()
    except OSError:
        return False
