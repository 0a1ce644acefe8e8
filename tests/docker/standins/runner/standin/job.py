"""One job, from its payload to its end: services, sources, script, after_script, and nothing left behind."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Any

from configuration import Section
from containers import Containers, ImagePullError
from engine import DockerError, Engine

from lab.emulator.runner import script
from lab.emulator.runner.client import Client
from lab.emulator.runner.environment import Variables, runner_variables
from lab.emulator.runner.trace import Masker, Trace

BUILDS = Path("/builds")
UPDATE_EVERY, KEEP_ALIVE = 1.0, 3.0
"""Seconds: between two pieces of the trace, and of silence until GitLab is asked about the job (upstream 3 and 30)."""
_AFTER_SCRIPT = 300.0


class JobFailedError(Exception):
    """A job that fails: the text for people and GitLab's reason."""

    def __init__(self, text: str, reason: str, exit_code: int | None = None) -> None:
        super().__init__(text)
        self.reason, self.exit_code = reason, exit_code


class Job:
    """A job that a runner has taken."""

    def __init__(
        self, engine: Engine, section: Section, client: Client, payload: dict[str, Any], *, number: int, system_id: str
    ) -> None:
        self.section, self.payload = section, payload
        self._engine, self._client = engine, client
        self._project = BUILDS / payload["job_info"]["project_full_path"]
        self._temporary = Path(f"{self._project}.tmp")
        environment = [
            dict(zip(("key", "value"), each.split("=", 1), strict=True)) for each in section.entry.environment
        ]
        own = runner_variables(builds=BUILDS, project=self._project, number=number, token=section.entry.token)
        own |= {"CI_JOB_IMAGE": (payload.get("image") or {}).get("name") or section.docker.image, "CI": "true"}
        own["CI_DISPOSABLE_ENVIRONMENT"] = "true"
        rows = [{**row, "public": True} for row in environment] + payload["variables"]
        self._variables = Variables(rows, self._temporary)
        self._files = {row["key"]: row for row in payload["variables"] if row.get("file")}
        for key, value in own.items():
            self._variables.set(key, value)
        secret_values = [payload["token"], section.entry.token, *self._variables.secrets()]
        prefixes = (payload.get("features") or {}).get("token_mask_prefixes") or []
        masker = Masker(secret_values, prefixes)
        self.trace = Trace(
            client, payload["id"], payload["token"], masker, interval=UPDATE_EVERY, keep_alive=KEEP_ALIVE
        )
        self.trace.on_end = self.end
        self._containers = Containers(
            engine, section, {**payload, "variables": rows}, self._variables, self.trace,
            number=number, system_id=system_id,
        )  # fmt: skip
        self._end = asyncio.Event()
        self._how = ""

    def end(self, how: str) -> None:
        """End the job early: ``canceling``, ``abort``, or ``interrupted`` when the runner stops."""
        self._how = self._how or how
        self._end.set()

    async def run(self) -> None:
        """Run and report; raises nothing that a job can cause."""
        sending = asyncio.create_task(self.trace.send())
        failure: JobFailedError | None = None
        try:
            timeout = float((self.payload.get("runner_info") or {}).get("timeout") or 3600)
            await asyncio.wait_for(self._stages(), timeout)
        except asyncio.TimeoutError:
            failure = JobFailedError(f"execution took longer than {timeout:g} seconds", "job_execution_timeout")
        except JobFailedError as error:
            failure = error
        except ImagePullError as error:
            failure = JobFailedError(str(error), "image_pull_failure")
        except DockerError as error:
            failure = JobFailedError(f"(system failure): prepare environment: {error}", "runner_system_failure")
        finally:
            await self._containers.remove()
        if failure:
            self.trace.error(f"ERROR: Job failed: {failure}")
        else:
            self.trace.notice("Job succeeded")
        state = "failed" if failure else "success"
        await self.trace.finish(state, failure.reason if failure else "", failure.exit_code if failure else None)
        sending.cancel()

    async def _stages(self) -> None:
        self._refuse()
        entry = self.section.entry
        self.trace.line("Running with gitlab-runner 19.3.0 (stand-in, not the real one)")
        self.trace.line(f"  on {entry.name} {entry.token.removeprefix('glrt-')[:9]}")
        with self.trace.section("prepare_executor", 'Preparing the "docker" executor'):
            await self._containers.prepare()
            await self._containers.services()
            build = await self._containers.build()
            helper = await self._containers.helper()
        self._raise_if_ended()
        with self.trace.section("prepare_script", "Preparing environment"):
            await self._expect(helper, self._prepare())
        with self.trace.section("get_sources", "Getting source from Git repository"):
            await self._expect(helper, self._sources())
        await self._steps(build)

    def _refuse(self) -> None:
        for name in ("artifacts", "cache", "dependencies"):
            if self.payload.get(name):
                raise JobFailedError(f"not in the stand-in: {name}", "runner_system_failure")

    async def _steps(self, container: str) -> None:
        failure: JobFailedError | None = None
        for step in self.payload["steps"]:
            main = step["name"] == "script"
            when = step.get("when") or "on_success"
            if (failure and when == "on_success") or (not failure and when == "on_failure"):
                continue
            if self._how in ("abort", "interrupted"):
                break
            self._variables.set("CI_JOB_STATUS", "running" if main else "failed" if failure else "success")
            name = "step_script" if main else str(step["name"])
            with self.trace.section(name, f'Executing "{name}" stage of the job script'):
                text = script.commands([str(line) for line in step["script"]], folder=self._project)
                code = await self._run(container, text, None if main else _AFTER_SCRIPT)
            if code and not main:
                self.trace.line("WARNING: after_script failed, but job will continue unaffected")
            elif code:
                failure = failure or JobFailedError(f"exit code {code}", "script_failure", code)
        self._raise_if_ended()
        if failure:
            raise failure

    async def _expect(self, container: str, text: str) -> None:
        code = await self._run(container, text, None)
        self._raise_if_ended()
        if code:
            raise JobFailedError(f"exit code {code}", "runner_system_failure", code)

    async def _run(self, container: str, text: str, timeout: float | None) -> int:
        """Run a script in a container; it comes on standard input, and its commands see an empty one."""
        end = asyncio.Event() if timeout else self._end  # after_script also runs in a job that was cancelled
        whole = f"set -e\n: | eval {shlex.quote(self._exports() + text)}\nexit 0\n"
        running = asyncio.ensure_future(self._engine.run(container, whole, self.trace.write, end))
        done, _ = await asyncio.wait({running}, timeout=timeout)
        if not done:
            end.set()
        return await running

    def _exports(self) -> str:
        values = {
            key: value for key, value in self._variables.all().items() if key.isidentifier() and "\0" not in value
        }
        return "".join(f"export {key}={shlex.quote(value)}\n" for key, value in values.items())

    def _prepare(self) -> str:
        """Where the job runs, and the files of file variables."""
        folder = shlex.quote(str(self._temporary))
        lines = ['echo "Running on $(hostname) via the stand-in..."', f"rm -rf {folder} && mkdir -p {folder}"]
        for key, row in self._files.items():
            value = str(row.get("value") or "")
            text = value if row.get("raw") else self._variables.expand(value)
            lines.append(f"printf %s {shlex.quote(text)} > {folder}/{shlex.quote(key)}")
        return "\n".join(lines) + "\n"

    def _sources(self) -> str:
        sources = script.Sources(self.payload["git_info"], self._variables, self.section.entry.clone_url)
        config = self._temporary / "git-credentials"
        return (
            "export GIT_TERMINAL_PROMPT=0\n"
            f"printf %s {shlex.quote(sources.credentials())} > {shlex.quote(str(config))}\n"
            + sources.script(self._project, config)
        )

    def _raise_if_ended(self) -> None:
        if self._how in ("canceling", "abort"):
            raise JobFailedError("canceled", "job_canceled")
        if self._how == "interrupted":
            raise JobFailedError("aborted: terminated", "runner_system_failure")
