"""The runner's process: reads ``config.toml``, asks for jobs, runs them, and outlives GitLab's restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from pathlib import Path
from typing import Any

import aiohttp

from lab.emulator.children import Children
from lab.emulator.component import Tasks
from lab.emulator.config import Config
from lab.emulator.runner.build import Build, Folders
from lab.emulator.runner.client import Client, RefusedError
from lab.emulator.runner.environment import Variables
from lab.emulator.runner.settings import Entry, Settings, read
from lab.emulator.runner.trace import Masker, Trace

log = logging.getLogger(__name__)

RELOAD_EVERY = 3.0
_LOST_PATIENCE = 60.0
_STOP_PATIENCE = 3.0
"""Seconds in which running jobs may report their end when the runner stops."""
_FAST, _UPSTREAM = (0.05, 1.0), (3.0, 30.0)
"""Seconds between two pieces of a trace, and of silence after which GitLab is asked about the job."""


class Runner:
    """A runner under ``config.data``/runner."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = config.data / "runner"
        self._children = Children(self._folder / "children")
        self._settings = Settings()
        self._version: tuple[int, int] | None = None
        self._tasks = Tasks()
        self._polls: dict[Entry, asyncio.Task[None]] = {}
        self._builds: dict[int, Build] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._numbers: dict[str, set[int]] = {}
        self._free = asyncio.Condition()
        self._session: aiohttp.ClientSession | None = None
        self._system_id = ""

    async def start(self) -> None:
        """End what an earlier process left, report its jobs as lost, and begin to ask for jobs."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread(self._children.sweep)
        self._system_id = self._known_system_id()
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        self._install_commands()
        for record in sorted((self._folder / "jobs").glob("*.json")):
            self._tasks.spawn(self._report_lost(record), f"report {record.stem}")
        self.reload()
        self._tasks.spawn(self._watch_settings(), "runner settings")

    async def stop(self) -> None:
        """Stop asking, end the running jobs and report them."""
        for poll in self._polls.values():
            poll.cancel()
        if self._polls:
            await asyncio.wait(self._polls.values(), timeout=1)
        for build in self._builds.values():
            build.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=_STOP_PATIENCE)
        await self._tasks.cancel()  # the polls and jobs that are late among them
        if self._session:
            await self._session.close()

    def reload(self) -> None:
        """Read ``config.toml`` again; a broken file keeps the settings as they are."""
        path = self._folder / "config.toml"
        self._version = _version(path)
        try:
            self._settings = read(path)
        except (ValueError, OSError) as error:
            log.error("%s", error)  # noqa: TRY400 - the text says it all
            return
        for entry in set(self._polls) - set(self._settings.entries):
            self._polls.pop(entry).cancel()
        for entry in self._settings.entries:
            if entry not in self._polls:
                self._polls[entry] = self._tasks.spawn(self._poll(entry), f"runner {entry.name}")

    async def _watch_settings(self) -> None:
        path = self._folder / "config.toml"
        while True:
            await asyncio.sleep(RELOAD_EVERY)
            if _version(path) != self._version:
                self.reload()

    async def _poll(self, entry: Entry) -> None:
        """Ask for jobs as long as the entry is in the file."""
        session = self._session
        if session is None:
            raise RuntimeError("the runner has not been started")
        client = Client(session, entry, self._system_id)
        delay = 0.05
        while True:
            async with self._free:
                await self._free.wait_for(lambda: self._has_room(entry))
            try:
                payload = await client.request_job()
            except RefusedError:
                log.warning("runner %s: Checking for jobs... forbidden", entry.name)
                await asyncio.sleep(self._settings.check_interval)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                log.info("runner %s: %s", entry.name, error or type(error).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, self._settings.check_interval)
            else:
                delay = 0.05
                if payload is not None:
                    self._begin(entry, client, payload)
                elif self._config.upstream or not client.news:
                    await asyncio.sleep(self._settings.check_interval if self._config.upstream else 0.05)

    def _has_room(self, entry: Entry) -> bool:
        own = sum(1 for build in self._builds.values() if build.entry == entry)
        return len(self._builds) < self._settings.concurrent and (not entry.limit or own < entry.limit)

    def _begin(self, entry: Entry, client: Client, payload: dict[str, Any]) -> None:
        """Record the job, then run it: a record without a process tells of a runner that was killed."""
        job_id, token = int(payload["id"]), str(payload["token"])
        record = self._record(job_id, {"url": entry.url, "runner": entry.token, "id": job_id, "token": token})
        folders = self._folders(payload)
        secret_values = [token, entry.token, *Variables(payload["variables"], folders.temporary).secrets()]
        prefixes = (payload.get("features") or {}).get("token_mask_prefixes") or []
        interval, keep_alive = _UPSTREAM if self._config.upstream else _FAST
        trace = Trace(
            client, job_id, token, Masker(secret_values, prefixes), interval=interval, keep_alive=keep_alive
        )  # fmt: skip
        build = Build(payload, entry, client, folders, self._children, trace, self._system_id)
        self._builds[job_id] = build
        task = self._tasks.spawn(self._run(build, record, folders), f"job {job_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _record(self, job_id: int, body: dict[str, Any]) -> Path:
        record = self._folder / "jobs" / f"{job_id}.json"
        record.parent.mkdir(exist_ok=True, mode=0o700)
        partial = record.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(body))
        partial.replace(record)
        return record

    async def _run(self, build: Build, record: Path, folders: Folders) -> None:
        try:
            await build.run()
            _forget(record)
        finally:
            self._builds.pop(int(build.payload["id"]), None)
            self._numbers[build.payload["job_info"]["project_full_path"]].discard(folders.number)
            async with self._free:
                self._free.notify_all()

    def _folders(self, payload: dict[str, Any]) -> Folders:
        path = str(payload["job_info"]["project_full_path"])
        taken = self._numbers.setdefault(path, set())
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        taken.add(number)
        builds = self._folder / "builds"
        if number:
            builds /= f".{number}"
        return Folders(
            builds=builds,
            project=builds / path,
            temporary=builds / f"{path}.tmp",
            commands=self._folder / "bin",
            docker=self._folder / "docker",
            cache=self._folder / "cache" / path,
            number=number,
        )

    async def _report_lost(self, record: Path) -> None:
        """Tell GitLab that a job of an earlier process has failed; without this it would look alive for minutes."""
        if self._session is None:
            return
        lost = _read_record(record)
        if lost is None:
            _forget(record)
            return
        entry = Entry("", lost["url"], lost["runner"])
        client = Client(self._session, entry, self._system_id)
        deadline = asyncio.get_running_loop().time() + _LOST_PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError, OSError):
                answer = await client.update(
                    lost["id"], lost["token"], state="failed", failure_reason="runner_system_failure"
                )
                log.info("job %s was lost with an earlier process; GitLab answers %d", lost["id"], answer.status)
                break
            await asyncio.sleep(0.2)
        _forget(record)

    def _install_commands(self) -> None:
        """Put the emulated ``docker`` in front of every job's PATH."""
        from lab.emulator.docker import bin as docker  # noqa: PLC0415 - only a runner needs it

        folder = self._folder / "bin"
        folder.mkdir(exist_ok=True)
        docker.install(folder)

    def _known_system_id(self) -> str:
        path = self._folder / ".runner_system_id"
        known = path.read_text().strip() if path.exists() else ""
        if not known:  # also when a process was killed as it wrote
            known = f"s_{secrets.token_hex(6)}"
            path.write_text(known)
        return known


def _read_record(record: Path) -> dict[str, Any] | None:
    """The record of a job of an earlier process, or None when it was never finished."""
    try:
        lost: dict[str, Any] = json.loads(record.read_text())
    except (ValueError, OSError):
        return None
    return lost if {"url", "runner", "id", "token"} <= set(lost) else None


def _forget(record: Path) -> None:
    record.unlink(missing_ok=True)


def _version(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file does."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
