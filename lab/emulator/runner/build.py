"""One job from its payload to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from lab.emulator.children import Children
from lab.emulator.runner import artifacts, script
from lab.emulator.runner.client import REVISION, VERSION, Client
from lab.emulator.runner.environment import Variables, environment, runner_variables, short
from lab.emulator.runner.settings import Entry
from lab.emulator.runner.trace import Trace

log = logging.getLogger(__name__)

_AFTER_SCRIPT_TIMEOUT = 300.0
_GRACE = 2.0


class JobFailedError(Exception):
    """The job ends as failed; ``text`` stands behind ``ERROR: Job failed: `` in the trace."""

    def __init__(self, text: str, reason: str, exit_code: int | None = None) -> None:
        super().__init__(text)
        self.text, self.reason, self.exit_code = text, reason, exit_code


class AbortedError(Exception):
    """GitLab has ended the job already; nothing is reported."""


@dataclass(frozen=True)
class Folders:
    """Where one job works. ``number`` tells jobs apart that run at the same time."""

    builds: Path
    project: Path
    temporary: Path
    commands: Path
    docker: Path
    cache: Path
    number: int = 0


@dataclass
class Build:
    """Runs one job; `run` never raises for the job's own faults."""

    payload: dict[str, Any] = field(repr=False)
    entry: Entry
    client: Client
    folders: Folders
    children: Children
    trace: Trace
    system_id: str
    _end: asyncio.Event = field(default_factory=asyncio.Event)
    _how: str = ""
    _variables: Variables = field(init=False, repr=False)
    _environment: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.trace.on_end = self._wanted_end
        self._variables = Variables(self.payload["variables"], self.folders.temporary)

    def _wanted_end(self, how: str) -> None:
        if not self._how or how == "abort":
            self._how = how
            self._end.set()

    def stop(self) -> None:
        """End the job because the runner is stopping."""
        self._wanted_end("interrupted")

    async def run(self) -> None:
        """Run the job and report its end."""
        sending = asyncio.create_task(self.trace.send())
        outcome: tuple[str, str, int | None] = ("failed", "runner_system_failure", None)
        try:
            outcome = await self._outcome()
        except AbortedError:
            log.info("job %s was ended by GitLab", self.payload["id"])
            return
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, self.folders.temporary, ignore_errors=True)
        if not await self.trace.finish(*outcome):
            log.warning("job %s: GitLab did not take its end", self.payload["id"])

    async def _outcome(self) -> tuple[str, str, int | None]:
        timeout = float((self.payload.get("runner_info") or {}).get("timeout") or 3600)
        try:
            try:
                await asyncio.wait_for(self._stages(), timeout)
            except asyncio.TimeoutError:
                text = f"execution took longer than {_go_duration(timeout)}"
                raise JobFailedError(text, "job_execution_timeout") from None
        except JobFailedError as error:
            self.trace.error(f"ERROR: Job failed: {error.text}")
            return "failed", error.reason, error.exit_code
        except OSError as error:
            self.trace.error(f"ERROR: Job failed (system failure): {error}")
            return "failed", "runner_system_failure", None
        self.trace.notice("Job succeeded")
        return "success", "", None

    async def _stages(self) -> None:
        self._introduce()
        if self._variables.get("GIT_CLONE_PATH"):
            raise JobFailedError("not emulated: GIT_CLONE_PATH", "runner_configuration_error")
        await asyncio.to_thread(self._prepare)
        with self.trace.section("get_sources", "Getting source from Git repository"):
            await self._get_sources()
        if self.payload.get("cache"):
            with self.trace.section("restore_cache", "Restoring cache"):
                await self._restore_cache()
        if dependencies := self.payload.get("dependencies"):
            with self.trace.section("download_artifacts", "Downloading artifacts"):
                await self._download(dependencies)
        failure = await self._user_scripts()
        await self._save(failure)
        if failure:
            raise failure

    def _introduce(self) -> None:
        trace, entry = self.trace, self.entry
        trace.line(f"Running with gitlab-runner {VERSION} ({REVISION})")
        trace.line(f"  on {entry.name or 'runner'} {short(entry.token)}, system ID: {self.system_id}")
        with trace.section("prepare_executor", 'Preparing the "shell" executor'):
            trace.line("Using Shell (bash) executor...")
            trace.line(
                "This runner is emulated: the job runs as a process of the user who started it, "
                "without a container's walls."
            )
            for kind, name in self._images():
                trace.line(f"not emulated: {kind} {name} is not started; the job uses this machine's own tools.")
        with trace.section("prepare_script", "Preparing environment"):
            trace.line(f"Running on {platform.node()}...")

    def _images(self) -> list[tuple[str, str]]:
        image = self.payload.get("image") or {}
        found = [("image", str(image["name"]))] if image.get("name") else []
        return found + [("service", str(service["name"])) for service in self.payload.get("services") or []]

    def _prepare(self) -> None:
        """Make the folders and complete the variables."""
        folders = self.folders
        shutil.rmtree(folders.temporary, ignore_errors=True)
        home, temporary = folders.temporary / "home", folders.temporary / "tmp"
        for folder in (folders.temporary, home, temporary, folders.project.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        more = runner_variables(
            builds=folders.builds, project=folders.project, number=folders.number, token=self.entry.token
        )
        for item in self.entry.environment:
            key, _, value = item.partition("=")
            more[key] = value
        if image := (self.payload.get("image") or {}).get("name"):
            more["CI_JOB_IMAGE"] = str(image)
        for key, value in more.items():
            self._variables.set(key, value)
        self._variables.write_files()
        self._environment = environment(
            self._variables, home=home, temporary=temporary, commands=folders.commands, store=folders.docker
        )

    async def _get_sources(self) -> None:
        sources = script.Sources(self.payload["git_info"], self._variables, self.entry.clone_url)
        config = self.folders.temporary / "git-credentials"
        config.touch(mode=0o600)
        config.write_text(sources.credentials())
        environment = {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "advice.detachedHead",
            "GIT_CONFIG_VALUE_0": "false",
        }
        text = sources.script(self.folders.project, config)
        for attempt in range(int(self._variables.get("GET_SOURCES_ATTEMPTS") or 1), 0, -1):
            code = await self._shell(text, cwd=self.folders.temporary, extra=environment)
            if code == 0:
                return
            if attempt > 1:
                self.trace.line("Retrying...")
        raise JobFailedError(f"exit code {code}", "runner_system_failure", code)

    async def _user_scripts(self) -> JobFailedError | None:
        """Run ``script`` and ``after_script``; returns what the first one failed with."""
        failure: JobFailedError | None = None
        for step in self.payload["steps"]:
            status = "canceled" if self._how else "failed" if failure else "success"
            if (failure and step.get("when") == "on_success") or self._how == "abort":
                continue
            if (step.get("when") == "on_failure") and not failure:
                continue
            self._environment["CI_JOB_STATUS"] = status if step["name"] != "script" else "running"
            error = await self._step(step)
            if error and not step.get("allow_failure"):
                failure = failure or error
        self._raise_if_ended()
        return failure

    async def _step(self, step: dict[str, Any]) -> JobFailedError | None:
        main = step["name"] == "script"
        name = "step_script" if main else str(step["name"])
        title = "after_script" if name == "after_script" else name
        lines = [str(line) for line in step["script"]]
        if main and self.entry.pre_build_script:
            lines.insert(0, self.entry.pre_build_script)
        if main and self.entry.post_build_script:
            lines.append(self.entry.post_build_script)
        with self.trace.section(name, f'Executing "{title}" stage of the job script'):
            if not main:
                self.trace.notice("Running after script...")
            text = script.commands(lines, folder=self.folders.project)
            limit = None if main else _AFTER_SCRIPT_TIMEOUT
            try:
                code = await asyncio.wait_for(
                    self._shell(text, cwd=self.folders.project, endable=main or self._how == ""), limit
                )
            except asyncio.TimeoutError:
                if main:
                    raise
                self.trace.line("WARNING: after_script timed out")
                return None
        if code == 0:
            return None
        if not main:
            self.trace.line(f"WARNING: after_script failed, but job will continue unaffected: exit code {code}")
        return JobFailedError(f"exit code {code}", "script_failure", code)

    def _raise_if_ended(self) -> None:
        if self._how == "abort":
            raise AbortedError
        if self._how == "canceling":
            raise JobFailedError("canceled", "job_canceled")
        if self._how == "interrupted":
            raise JobFailedError("the runner was stopped", "runner_system_failure")

    async def _shell(self, text: str, *, cwd: Path, extra: dict[str, str] | None = None, endable: bool = True) -> int:
        """Run a script, its output into the trace; the whole process group ends with it. Returns the exit code."""
        shell = self.entry.shell or shutil.which("bash") or "/bin/sh"
        file = self.folders.temporary / "script.sh"
        file.touch(mode=0o600)
        file.write_text(text)
        process = await self.children.spawn(
            [shell, str(file)], cwd=cwd, env={**self._environment, **(extra or {})}, stdout=asyncio.subprocess.PIPE
        )
        reading = asyncio.create_task(self._read(process))
        ending = asyncio.create_task(self._end.wait()) if endable else None
        try:
            waiting = {asyncio.create_task(process.wait())} | ({ending} if ending else set())
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if process.returncode is None:
                await self.children.end(process, _GRACE)
        finally:
            await self._settle(process, reading, ending)
        return process.returncode or 0

    async def _settle(
        self, process: asyncio.subprocess.Process, reading: asyncio.Task[None], ending: asyncio.Task[Any] | None
    ) -> None:
        """End the process group, then read what is left of its output."""
        if process.returncode is None:
            await self.children.end(process, _GRACE)
        else:
            self.children.forget(process)
        if ending:
            ending.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(reading, 5)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while data := await process.stdout.read(1 << 16):
            self.trace.write(data)

    async def _download(self, dependencies: list[dict[str, Any]]) -> None:
        for found in dependencies:
            self.trace.notice(f"Downloading artifacts for {found['name']} ({found['id']})...")
            archive = self.folders.temporary / f"dependency-{found['id']}.zip"
            status = await self.client.download(found["id"], found["token"], archive)
            if status != 200:
                raise JobFailedError(f"downloading artifacts of job {found['id']}: {status}", "runner_system_failure")
            try:
                await asyncio.to_thread(artifacts.unpack_zip, archive, self.folders.project)
            except artifacts.UnsafeArchiveError as error:
                raise JobFailedError(f"unsafe path in artifacts: {error}", "runner_system_failure") from error

    async def _save(self, failure: JobFailedError | None) -> None:
        """Upload artifacts and keep caches, as their ``when`` says."""
        for cache in self.payload.get("cache") or []:
            if _wanted(cache, failure) and "push" in (cache.get("policy") or "pull-push"):
                await asyncio.to_thread(self._keep_cache, cache)
        wanted = [entry for entry in self.payload.get("artifacts") or [] if _wanted(entry, failure)]
        if not wanted:
            return
        name = "on_failure" if failure else "on_success"
        with self.trace.section(
            f"upload_artifacts_{name}",
            f"Uploading artifacts for {name[3:].replace('success', 'successful').replace('failure', 'failed')} job",
        ):
            for entry in wanted:
                await self._upload(entry)

    async def _upload(self, entry: dict[str, Any]) -> None:
        self.trace.notice("Uploading artifacts...")
        expanded = {
            **entry,
            **{key: [self._variables.expand(p) for p in entry.get(key) or []] for key in ("paths", "exclude")},
        }
        members = await asyncio.to_thread(artifacts.files, self.folders.project, expanded)
        for path in expanded["paths"]:
            count = sum(1 for member in members)
            self.trace.line(f"{path}: found {count} matching artifact files and directories")
        if not members:
            self.trace.error("ERROR: No files to upload")
            return
        zipped = entry.get("artifact_format") != "gzip"
        name = (self._variables.expand(entry.get("name") or "") or "artifacts") + (".zip" if zipped else ".gz")
        target = self.folders.temporary / f"upload-{entry.get('artifact_type')}"
        if zipped:
            await asyncio.to_thread(artifacts.pack_zip, self.folders.project, members, target)
        else:
            await asyncio.to_thread(artifacts.pack_gzip, members, target)
        query = {"artifact_format": str(entry.get("artifact_format")), "artifact_type": str(entry.get("artifact_type"))}
        if entry.get("expire_in"):
            query["expire_in"] = str(entry["expire_in"])
        try:
            status = await self.client.upload(
                self.payload["id"], self.payload["token"], target, name.replace("/", "-"), query
            )
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise JobFailedError(f"uploading artifacts: {error}", "runner_system_failure") from error
        if status != 201:
            raise JobFailedError(f"uploading artifacts: {status}", "runner_system_failure")
        self.trace.line(f'Uploading artifacts as "{entry.get("artifact_type")}" to coordinator... 201 Created')

    async def _restore_cache(self) -> None:
        for cache in self.payload["cache"]:
            if "pull" not in (cache.get("policy") or "pull-push"):
                continue
            keys = [cache["key"], *(cache.get("fallback_keys") or [])]
            archive = next((p for p in map(self._cache_path, keys) if p.exists()), None)
            self.trace.notice(f"Checking cache for {self._variables.expand(cache['key'])}...")
            if archive is None:
                self.trace.line("No cache found on this machine")
                continue
            await asyncio.to_thread(artifacts.unpack_zip, archive, self.folders.project)
            self.trace.notice("Successfully extracted cache")

    def _keep_cache(self, cache: dict[str, Any]) -> None:
        paths = [self._variables.expand(path) for path in cache.get("paths") or []]
        members = artifacts.files(self.folders.project, {**cache, "paths": paths})
        if members:
            target = self._cache_path(cache["key"])
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".partial")
            artifacts.pack_zip(self.folders.project, members, partial)
            partial.replace(target)
            self.trace.line(f"Created cache {self._variables.expand(cache['key'])}: {len(members)} files")

    def _cache_path(self, key: str) -> Path:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in self._variables.expand(key))
        return self.folders.cache / f"{name}.zip"


def _wanted(entry: dict[str, Any], failure: JobFailedError | None) -> bool:
    when = entry.get("when") or "on_success"
    return when == "always" or (when == "on_failure") == (failure is not None)


def _go_duration(seconds: float) -> str:
    """``1h0m0s``, as Go prints it."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s seconds"
    return f"{minutes}m{rest}s seconds" if minutes else f"{rest}s seconds"
