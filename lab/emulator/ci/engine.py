"""Moves pipelines: starts jobs when their turn has come, ends them, retries and cancels them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab.emulator.ci import status
from lab.emulator.ci.model import FINISHED, ON_RUNNER, Job, Pipeline, Runner, new_token
from lab.emulator.ci.queue import Queue
from lab.emulator.ci.resources import ResourceGroups
from lab.emulator.ci.store import Store

_UNRETRIABLE = ("stale_schedule", "archived_failure", "scheduler_failure", "data_integrity_failure", "job_canceled")


class Engine:
    """The state machine of all pipelines. Every method runs in one step of the loop."""

    def __init__(self, store: Store, queue: Queue) -> None:
        self._store = store
        self._queue = queue
        self.groups = ResourceGroups(store)
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.on_status: list[Callable[[Pipeline], None]] = []
        """Called when a pipeline's status has changed."""

    def stop(self) -> None:
        """Cancel the timers of delayed jobs; `resume` sets them again."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def resume(self) -> None:
        """Go on after a restart of the server."""
        for job in self._store.alive():
            if job.status == "scheduled":
                self._schedule(job, max(0.0, (job.scheduled_at or 0) - time.time()))
        for pipeline in list(self._store.pipelines.values()):
            if pipeline.status not in FINISHED:
                self.process(pipeline)

    def process(self, pipeline: Pipeline) -> None:
        """Start, hold or skip every job whose turn has come; then note the pipeline's status."""
        with self._store.transaction():
            while decisions := status.ready(self._store.jobs_of(pipeline.id)):
                for job, action in decisions:
                    self._apply(job, action)
            self._note_status(pipeline)
        self._queue.changed()

    def _apply(self, job: Job, action: str) -> None:
        if action == "start":
            self._enqueue(job)
        elif action == "manual":
            job.status = "manual"
            self._store.save(job)
        elif action == "delay":
            job.status, job.scheduled_at = "scheduled", time.time() + (job.start_in or 0)
            self._store.save(job)
            self._schedule(job, job.start_in or 0)
        else:
            job.status, job.finished_at = "skipped", time.time()
            self._store.save(job)
            self._release(job)

    def _schedule(self, job: Job, seconds: float) -> None:
        self._timers[job.id] = asyncio.get_running_loop().call_later(seconds, self._delay_over, job.id)

    def _delay_over(self, job_id: int) -> None:
        self._timers.pop(job_id, None)
        job = self._store.jobs.get(job_id)
        if job and job.status == "scheduled":
            self._enqueue(job)
            self.process(self._pipeline(job))

    def _enqueue(self, job: Job) -> None:
        """To the runners, or first to the job's resource group."""
        if job.resource_group:
            job.status = "waiting_for_resource"
            self._store.save(job)
            self._release(job)
        else:
            self._to_runners(job)

    def _to_runners(self, job: Job) -> None:
        job.status, job.queued_at = "pending", time.time()
        self._store.save(job)

    def _release(self, job: Job) -> None:
        """Let the next job of the group go on when the group is free."""
        if not job.resource_group:
            return
        following = self.groups.next(job.project_id, job.resource_group)
        if following:
            self._to_runners(following)
            if following.pipeline_id != job.pipeline_id:
                self._note_status(self._pipeline(following))
            self._queue.changed()

    def regroup(self, project_id: int, key: str) -> None:
        """Look at a resource group again, for its process mode has changed."""
        waiting = next((j for j in self._store.alive() if (j.project_id, j.resource_group) == (project_id, key)), None)
        if waiting:
            self._release(waiting)

    def begin(self, job: Job, runner: Runner, system_id: str, *, timeout: int, cancel_gracefully: bool) -> None:
        """Give a pending job to a runner."""
        job.status, job.started_at = "running", time.time()
        job.runner_id, job.system_id = runner.id, system_id
        job.timeout, job.cancel_gracefully, job.contacted_at = timeout, cancel_gracefully, time.time()
        with self._store.transaction():
            self._store.save(job)
            self._note_status(self._pipeline(job))

    def finish(self, job: Job, outcome: str, *, reason: str | None = None, exit_code: int | None = None) -> None:
        """End a job as ``success``, ``failed`` or ``canceled``, retry it when it asks for that, and go on."""
        if job.finished:
            return
        if job.status == "canceling":
            outcome, reason = "canceled", None
        if outcome == "failed" and exit_code is not None and exit_code in (job.allow_failure_codes or []):
            job.allow_failure = True
        job.status, job.finished_at = outcome, time.time()
        job.failure_reason = (reason or "unknown_failure") if outcome == "failed" else None
        job.exit_code = exit_code
        with self._store.transaction():
            self._store.save(job)
            if outcome == "failed" and self._wants_retry(job):
                self._copy(job, retries=job.retries + 1)
            self._release(job)
            self.process(self._pipeline(job))

    def _wants_retry(self, job: Job) -> bool:
        retry = job.options.get("retry") or {}
        when = retry.get("when", ["always"])
        when = [when] if isinstance(when, str) else when
        codes = retry.get("exit_codes", [])
        codes = codes if isinstance(codes, list) else [codes]
        if job.retries >= int(retry.get("max", 0)) or job.failure_reason in _UNRETRIABLE:
            return False
        return job.exit_code in codes if codes and "when" not in retry else (
            "always" in when or job.failure_reason in when or job.exit_code in codes)  # fmt: skip

    def retry(self, job: Job, user: dict[str, Any] | None = None) -> Job:
        """Run a finished job again as a new one; jobs that were skipped behind it wait anew."""
        with self._store.transaction():
            again = self._copy(job, retries=0, user=user)
            self._reset_skipped(again)
            self.process(self._pipeline(job))
        return again

    def retry_pipeline(self, pipeline: Pipeline, user: dict[str, Any] | None = None) -> None:
        """Run every failed or canceled job again."""
        with self._store.transaction():
            for job in self._store.jobs_of(pipeline.id):
                if job.status in ("failed", "canceled"):
                    self._reset_skipped(self._copy(job, retries=0, user=user))
            self.process(pipeline)

    def _copy(self, job: Job, *, retries: int, user: dict[str, Any] | None = None) -> Job:
        again = replace(
            job, id=self._store.next_id("ci_job"), token=new_token(), status="created", created_at=time.time(),
            queued_at=None, scheduled_at=None, started_at=None, finished_at=None, erased_at=None, failure_reason=None,
            exit_code=None, runner_id=None, system_id=None, retries=retries, artifacts=[], dotenv={}, contacted_at=0.0,
            auto_canceled_by=None, user=user or job.user,
            allow_failure=job.allow_failure and not job.allow_failure_codes,
            when="on_success" if job.when == "manual" else job.when,
        )  # fmt: skip
        job.retried = True
        self._store.save(job, again)
        return again

    def _reset_skipped(self, behind: Job) -> None:
        for job in self._store.jobs_of(behind.pipeline_id):
            if job.status == "skipped" and (job.stage_index > behind.stage_index or job.needs):
                job.status, job.finished_at = "created", None
                self._store.save(job)

    def play(self, job: Job, user: dict[str, Any], variables: list[dict[str, Any]]) -> Job:
        """Start a manual or scheduled job."""
        if timer := self._timers.pop(job.id, None):
            timer.cancel()
        job.user, job.manual_variables = user, variables
        with self._store.transaction():
            self._enqueue(job)
            self._reset_skipped(job)
            self.process(self._pipeline(job))
        return job

    def cancel(self, job: Job, *, force: bool = False) -> None:
        """Cancel a job; one whose runner can end gracefully is ``canceling`` until the runner says so."""
        if job.finished:
            return
        if job.status == "running" and job.cancel_gracefully and not force:
            job.status = "canceling"
            self._store.save(job)
            self._note_status(self._pipeline(job))
            return
        if timer := self._timers.pop(job.id, None):
            timer.cancel()
        job.status, job.finished_at = "canceled", time.time()
        with self._store.transaction():
            self._store.save(job)
            self._release(job)
            self.process(self._pipeline(job))

    def cancel_pipeline(self, pipeline: Pipeline, *, by: int | None = None) -> None:
        """Cancel what has not ended; ``by`` is the newer pipeline that made this one redundant."""
        with self._store.transaction():
            pipeline.auto_canceled_by = by
            for job in reversed(self._store.jobs_of(pipeline.id)):
                job.auto_canceled_by = by
                self.cancel(job)
            self._note_status(pipeline)

    def cancel_redundant(self, newer: Pipeline) -> None:
        """Cancel older pipelines of the same ref, as ``workflow: auto_cancel: on_new_commit`` says."""
        for older in self._store.pipelines_of(newer.project_id):
            if older.id >= newer.id or older.ref != newer.ref or older.tag != newer.tag or older.status in FINISHED:
                continue
            jobs = self._store.jobs_of(older.id)
            if older.on_new_commit == "conservative":
                if not any(job.started_at and not job.interruptible for job in jobs):
                    self.cancel_pipeline(older, by=newer.id)
            elif older.on_new_commit == "interruptible":
                for job in jobs:
                    if job.interruptible:
                        self.cancel(job)

    def erase(self, job: Job) -> None:
        """Remove a finished job's trace and artifacts."""
        self._store.erase(job)
        job.erased_at = time.time()
        self._store.save(job)

    def _note_status(self, pipeline: Pipeline) -> None:
        jobs = self._store.jobs_of(pipeline.id)
        new = status.composite(jobs)
        if new is None or new == pipeline.status:
            return
        pipeline.status = new
        now = time.time()
        if new == "running" or any(job.status in ON_RUNNER for job in jobs):
            pipeline.started_at = pipeline.started_at or now
        pipeline.finished_at = now if new in FINISHED else None
        self._store.save(pipeline)
        for listener in self.on_status:
            listener(pipeline)

    def _pipeline(self, job: Job) -> Pipeline:
        return self._store.pipelines[job.pipeline_id]
