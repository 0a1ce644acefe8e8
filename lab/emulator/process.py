"""One emulator process: which components it has, and how they start and stop."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.emulator.children import Children
from lab.emulator.component import Component
from lab.emulator.config import Config
from lab.emulator.database import Database

log = logging.getLogger(__name__)

CHILD_FOLDERS = ("runner/children", "pods/children")


class AlreadyRunningError(Exception):
    """Another process owns the data folder."""


@contextmanager
def owned(data: Path, lock_fd: int | None = None) -> Iterator[None]:
    """Own the data folder; raises `AlreadyRunningError`. The kernel frees it when the process dies.

    ``lock_fd`` is the file ``lock``, opened and locked by the process that started this one.

    The file ``lock`` names the owner's pid. A reader takes a shared lock for a moment to see whether anybody owns
    it, hence the short patience.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / "lock").open("a+") if lock_fd is None else os.fdopen(lock_fd, "a+") as file:
        for patience in (0.1, 0.3, None):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if patience is None:
                    raise AlreadyRunningError(str(data)) from None
                time.sleep(patience)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def sweep(data: Path) -> int:
    """End what an emulator that was killed has left running; returns the number of process groups ended."""
    return sum(Children(data / folder).sweep() for folder in CHILD_FOLDERS)


async def serve(config: Config) -> None:
    """Run the components of ``config`` until SIGTERM or SIGINT.

    Raises:
        OSError: a port is taken.
    """
    database = Database(config.data / "emulator.sqlite3")
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    components = _components(config, database)
    started: list[Component] = []
    try:
        for component in components:
            started.append(component)
            await component.start()
        (config.data / "ready").touch()
        log.info("ready: %s", ", ".join(config.components))
        await stopping.wait()
    finally:
        (config.data / "ready").unlink(missing_ok=True)
        for component in reversed(started):
            try:
                await component.stop()
            except Exception:  # noqa: PERF203 - one component's trouble must not keep the others alive
                log.exception("stop of %s", type(component).__name__)
        database.close()


def _components(config: Config, database: Database) -> list[Component]:
    """The components in the order in which they start; heavy modules are imported only for what runs."""
    parts: list[Component] = []
    if "gitlab" in config.components:
        from lab.emulator.ci.server import Ci
        from lab.emulator.gitlab.server import GitLab
        from lab.emulator.pages.server import Pages
        from lab.emulator.registry.server import Registry

        gitlab = GitLab(config, database)
        ci, registry = Ci(gitlab), Registry(gitlab)
        Pages(gitlab, ci, registry)
        parts += [ci, registry, gitlab]
    if "kubernetes" in config.components:
        from lab.emulator.argocd.server import ArgoCd
        from lab.emulator.kube.server import ApiServer
        from lab.emulator.workloads.server import Workloads

        api = ApiServer(config, database)
        parts += [api, Workloads(config, api), ArgoCd(config, api)]
    if "runner" in config.components:
        from lab.emulator.runner.server import Runner

        runner = Runner(config)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, runner.reload)
        parts.append(runner)
    return parts
