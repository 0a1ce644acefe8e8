"""``gitlab-runner``: reads config.toml every three seconds, asks for jobs and runs them in containers.

SIGQUIT (what ``docker stop`` sends to this image) lets running jobs finish; SIGTERM ends them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import sys
import time
from pathlib import Path

import aiohttp
from configuration import Configuration, ConfigurationError, Section, read
from engine import Engine
from job import Job

from lab.emulator.runner.client import Client, RefusedError

PATH = Path("/etc/gitlab-runner/config.toml")
RELOAD_EVERY = 3.0
log = logging.getLogger("gitlab-runner")


class Health:
    """Three failures in a row put a runner to sleep (contracts C.1); only a restart or the interval ends that."""

    def __init__(self, section: Section) -> None:
        self._section = section
        self._failures = 0
        self._since = 0.0

    def good(self) -> None:
        """An answer came."""
        self._failures = 0

    def bad(self, why: str) -> None:
        """A refusal, or no answer."""
        self._failures += 1
        log.warning("Checking for jobs... %s runner=%s", why, self._section.entry.token[5:14])
        if self._failures == self._section.unhealthy_limit:
            self._since = time.monotonic()
            name, pause = self._section.entry.name, self._section.unhealthy_seconds
            log.error('Runner "%s" is unhealthy and will be disabled for %g seconds!', name, pause)

    @property
    def sleeping(self) -> bool:
        """Whether to ask nothing now."""
        if self._failures < self._section.unhealthy_limit:
            return False
        if time.monotonic() - self._since > self._section.unhealthy_seconds:
            self._failures = 0
        return self._failures > 0


class Runner:
    """Every section of the file, and the jobs that run."""

    def __init__(self, system_id: str) -> None:
        self._system_id = system_id
        self._configuration = Configuration()
        self._text = ""
        self._polls: dict[Section, list[asyncio.Task[None]]] = {}
        self._jobs: dict[asyncio.Task[None], tuple[Job, int]] = {}
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False)
        self._engine = Engine()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stopping`, then wait for the jobs."""
        while not self.stopping.is_set():
            self.reload()
            await _within(self.stopping, RELOAD_EVERY)
        for polls in self._polls.values():
            for poll in polls:
                poll.cancel()
        if self._jobs:
            log.info("Waiting for %d jobs to finish", len(self._jobs))
            await asyncio.wait(self._jobs)
        await self._session.close()
        await self._engine.close()

    def abort(self) -> None:
        """End the jobs, too."""
        for job, _ in self._jobs.values():
            job.end("interrupted")
        self.stopping.set()

    def reload(self) -> None:
        """Take the file as it is now; a broken one changes nothing."""
        try:
            text = PATH.read_text()
            if text == self._text:
                return
            self._text = text
            self._configuration = read(PATH)
        except FileNotFoundError:
            return
        except ConfigurationError as error:
            log.error("Failed to load config %s: %s", PATH, error)  # noqa: TRY400 - the text says it all
            return
        log.info("Configuration loaded: %d runners", len(self._configuration.sections))
        for section in set(self._polls) - set(self._configuration.sections):
            for poll in self._polls.pop(section):
                poll.cancel()
        for section in set(self._configuration.sections) - set(self._polls):
            health = Health(section)
            self._polls[section] = [
                asyncio.create_task(self._poll(section, health)) for _ in range(section.request_concurrency)
            ]

    async def _poll(self, section: Section, health: Health) -> None:
        client = Client(self._session, section.entry, self._system_id)
        while True:
            if health.sleeping or len(self._jobs) >= self._configuration.concurrent:
                await asyncio.sleep(0.5)
                continue
            try:
                payload = await client.request_job()
                health.good()
            except RefusedError:
                health.bad("forbidden")
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                health.bad(f"failed: {error}")
            else:
                if payload:
                    self._begin(section, client, payload)
                    continue
            await asyncio.sleep(self._configuration.check_interval / max(1, len(self._configuration.sections)))

    def _begin(self, section: Section, client: Client, payload: dict[str, object]) -> None:
        taken = {number for _, number in self._jobs.values()}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        job = Job(self._engine, section, client, payload, number=number, system_id=self._system_id)
        log.info("Checking for jobs... received job=%s", payload["id"])
        task = asyncio.create_task(job.run())
        self._jobs[task] = (job, number)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        job, _ = self._jobs.pop(task)
        error = None if task.cancelled() else task.exception()
        log.info("Job ended job=%s", job.payload["id"], exc_info=error)


async def _within(event: asyncio.Event, seconds: float) -> None:
    waiter = asyncio.ensure_future(event.wait())
    await asyncio.wait({waiter}, timeout=seconds)
    waiter.cancel()


def _system_id() -> str:
    path = PATH.with_name(".runner_system_id")
    if not path.exists():
        path.write_text(f"r_{secrets.token_hex(6)}")
    return path.read_text().strip()


async def _serve() -> None:
    runner = Runner(_system_id())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGQUIT, runner.stopping.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.abort)
    log.info("Starting multi-runner from %s... (a stand-in for GitLab Runner 19.3.0)", PATH)
    await runner.run()


def main() -> int:
    """Run the command line; returns the exit code."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in ("--version", "-v"):
        print("Version:      19.3.0\nGit revision: stand-in")
        return 0
    if command != "run":
        print(f"not in the stand-in: gitlab-runner {command}", file=sys.stderr)
        return 1
    try:
        if PATH.exists():
            read(PATH)
    except ConfigurationError as error:
        print(f"FATAL: {error}", file=sys.stderr)
        return 1
    asyncio.run(_serve())
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    sys.exit(main())
