"""Keeps pipelines, jobs, traces, variables, runners and resource groups; every change is written through."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from lab.emulator.ci.model import ALIVE, Document, Job, Pipeline, Runner
from lab.emulator.database import Database


class Owner(NamedTuple):
    """Whose variables: ``kind`` is ``project``, ``group`` or ``instance``."""

    kind: str
    id: int


INSTANCE = Owner("instance", 0)
_VARIABLES = {"project": "ci_variables", "group": "ci_group_variables", "instance": "ci_instance_variables"}


class Store:
    """All documents of CI in memory, with the database behind; traces and artifacts are files under ``folder``."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self.pipelines = {int(key): Pipeline.of(body) for key, body in database.all("ci_pipeline")}
        self.jobs = {int(key): Job.of(body) for key, body in database.all("ci_job")}
        self.runners = {int(key): Runner.of(body) for key, body in database.all("ci_runner")}
        self._alive = {job.id for job in self.jobs.values() if job.status in ALIVE and not job.retried}
        self._by_pipeline: dict[int, list[int]] = {}
        self._by_token = {job.token: job.id for job in self.jobs.values()}
        for job_id in sorted(self.jobs):
            self._by_pipeline.setdefault(self.jobs[job_id].pipeline_id, []).append(job_id)

    def transaction(self) -> AbstractContextManager[None]:
        """Writes inside are committed together."""
        return self._database.transaction()

    def next_id(self, counter: str) -> int:
        """The next number of a counter."""
        return self._database.next_id(counter)

    def save(self, *documents: Document) -> None:
        """Write documents through."""
        for document in documents:
            if isinstance(document, Pipeline):
                document.updated_at = time.time()
                self.pipelines[document.id] = document
                self._database.put("ci_pipeline", document.id, document.body())
            elif isinstance(document, Job):
                self._save_job(document)
            elif isinstance(document, Runner):
                self.runners[document.id] = document
                self._database.put("ci_runner", document.id, document.body())

    def _save_job(self, job: Job) -> None:
        if job.id not in self.jobs:
            self._by_pipeline.setdefault(job.pipeline_id, []).append(job.id)
        self.jobs[job.id] = job
        self._by_token[job.token] = job.id
        if job.status in ALIVE and not job.retried:
            self._alive.add(job.id)
        else:
            self._alive.discard(job.id)
        self._database.put("ci_job", job.id, job.body())

    def job_by_token(self, token: str) -> Job | None:
        """The job whose CI_JOB_TOKEN this is, running or not."""
        job_id = self._by_token.get(token)
        return None if job_id is None else self.jobs[job_id]

    def jobs_of(self, pipeline_id: int, *, retried: bool = False) -> list[Job]:
        """A pipeline's jobs, oldest first; those that were retried only when asked for."""
        jobs = (self.jobs[job_id] for job_id in self._by_pipeline.get(pipeline_id, []))
        return [job for job in jobs if retried or not job.retried]

    def pipelines_of(self, project_id: int) -> list[Pipeline]:
        """A project's pipelines, newest first."""
        return [p for p in reversed(self.pipelines.values()) if p.project_id == project_id]

    def alive(self) -> Iterable[Job]:
        """Jobs that have not ended, oldest first."""
        return [self.jobs[job_id] for job_id in sorted(self._alive)]

    def delete_pipeline(self, pipeline: Pipeline) -> None:
        """Remove a pipeline with its jobs, traces and artifacts."""
        with self.transaction():
            for job in self.jobs_of(pipeline.id, retried=True):
                self.erase(job)
                self._by_token.pop(job.token, None)
                self._alive.discard(job.id)
                del self.jobs[job.id]
                self._database.delete("ci_job", job.id)
            self._by_pipeline.pop(pipeline.id, None)
            del self.pipelines[pipeline.id]
            self._database.delete("ci_pipeline", pipeline.id)

    def delete_runner(self, runner: Runner) -> None:
        """Remove a runner; its token is worth nothing from now on."""
        del self.runners[runner.id]
        self._database.delete("ci_runner", runner.id)

    def runner_by_token(self, token: str) -> Runner | None:
        """The runner with this authentication token."""
        return next((r for r in self.runners.values() if token and r.token == token), None)

    def trace(self, job: Job) -> bytes:
        """What the job printed so far."""
        path = self._trace_path(job)
        return path.read_bytes() if path.exists() else b""

    def trace_size(self, job: Job) -> int:
        """Bytes of the trace."""
        path = self._trace_path(job)
        return path.stat().st_size if path.exists() else 0

    def append_trace(self, job: Job, data: bytes) -> int:
        """Append to the trace; returns its new size."""
        path = self._trace_path(job)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("ab") as file:
            file.write(data)
            return file.tell()

    def truncate_trace(self, job: Job) -> None:
        """Forget the trace."""
        self._trace_path(job).unlink(missing_ok=True)

    def artifact_path(self, job: Job, kind: str) -> Path:
        """Where the job's archive (or report) of a kind lies."""
        return self._folder / "artifacts" / f"{job.id}-{kind}"

    def erase(self, job: Job) -> None:
        """Remove the trace and the artifacts of a job."""
        self.truncate_trace(job)
        self.drop_artifacts(job)

    def drop_artifacts(self, job: Job) -> None:
        """Remove the artifacts of a job."""
        for artifact in job.artifacts:
            self.artifact_path(job, artifact["file_type"]).unlink(missing_ok=True)
        job.artifacts, job.artifacts_expire_at = [], None
        self.save(job)

    def drop_expired(self, now: float) -> None:
        """Remove expired artifacts, but those of a ref's latest pipeline: GitLab keeps them too."""
        expired = [job for job in self.jobs.values() if job.artifacts_expire_at and job.artifacts_expire_at < now]
        for job in expired:
            pipeline = self.pipelines[job.pipeline_id]
            latest = next(p for p in self.pipelines_of(pipeline.project_id) if p.ref == pipeline.ref and p.stages)
            if latest.id != pipeline.id:
                self.drop_artifacts(job)

    def _trace_path(self, job: Job) -> Path:
        return self._folder / "traces" / f"{job.id}.log"

    def pushes(self) -> list[tuple[int, dict[str, Any]]]:
        """Pushes whose pipelines were not made yet when the last process ended, oldest first."""
        return sorted((int(key), body) for key, body in self._database.all("ci_push"))

    def note_push(self, body: dict[str, Any]) -> int:
        """Remember a push until its pipeline is made; returns the note's number."""
        number = self.next_id("ci_push")
        self._database.put("ci_push", number, body)
        return number

    def forget_push(self, number: int) -> None:
        """Drop the note of a push."""
        self._database.delete("ci_push", number)

    def variables(self, owner: Owner) -> list[dict[str, Any]]:
        """An owner's variables in API form, in order of creation."""
        body = self._database.get(_VARIABLES[owner.kind], owner.id)
        return list(body) if body else []

    def put_variables(self, owner: Owner, variables: list[dict[str, Any]]) -> None:
        """Replace an owner's variables."""
        self._database.put(_VARIABLES[owner.kind], owner.id, variables)

    def groups(self, project_id: int) -> list[dict[str, Any]]:
        """A project's resource groups in API form."""
        return list(self._database.get("ci_resource_groups", project_id) or [])

    def put_groups(self, project_id: int, groups: list[dict[str, Any]]) -> None:
        """Replace a project's resource groups."""
        self._database.put("ci_resource_groups", project_id, groups)

    def forget_project(self, project_id: int) -> None:
        """Remove everything that belongs to a deleted project."""
        for pipeline in self.pipelines_of(project_id):
            self.delete_pipeline(pipeline)
        for kind in ("ci_variables", "ci_resource_groups"):
            self._database.delete(kind, project_id)
        for runner in list(self.runners.values()):
            if project_id in runner.project_ids:
                runner.project_ids.remove(project_id)
                if runner.project_ids:
                    self.save(runner)
                else:
                    self.delete_runner(runner)
