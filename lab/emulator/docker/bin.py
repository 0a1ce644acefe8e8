"""Puts the ``docker`` command into a folder that jobs have on their PATH."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

_CODE = "import sys; sys.path.insert(0, {root!r}); from lab.emulator.docker.cli import main; main()"


def install(folder: Path) -> None:
    """Write the executable ``docker`` into ``folder``, replacing what is there in one step.

    It runs this interpreter without site packages and without the job's ``PYTHON*`` variables: the command needs
    nothing but the standard library, and starts in a fraction of the time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-I", "-S", "-c", _CODE.format(root=str(root))]
    temporary = folder / f".docker-{os.getpid()}"
    temporary.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    temporary.chmod(0o755)
    temporary.replace(folder / "docker")
