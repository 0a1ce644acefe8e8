"""CI: its parts, and how pushes become pipelines."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from typing import Any

from lab.emulator.ci.artifacts_api import ArtifactsApi
from lab.emulator.ci.create import SKIP, Creator, RefusedError, Request
from lab.emulator.ci.engine import Engine
from lab.emulator.ci.groups_api import GroupsApi
from lab.emulator.ci.jobs_api import JobsApi
from lab.emulator.ci.lint_api import LintApi
from lab.emulator.ci.model import FINISHED, ON_RUNNER, Job, Pipeline, Runner
from lab.emulator.ci.payload import persistent_ref
from lab.emulator.ci.pipelines_api import PipelinesApi
from lab.emulator.ci.present import Presenter
from lab.emulator.ci.protocol import Protocol
from lab.emulator.ci.queue import Queue
from lab.emulator.ci.runners_api import RunnersApi
from lab.emulator.ci.scope import Scope
from lab.emulator.ci.store import Store
from lab.emulator.ci.variables_api import VariablesApi
from lab.emulator.component import Tasks
from lab.emulator.gitlab.git import GitError
from lab.emulator.gitlab.model import ZERO_SHA, Caller, Project, Push
from lab.emulator.gitlab.server import GitLab

log = logging.getLogger(__name__)

SILENT_AFTER_RESTART, SILENT, STUCK, PENDING_TOO_LONG = 60.0, 600.0, 3600.0, 86400.0
"""Seconds: a runner that says nothing about its job (after a restart of the server, otherwise), a pending job that
no runner fits, and one that none takes (GitLab: StuckCiJobsWorker)."""
PIPELINES_PER_PUSH = 4
"""Refs of one push that get a pipeline (GitLab: Git::ProcessRefChangesService::PIPELINE_PROCESS_LIMIT)."""
_WATCH_EVERY = 5.0


class Ci:
    """GitLab CI's server side; adds its routes to GitLab's application."""

    def __init__(self, gitlab: GitLab) -> None:
        self.gitlab = gitlab
        self.store = Store(gitlab.database, gitlab.config.data / "ci")
        self.queue = Queue(self.store, self._shared_runners)
        self.engine = Engine(self.store, self.queue)
        self.scope = Scope(gitlab.config, self.store, self._deploy_token, self._groups_around)
        self.creator = Creator(self.store, self.engine, self.scope, gitlab.repositories)
        self.present = Presenter(gitlab.config.gitlab_url, self.store, gitlab.users)
        self.stopping = False
        self._tasks = Tasks()
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._held: set[int] = set()
        self._started = time.time()
        gitlab.access.job_tokens = self.caller_of_job
        gitlab.on_push.append(self._pushed)
        gitlab.on_project_removed.append(self.store.forget_project)
        self.engine.on_status.append(self._release_commit)
        Protocol(self)
        for routes in (PipelinesApi, JobsApi, ArtifactsApi, VariablesApi, RunnersApi, GroupsApi, LintApi):
            routes(self)

    async def start(self) -> None:
        """Go on with the pipelines of an earlier process."""
        self._started = time.time()
        self.engine.resume()
        for number, note in self.store.pushes():
            self._tasks.spawn(self._create_late(number, note), f"pipeline for noted push {number}")
        self._tasks.spawn(self._watch(), "ci watch")

    async def stop(self) -> None:
        """Let go of the runners that wait."""
        self.stopping = True
        self.queue.changed()
        self.engine.stop()
        await self._tasks.cancel()

    def pipelines_of(self, project_id: int) -> list[dict[str, Any]]:
        """A project's pipelines in API form, newest first."""
        project = self.gitlab.projects.get(project_id)
        if project is None:
            return []
        return [self.present.pipeline(pipeline, project) for pipeline in self.store.pipelines_of(project_id)]

    def jobs_of(self, pipeline_id: int) -> list[dict[str, Any]]:
        """A pipeline's jobs in API form, in order of stages; retried ones included."""
        jobs = self.store.jobs_of(pipeline_id, retried=True)
        return [self.present.job(job, self.project(job)) for job in sorted(jobs, key=lambda j: (j.stage_index, j.id))]

    def trace(self, job_id: int) -> bytes:
        """What a job has printed; empty for an unknown one."""
        job = self.store.jobs.get(job_id)
        return self.store.trace(job) if job else b""

    def runners(self) -> list[dict[str, Any]]:
        """Every runner in API form."""
        return [self.present.runner(runner, self.projects_of(runner)) for runner in self.store.runners.values()]

    def projects_of(self, runner: Runner) -> list[Project]:
        """The projects that a project runner serves."""
        found = (self.gitlab.projects.get(project_id) for project_id in runner.project_ids)
        return [project for project in found if project]

    def project(self, job: Job) -> Project:
        """A job's project, which exists as long as the job does."""
        project = self.gitlab.projects.get(job.project_id)
        if project is None:
            raise LookupError(f"job {job.id} belongs to project {job.project_id}, which does not exist")
        return project

    def caller_of_job(self, token: str) -> Caller | None:
        """Who acts with this CI_JOB_TOKEN; None unless its job runs now (contracts C.7)."""
        job = self.store.job_by_token(token)
        if job is None or job.status not in ON_RUNNER:
            return None
        return Caller("job", job.user.get("username") or "", user_id=job.user.get("id"), project_id=job.project_id,
                      job_id=job.id)  # fmt: skip

    def user(self, caller: Caller) -> dict[str, Any]:
        """What pipelines and jobs keep of a caller."""
        user = self.gitlab.users.get(caller.user_id)
        if user is None:
            return {"id": caller.user_id, "username": caller.username, "name": caller.username, "email": ""}
        return {"id": user.id, "username": user.username, "name": user.name, "email": user.email}

    def protected(self, project: Project, ref: str, *, tag: bool) -> bool:
        """Whether a branch or tag is protected."""
        return not tag and self.gitlab.protected_branches.protects(project.id, ref)

    def may_run_on(self, caller: Caller, project: Project, branch: str) -> bool:
        """Whether the caller may run a pipeline on a protected branch: who may push or merge there may."""
        level = self.gitlab.access.level(caller, project)
        rules = self.gitlab.protected_branches
        return rules.may_push(project.id, branch, level) or rules.may_merge(project.id, branch, level)

    def renew_token(self, runner: Runner) -> dict[str, Any]:
        """Give the runner a new token; the old one is worth nothing from now on."""
        runner.token = f"glrt-{secrets.token_urlsafe(15)}"
        self.store.save(runner)
        return {"token": runner.token, "token_expires_at": None}

    async def hold_commit(self, project: Project, pipeline: Pipeline) -> None:
        """Make sure that the pipeline's own ref exists: it goes away when a pipeline ends, and a retry needs it."""
        async with self._locks[pipeline.id]:
            if pipeline.id not in self._held:
                arguments = ("update-ref", persistent_ref(pipeline), pipeline.sha)
                try:
                    await self.gitlab.repositories.git(project, *arguments)
                except GitError as error:
                    log.warning("pipeline %d: %s", pipeline.id, error)
                self._held.add(pipeline.id)

    def _release_commit(self, pipeline: Pipeline) -> None:
        if pipeline.status in FINISHED and not self.stopping:
            self._tasks.spawn(self._drop_ref(pipeline), f"drop ref of pipeline {pipeline.id}")

    async def _drop_ref(self, pipeline: Pipeline) -> None:
        project = self.gitlab.projects.get(pipeline.project_id)
        async with self._locks[pipeline.id]:
            if project and pipeline.status in FINISHED:
                self._held.discard(pipeline.id)
                try:
                    await self.gitlab.repositories.git(project, "update-ref", "-d", persistent_ref(pipeline))
                except GitError as error:
                    log.info("pipeline %d: %s", pipeline.id, error)
        self._locks.pop(pipeline.id, None)

    def _pushed(self, push: Push) -> None:
        """GitLab makes no pipeline for a removed ref, nor for what a job pushes (the loop guard, contracts C.7).

        Of one push only the first refs get one (`PIPELINES_PER_PUSH`).

        The push is noted first: a process that dies now makes the pipeline when it is back.
        """
        if push.after == ZERO_SHA or push.caller.kind == "job":
            return
        if push.position >= PIPELINES_PER_PUSH:
            log.info("no pipeline for %s: only the first %d refs of a push get one", push.ref, PIPELINES_PER_PUSH)
            return
        note = {
            "project": push.project.id,
            "ref": push.ref,
            "before": push.before,
            "after": push.after,
            "user": self.user(push.caller),
            "options": list(push.options),
        }
        number = self.store.note_push(note)
        self._tasks.spawn(self._create(push.project, number, note), f"pipeline for {push.ref} at {push.after[:8]}")

    async def _create_late(self, number: int, note: dict[str, Any]) -> None:
        """Make the pipeline of a push that an earlier process had no time for."""
        project = self.gitlab.projects.get(note["project"])
        made = any(p.sha == note["after"] and p.source == "push" for p in self.store.pipelines_of(note["project"]))
        if project is None or made:
            self.store.forget_push(number)
        else:
            await self._create(project, number, note)

    async def _create(self, project: Project, number: int, note: dict[str, Any]) -> None:
        ref, tag = note["ref"].split("/", 2)[2], not note["ref"].startswith("refs/heads/")
        repositories = self.gitlab.repositories
        async with self._locks[-project.id]:
            sha = await repositories.resolve(project, note["after"]) or note["after"]
            commit = await repositories.commit(project, sha) or {}
            skip = "ci.skip" in note["options"] or bool(SKIP.search(str(commit.get("message", ""))))
            request = Request(
                ref, tag, sha, "push", note["user"], note["before"], _option_variables(note["options"]), skip,
                protected=self.protected(project, ref, tag=tag),
            )  # fmt: skip
            try:
                pipeline = await self.creator.create(project, request)
                self._held.add(pipeline.id)
            except RefusedError as error:
                log.info("no pipeline for %s at %s: %s", ref, sha[:8], error)
            except Exception:
                self.store.forget_push(number)  # it would fail again at every start
                raise
            self.store.forget_push(number)

    async def _watch(self) -> None:
        """End what nobody looks after: jobs of vanished runners, jobs that no runner takes."""
        while True:
            await asyncio.sleep(_WATCH_EVERY)
            now = time.time()
            self.store.drop_expired(now)
            for job in self.store.alive():
                if job.status in ON_RUNNER:
                    self._check_silence(job, now)
                elif job.status == "pending" and job.queued_at:
                    waited = now - job.queued_at
                    fitting = any(self.queue.fits(runner, job) for runner in self.store.runners.values())
                    if waited > (PENDING_TOO_LONG if fitting else STUCK):
                        self.engine.finish(job, "failed", reason="stuck_or_timeout_failure")

    def _check_silence(self, job: Job, now: float) -> None:
        restarted = job.contacted_at < self._started
        silent = now - (self._started if restarted else job.contacted_at)
        if silent > (SILENT_AFTER_RESTART if restarted else SILENT):
            reason = "runner_system_failure" if restarted else "stuck_or_timeout_failure"
            self.engine.finish(job, "failed", reason=reason)

    def _shared_runners(self, project_id: int) -> bool:
        project = self.gitlab.projects.get(project_id)
        return project is not None and bool(project.data.get("shared_runners_enabled", True))

    def _groups_around(self, project: Project) -> list[int]:
        spaces = self.gitlab.namespaces.chain(project.data["namespace_id"])
        return [space.id for space in reversed(spaces) if space.kind == "group"]

    def _deploy_token(self, project_id: int) -> tuple[str, str] | None:
        """User and value of the token with the special name (contracts B.12)."""
        for token in self.gitlab.deploy_tokens.of(project_id):
            if token.name == "gitlab-deploy-token" and token.active and (value := getattr(token, "value", "")):
                return token.username, str(value)
        return None


def _option_variables(options: list[str]) -> list[dict[str, Any]]:
    """``git push -o ci.variable="K=V"``."""
    found = []
    for option in options:
        name, _, rest = option.partition("=")
        key, separator, value = rest.partition("=")
        if name == "ci.variable" and separator:
            found.append({"key": key, "value": value, "variable_type": "env_var"})
    return found
