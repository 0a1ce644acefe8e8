"""REST: jobs, their traces and what a person may do with them (contracts B.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from lab.emulator.ci.model import Job
from lab.emulator.ci.pipelines_api import in_scope
from lab.emulator.gitlab.model import DEVELOPER, MAINTAINER, REPORTER, ApiError, Project
from lab.emulator.gitlab.paging import page
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci


class JobsApi:
    """Routes under ``/projects/:id/jobs``, and ``GET /job`` for a job that asks about itself."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        self._access = ci.gitlab.access
        base = "/api/v4/projects/{id}/jobs"
        one = f"{base}/{{job:\\d+}}"
        routes = ci.gitlab.app.router
        routes.add_get(base, self.index)
        routes.add_get(one, self.get)
        routes.add_get(f"{one}/trace", self.trace)
        routes.add_post(f"{one}/retry", self.retry)
        routes.add_post(f"{one}/cancel", self.cancel)
        routes.add_post(f"{one}/play", self.play)
        routes.add_post(f"{one}/erase", self.erase)
        routes.add_get("/api/v4/projects/{id}/repository/commits/{sha}/statuses", self.statuses)
        routes.add_get("/api/v4/job", self.own)

    async def index(self, request: web.Request) -> web.Response:
        """``GET jobs``, newest first."""
        _, project = self._access.project(request, REPORTER)
        jobs = [job for job in self._ci.store.jobs.values() if job.project_id == project.id and not job.retried]
        rows = sorted(in_scope(jobs, request), key=lambda job: job.id, reverse=True)
        return page(request, rows, lambda found: self._ci.present.job(found, project))

    async def statuses(self, request: web.Request) -> web.Response:
        """``GET repository/commits/:sha/statuses``: the commit's jobs, of each name the latest unless ``all``."""
        _, project = self._access.project(request, REPORTER)
        sha = await self._ci.gitlab.repositories.resolve(project, request.match_info["sha"])
        if sha is None:
            raise ApiError.not_found("Commit")
        jobs = sorted((j for j in self._ci.store.jobs.values() if j.project_id == project.id), key=lambda j: j.id)
        rows = [self._ci.present.commit_status(job, project) for job in jobs if self._sha_of(job) == sha]
        for name in ("ref", "stage", "name", "pipeline_id"):
            if name in request.query:
                rows = [row for row in rows if str(row[name]) == request.query[name]]
        if request.query.get("all") != "true":
            rows = list({(row["ref"], row["name"]): row for row in rows}.values())
        return page(request, rows, lambda row: {key: value for key, value in row.items() if key != "stage"})

    def _sha_of(self, job: Job) -> str:
        return self._ci.store.pipelines[job.pipeline_id].sha

    async def get(self, request: web.Request) -> web.Response:
        """``GET jobs/:id``."""
        _, project = self._access.project(request, REPORTER)
        return self._shown(self._one(request, project), project)

    async def trace(self, request: web.Request) -> web.Response:
        """``GET jobs/:id/trace``: plain text with ANSI sequences and section marks."""
        _, project = self._access.project(request, REPORTER)
        body = self._ci.store.trace(self._one(request, project))
        return web.Response(body=body, content_type="text/plain", charset="utf-8")

    async def retry(self, request: web.Request) -> web.Response:
        """``POST jobs/:id/retry``: the new job."""
        caller, project = self._access.project(request, DEVELOPER)
        job = self._one(request, project)
        if job.retried or job.status not in ("success", "failed", "canceled"):
            raise ApiError.message(403, "403 Forbidden - Job is not retryable")
        return self._shown(self._ci.engine.retry(job, self._ci.user(caller)), project, 201)

    async def cancel(self, request: web.Request) -> web.Response:
        """``POST jobs/:id/cancel``; ``force=true`` does not wait for the runner (maintainer)."""
        caller, project = self._access.project(request, DEVELOPER)
        body = await Parameters.of(request)
        force = body.boolean("force")
        if force:
            self._access.require(caller, project, MAINTAINER)
        job = self._one(request, project)
        self._ci.engine.cancel(job, force=force)
        return self._shown(job, project, 201)

    async def play(self, request: web.Request) -> web.Response:
        """``POST jobs/:id/play``: start a manual or delayed job."""
        caller, project = self._access.project(request, DEVELOPER)
        job = self._one(request, project)
        body = await Parameters.of(request)
        if job.status not in ("manual", "scheduled"):
            raise ApiError.message(400, "400 Bad request - Unplayable Job")
        rows = body.get("job_variables_attributes") or []
        variables = [{"key": str(row["key"]), "value": str(row.get("value", ""))} for row in rows if "key" in row]
        return self._shown(self._ci.engine.play(job, self._ci.user(caller), variables), project)

    async def erase(self, request: web.Request) -> web.Response:
        """``POST jobs/:id/erase``: trace and artifacts go."""
        _, project = self._access.project(request, MAINTAINER)
        job = self._one(request, project)
        if not job.finished or job.erased_at:
            raise ApiError.message(403, "403 Forbidden - Job is not erasable!")
        self._ci.engine.erase(job)
        return self._shown(job, project, 201)

    async def own(self, request: web.Request) -> web.Response:
        """``GET /job`` with a job's token."""
        caller = self._access.api(request, job_token=True)
        job = self._ci.store.jobs.get(caller.job_id or 0)
        if job is None:
            raise ApiError.not_found("Job")
        return self._shown(job, self._ci.project(job))

    def _one(self, request: web.Request, project: Project) -> Job:
        job = self._ci.store.jobs.get(int(request.match_info["job"]))
        if job is None or job.project_id != project.id:
            raise ApiError.message(404, "404 Not Found")
        return job

    def _shown(self, job: Job, project: Project, status: int = 200) -> web.Response:
        return web.json_response(self._ci.present.job(job, project), status=status)
