"""Runs scripts of one job as process groups whose output goes into the trace."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from lab.emulator.children import Children
from lab.emulator.runner.trace import Trace

_GRACE = 2.0
_OUTPUT_PATIENCE = 5.0


class Shell:
    """``bash`` where there is one, else ``sh``; scripts lie in ``folder`` while they run."""

    def __init__(self, children: Children, trace: Trace, folder: Path, program: str = "") -> None:
        self._children = children
        self._trace = trace
        self._file = folder / "script.sh"
        self._program = program or shutil.which("bash") or "/bin/sh"

    async def run(
        self, script: str, *, cwd: Path, environment: dict[str, str], end: asyncio.Event | None = None
    ) -> int:
        """Run ``script`` to its end, or until ``end`` is set; nothing of its process group is left. The exit code.

        Raises OSError when it cannot be started.
        """
        self._file.touch(mode=0o600)
        self._file.write_text(script)
        process = await self._children.spawn(
            [self._program, str(self._file)], cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE
        )
        reading = asyncio.ensure_future(self._read(process))
        waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(process.wait())}
        if end:
            waiting.add(asyncio.ensure_future(end.wait()))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(process)
            for task in waiting:
                task.cancel()
            _, late = await asyncio.wait({reading}, timeout=_OUTPUT_PATIENCE)
            for task in late:
                task.cancel()
            self._children.close_pipes(process)
        return process.returncode or 0

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            await self._children.end(process, _GRACE)
        else:
            self._children.forget(process)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while data := await process.stdout.read(1 << 16):
            self._trace.write(data)
