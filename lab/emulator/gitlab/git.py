"""The only door to the git program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import IO, Any

TIMEOUT = 120.0
"""Seconds that one command on a repository may take."""
_CONFIG = {
    # What Gitaly sets for GitLab: partial clones, fetches by commit id (runners do that), hidden internal refs.
    "uploadpack.allowFilter": "true",
    "uploadpack.allowAnySHA1InWant": "true",
    "uploadpack.hideRefs": "refs/tmp/",
    "receive.hideRefs": "refs/tmp/",
    "receive.advertisePushOptions": "true",
    "receive.autogc": "false",
    "receive.fsckObjects": "false",
    "gc.auto": "0",
    "core.fsync": "none",
    "core.hooksPath": "/dev/null",
    "core.quotePath": "false",
    "advice.all": "false",
}
_HIDDEN_FROM_PUSH = ("refs/pipelines/", "refs/keep-around/", "refs/merge-requests/", "refs/environments/")


class GitError(Exception):
    """A git command ended with an error; ``stderr`` says why."""

    def __init__(self, arguments: tuple[str, ...], code: int, stderr: str) -> None:
        super().__init__(f"git {' '.join(arguments[:2])} ended with {code}: {stderr.strip()}")
        self.code = code
        self.stderr = stderr

    @property
    def unanswered(self) -> bool:
        """Whether git was killed, or took too long: then its failure says nothing about the repository."""
        return self.code < 0


def environment(**more: str) -> dict[str, str]:
    """Environment of git processes: no user's or system's configuration, no prompts, stable language."""
    pairs = [*_CONFIG.items(), *(("receive.hideRefs", ref) for ref in _HIDDEN_FROM_PUSH)]
    config = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        config |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PROTOCOL_FROM_USER": "0",
        **config,
        **more,
    }


async def spawn(
    folder: Path,
    *arguments: str,
    stdin: int | IO[Any] = DEVNULL,
    stdout: int | IO[Any] = PIPE,
    stderr: int | IO[Any] = PIPE,
    variables: dict[str, str] | None = None,
) -> Process:
    """Start git in ``folder``; the caller reads it and waits for its end."""
    return await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=folder, env=environment(**(variables or {})), stdin=stdin, stdout=stdout, stderr=stderr
    )


async def run(folder: Path, *arguments: str, stdin: bytes = b"", variables: dict[str, str] | None = None) -> bytes:
    """The output of a git command in ``folder``; raises `GitError` when it fails or takes longer than `TIMEOUT`."""
    process = await spawn(folder, *arguments, stdin=PIPE if stdin else DEVNULL, variables=variables)
    try:
        output, errors = await asyncio.wait_for(process.communicate(stdin or None), TIMEOUT)
    except asyncio.TimeoutError:
        raise GitError(arguments, -1, f"no end within {TIMEOUT:.0f} s") from None
    finally:
        await reap(process)
    if process.returncode:
        raise GitError(arguments, process.returncode, errors.decode(errors="replace"))
    return output


async def reap(process: Process) -> None:
    """Make sure that the process has ended; kills it when it runs.

    Not by ``Process.kill``, which polls first and so takes the exit status away from asyncio's own watcher.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
