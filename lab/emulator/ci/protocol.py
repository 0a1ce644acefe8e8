"""The runner's side of the API: jobs are handed out, traces and artifacts come in (contracts C.1)."""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.emulator.ci import coverage
from lab.emulator.ci.model import ON_RUNNER, Job, Runner
from lab.emulator.ci.payload import payload
from lab.emulator.gitlab.model import ApiError
from lab.emulator.gitlab.parameters import Parameters

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci

LONG_POLL = 50.0
"""Seconds that a request for a job is held: Workhorse's apiCiLongPollingDuration."""
_UPDATE_INTERVAL = "3"
_FORBIDDEN = ApiError.message(403, "403 Forbidden")


class Protocol:
    """Routes that runners call."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        self._held: dict[int, float] = {}
        api = "/api/v4"
        routes = ci.gitlab.app.router
        routes.add_post(f"{api}/jobs/request", self.request_job)
        routes.add_put(f"{api}/jobs/{{job:\\d+}}", self.update_job)
        routes.add_patch(f"{api}/jobs/{{job:\\d+}}/trace", self.patch_trace)
        routes.add_post(f"{api}/runners/verify", self.verify)
        routes.add_post(f"{api}/runners/reset_authentication_token", self.reset_token)
        routes.add_delete(f"{api}/runners", self.unregister)
        routes.add_delete(f"{api}/runners/managers", self.unregister_manager)
        routes.add_get(f"{api}/runners/router/discovery", self.discovery)
        routes.add_post(f"{api}/runners", self.register)

    async def request_job(self, request: web.Request) -> web.StreamResponse:
        """Hand out a job; hold the request while the runner has seen everything there is."""
        body = await Parameters.of(request)
        runner = self._runner(request, body)
        self._contact(runner, body, request)
        queue = self._ci.queue
        deadline = asyncio.get_running_loop().time() + LONG_POLL
        last = body.text("last_update")
        while last == queue.value:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await queue.wait(left) or self._ci.stopping:
                return _nothing(last)
            if _gone(request):
                return _nothing(last)
            if (job := self._take(runner, body)) is not None:
                return await self._hand_out(runner, job)
            last = queue.value
        seen = queue.value
        job = None if _gone(request) else self._take(runner, body)
        return await self._hand_out(runner, job) if job else _nothing(seen)

    def _take(self, runner: Runner, body: Parameters) -> Job | None:
        """Give the next job to the runner, in one step of the loop: two runners never get the same one."""
        if runner.id not in self._ci.store.runners:
            raise _FORBIDDEN
        job = self._ci.queue.pick(runner)
        if job is None:
            return None
        project = self._ci.project(job)
        timeout = job.options.get("timeout") or int(project.data.get("build_timeout") or 3600)
        timeout = min(timeout, runner.maximum_timeout or timeout)
        graceful = bool(((body.get("info") or {}).get("features") or {}).get("cancel_gracefully"))
        self._ci.engine.begin(job, runner, body.text("system_id"), timeout=timeout, cancel_gracefully=graceful)
        return job

    async def _hand_out(self, runner: Runner, job: Job) -> web.Response:
        ci, project = self._ci, self._ci.project(job)
        pipeline = ci.store.pipelines[job.pipeline_id]
        await ci.hold_commit(project, pipeline)
        scope = ci.scope.of_job(project, pipeline, job, runner=runner)
        return web.json_response(payload(ci.gitlab.config, ci.store, project, job, scope), status=201)

    async def update_job(self, request: web.Request) -> web.StreamResponse:
        """``PUT jobs/:id``: the runner says how the job goes, or that it has ended."""
        body = await Parameters.of(request)
        job = self._job(request, body.text("token"))
        if isinstance(job, web.Response):
            return job
        state = body.text("state", "running")
        if state not in ("running", "success", "failed"):
            return web.json_response({"error": "state does not have a valid value"}, status=400)
        if state == "running":
            job.contacted_at = time.time()
            return _status(200, job)
        if not self._trace_complete(job, body.get("output") or {}):
            self._ci.store.truncate_trace(job)
            return _status(412, job)
        reason = body.text("failure_reason") or None
        job.coverage = coverage.found(self._ci.store.trace(job), job.options.get("coverage"))
        outcome = "canceled" if reason == "job_canceled" else state
        self._ci.engine.finish(job, outcome, reason=reason, exit_code=body.integer("exit_code"))
        return _status(200, job)

    def _trace_complete(self, job: Job, output: dict[str, Any]) -> bool:
        """Whether the stored trace is what the runner sent (CRC-32 and length); once per job it may be sent anew."""
        size, checksum = output.get("bytesize"), str(output.get("checksum") or "")
        if size is None or self._held.pop(job.id, None) is not None:
            return True
        trace = self._ci.store.trace(job)
        if len(trace) == int(size) and checksum in ("", f"crc32:{zlib.crc32(trace):08x}"):
            return True
        self._held[job.id] = time.time()
        return False

    async def patch_trace(self, request: web.Request) -> web.StreamResponse:
        """``PATCH jobs/:id/trace``: the next piece of the trace; 416 when it does not join the last one."""
        job = self._job(request, "")
        if isinstance(job, web.Response):
            return job
        content_range = request.headers.get("Content-Range")
        if content_range is None:
            raise ApiError(400, {"error": "400 Missing header Content-Range"})
        match = re.fullmatch(r"(\d+)-(-?\d+)", content_range.strip())
        if not match:
            raise ApiError(400, {"error": "400 Invalid header Content-Range"})
        data = await request.read()
        job.contacted_at = time.time()
        size = self._ci.store.trace_size(job)
        if int(match[1]) != size:
            return web.json_response(
                {"error": "416 Range Not Satisfiable"}, status=416,
                headers={"Range": f"0-{size}", "Job-Status": job.status},
            )  # fmt: skip
        size = self._ci.store.append_trace(job, data)
        return web.Response(
            status=202,
            text="202",
            headers={
                "Range": f"0-{size}",
                "Job-Status": job.status,
                "X-GitLab-Trace-Update-Interval": _UPDATE_INTERVAL,
            },
        )

    async def verify(self, request: web.Request) -> web.Response:
        """``POST runners/verify``: whether the token is worth something."""
        body = await Parameters.of(request)
        body.require("token")
        runner = self._runner(request, body)
        self._contact(runner, body, request)
        return web.json_response({"id": runner.id, "token": runner.token, "token_expires_at": None})

    async def reset_token(self, request: web.Request) -> web.Response:
        """A new token for the runner that presents the old one."""
        body = await Parameters.of(request)
        runner = self._runner(request, body)
        return web.json_response(self._ci.renew_token(runner), status=201)

    async def unregister(self, request: web.Request) -> web.Response:
        """``DELETE runners`` with the token."""
        body = await Parameters.of(request)
        self._ci.store.delete_runner(self._runner(request, body))
        self._ci.queue.changed()
        return web.Response(status=204)

    async def unregister_manager(self, request: web.Request) -> web.Response:
        """``DELETE runners/managers`` with token and system id."""
        body = await Parameters.of(request)
        runner = self._runner(request, body)
        body.require("system_id")
        if runner.managers.pop(body.text("system_id"), None) is None:
            raise ApiError.not_found("Runner manager")
        self._ci.store.save(runner)
        return web.Response(status=204)

    async def discovery(self, _request: web.Request) -> web.Response:
        """The job router is switched off."""
        return web.json_response({"message": "501 Not Implemented"}, status=501)

    async def register(self, _request: web.Request) -> web.Response:
        """Registration tokens are gone since GitLab 18; runners are made with ``POST /user/runners``."""
        raise ApiError.message(
            410, "410 Gone - Legacy registration workflow disabled: not emulated: registration tokens"
        )

    def _runner(self, request: web.Request, body: Parameters) -> Runner:
        token = body.text("token") or request.headers.get("RUNNER-TOKEN", "")
        runner = self._ci.store.runner_by_token(token)
        if runner is None:
            raise _FORBIDDEN
        return runner

    def _contact(self, runner: Runner, body: Parameters, request: web.Request) -> None:
        """Note that the runner is alive; stored when something is new or at most once in 40 seconds."""
        now, system_id = time.time(), body.text("system_id") or "legacy"
        info = body.get("info") or {}
        kept = runner.managers.get(system_id)
        fresh = kept is None or now - kept["contacted_at"] > 40 or kept.get("version") != info.get("version")
        if kept is None:
            kept = {"id": self._ci.store.next_id("ci_runner_manager"), "created_at": now, "contacted_at": now}
        names = ("version", "revision", "platform", "architecture", "executor")
        kept |= {name: info[name] for name in names if info.get(name)}
        kept |= {"contacted_at": now, "ip_address": request.remote}
        runner.managers[system_id], runner.contacted_at = kept, now
        if fresh:
            self._ci.store.save(runner)

    def _job(self, request: web.Request, body_token: str) -> Job | web.Response:
        """The job that a runner speaks of, or the refusal (with ``Job-Status``) when it does not run."""
        job = self._ci.store.jobs.get(int(request.match_info["job"]))
        token = request.headers.get("JOB-TOKEN") or body_token or request.query.get("token", "")
        if job is None or token != job.token:
            raise _FORBIDDEN
        if job.status not in ON_RUNNER:
            return web.json_response(
                {"message": "403 Forbidden - Job is not running"}, status=403, headers={"Job-Status": job.status}
            )
        return job


def _gone(request: web.Request) -> bool:
    """Whether the runner has hung up: a job given to it now would be lost."""
    return request.transport is None or request.transport.is_closing()


def _nothing(last_update: str) -> web.Response:
    return web.Response(status=204, headers={"X-GitLab-Last-Update": last_update})


def _status(code: int, job: Job) -> web.Response:
    return web.Response(
        status=code,
        text=str(code),
        headers={"Job-Status": job.status, "X-GitLab-Trace-Update-Interval": _UPDATE_INTERVAL},
    )
