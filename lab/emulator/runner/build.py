"""One job from its payload to its end."""

from __future__ import annotations

import asyncio
import logging
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.emulator.children import Children
from lab.emulator.runner import script
from lab.emulator.runner.client import REVISION, VERSION, Client
from lab.emulator.runner.environment import Variables, environment, runner_variables, short
from lab.emulator.runner.files import Files, FilesError
from lab.emulator.runner.settings import Entry
from lab.emulator.runner.shell import Shell
from lab.emulator.runner.trace import Trace

log = logging.getLogger(__name__)

_AFTER_SCRIPT_TIMEOUT = 300.0


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
    _shell: Shell = field(init=False)
    _files: Files = field(init=False)

    def __post_init__(self) -> None:
        folders = self.folders
        self.trace.on_end = self._wanted_end
        self._variables = Variables(self.payload["variables"], folders.temporary)
        self._shell = Shell(self.children, self.trace, folders.temporary, self.entry.shell)
        self._files = Files(
            self.payload, self.client, self.trace, self._variables, folders.project, folders.temporary, folders.cache
        )

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
        except Exception:  # a defect of ours: GitLab hears of it now, not when the job has been silent for minutes
            log.exception("job %s", self.payload["id"])
            self.trace.error("ERROR: Job failed (system failure): the runner's log says why")
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
        try:
            failure = await self._work()
        except FilesError as error:
            raise JobFailedError(str(error), "runner_system_failure") from error
        if failure:
            raise failure

    async def _work(self) -> JobFailedError | None:
        """Everything between the sources and the job's end; returns what the script failed with."""
        if self.payload.get("cache"):
            with self.trace.section("restore_cache", "Restoring cache"):
                await self._files.restore_caches()
        if self.payload.get("dependencies"):
            with self.trace.section("download_artifacts", "Downloading artifacts"):
                await self._files.download()
        failure = await self._user_scripts()
        name, outcome = ("on_failure", "failed") if failure else ("on_success", "successful")
        if caches := _wanted(self.payload.get("cache"), failure):
            with self.trace.section("archive_cache", f"Saving cache for {outcome} job"):
                await self._files.keep_caches(caches)
        if entries := _wanted(self.payload.get("artifacts"), failure):
            with self.trace.section(f"upload_artifacts_{name}", f"Uploading artifacts for {outcome} job"):
                await self._files.upload(entries)
        return failure

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
            code = await self._shell.run(
                text, cwd=self.folders.temporary, environment={**self._environment, **environment}, end=self._end
            )
            self._raise_if_ended()
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
            if (failure and step.get("when") == "on_success") or self._how in ("abort", "interrupted"):
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
            running = self._shell.run(
                text, cwd=self.folders.project, environment=self._environment, end=None if self._how else self._end
            )
            try:
                code = await asyncio.wait_for(running, None if main else _AFTER_SCRIPT_TIMEOUT)
            except asyncio.TimeoutError:
                self.trace.line("WARNING: after_script failed, but job will continue unaffected: it took too long")
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


def _wanted(entries: list[dict[str, Any]] | None, failure: JobFailedError | None) -> list[dict[str, Any]]:
    """The entries whose ``when`` fits the outcome."""
    fitting = ("always", "on_failure" if failure else "on_success")
    return [entry for entry in entries or [] if (entry.get("when") or "on_success") in fitting]


def _go_duration(seconds: float) -> str:
    """``1h0m0s``, as Go prints it."""
    hours, rest = divmod(int(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s seconds"
    return f"{minutes}m{rest}s seconds" if minutes else f"{rest}s seconds"
