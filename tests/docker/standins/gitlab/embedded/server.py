"""The web process: the emulator's GitLab and registry, and an inner door through which gitlab-rails reaches the data.

The door opens at once, as the database does upstream; the web server follows after STANDIN_BOOT_SECONDS / 2, and nginx
answers 502 until then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from dataclasses import replace
from pathlib import Path

from aiohttp import web
from door import Door

from lab.emulator.ci.server import Ci
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.gitlab.server import GitLab
from lab.emulator.pages.server import Pages
from lab.emulator.process import owned
from lab.emulator.registry.server import Registry

RAILS = Path("/var/opt/gitlab/gitlab-rails")
SOCKET = RAILS / "sockets/door"
SEED, SEEDED = RAILS / "etc/seed", RAILS / "seeded"
log = logging.getLogger("puma")


async def serve(config: Config) -> None:
    """Run until SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    database = Database(config.data / "emulator.sqlite3")
    gitlab = _gitlab(config, database)
    ci, registry = Ci(gitlab), Registry(gitlab)
    Pages(gitlab, ci, registry)
    runner = web.AppRunner(Door(gitlab).app)
    await runner.setup()
    SOCKET.parent.mkdir(parents=True, exist_ok=True)
    SOCKET.unlink(missing_ok=True)
    await web.UnixSite(runner, SOCKET).start()
    SOCKET.chmod(0o600)
    started: list[Ci | Registry | GitLab] = []
    try:
        if not await _within(stopping, float(os.environ["STANDIN_BOOT_SECONDS"]) / 2):
            for part in (ci, registry, gitlab):
                started.append(part)
                await part.start()
            log.info("* Listening on http://127.0.0.1:%s (a stand-in for GitLab's web server)", config.gitlab_port)
            await stopping.wait()
    finally:
        for part in reversed(started):
            await part.stop()
        await runner.cleanup()
        database.close()


def _gitlab(config: Config, database: Database) -> GitLab:
    """GitLab with the administrator that was seeded; without one where the seed failed."""
    password = SEED.read_text() if SEED.exists() else secrets.token_urlsafe()
    gitlab = GitLab(replace(config, root_password=password), database)
    if SEED.exists():
        SEEDED.touch()
        SEED.unlink()
    root = gitlab.users.by_login("root")
    if root and not SEEDED.exists():
        log.error("the database was never seeded: there is no administrator")
        gitlab.users.remove(root)
    return gitlab


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Config.read(RAILS / "etc/emulator.json")
    with owned(settings.data):
        asyncio.run(serve(settings))
