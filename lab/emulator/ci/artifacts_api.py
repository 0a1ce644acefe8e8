"""Artifacts: runners bring and fetch them, people download them (contracts C.1)."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import BodyPartReader, web

from lab.emulator.ci import durations
from lab.emulator.ci.model import Job
from lab.emulator.gitlab.model import DEVELOPER, REPORTER, ApiError, Project

if TYPE_CHECKING:
    from lab.emulator.ci.server import Ci

LARGEST = 100 * 1024**2
"""Bytes of one upload: the default of ``max_artifacts_size``."""
_DEFAULT_LIFE = 30 * 86400
_DOTENV = re.compile(r"\A\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)\Z")


class ArtifactsApi:
    """Routes for archives and reports."""

    def __init__(self, ci: Ci) -> None:
        self._ci = ci
        self._access = ci.gitlab.access
        jobs, base = "/api/v4/jobs/{job:\\d+}/artifacts", "/api/v4/projects/{id}/jobs"
        routes = ci.gitlab.app.router
        routes.add_post(jobs, self.upload)
        routes.add_get(jobs, self.fetch)
        routes.add_get(f"{base}/{{job:\\d+}}/artifacts", self.download)
        routes.add_get(f"{base}/{{job:\\d+}}/artifacts/{{path:.+}}", self.file)
        routes.add_delete(f"{base}/{{job:\\d+}}/artifacts", self.delete)
        routes.add_get(f"{base}/artifacts/{{ref:.+}}/download", self.latest)

    async def upload(self, request: web.Request) -> web.Response:
        """``POST jobs/:id/artifacts`` by the job's runner."""
        job = self._ci.store.jobs.get(int(request.match_info["job"]))
        token = request.headers.get("JOB-TOKEN") or request.query.get("token", "")
        if job is None or token != job.token or self._ci.caller_of_job(token) is None:
            raise ApiError.message(403, "403 Forbidden")
        kind = request.query.get("artifact_type", "archive")
        if not re.fullmatch(r"[a-z_]+", kind):
            raise ApiError(400, {"error": "artifact_type does not have a valid value"})
        target = self._ci.store.artifact_path(job, kind)
        name = await self._receive(request, target)
        entry = {
            "file_type": kind,
            "file_format": request.query.get("artifact_format", "zip"),
            "filename": name,
            "size": target.stat().st_size,
        }
        if kind == "dotenv":
            job.dotenv = _dotenv(gzip.decompress(target.read_bytes()).decode(errors="replace"))
        if kind == "archive":
            job.artifacts_expire_at = _expiry(request.query.get("expire_in"))
        job.artifacts = [*(a for a in job.artifacts if a["file_type"] != kind), entry]
        self._ci.store.save(job)
        return web.json_response({"message": "201 Created"}, status=201)

    @staticmethod
    async def _receive(request: web.Request, target: Path) -> str:
        """Store the multipart field ``file``; returns its name. Raises ApiError 400, 413."""
        reader = await request.multipart()
        partial = target.with_name(target.name + ".partial")
        partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader) or part.name != "file":
                continue
            size = 0
            with partial.open("wb") as file:
                while chunk := await part.read_chunk(1 << 16):
                    size += len(chunk)
                    if size > LARGEST:
                        raise ApiError.message(413, "413 Request Entity Too Large")
                    file.write(chunk)
            partial.replace(target)
            return part.filename or "artifacts.zip"
        raise ApiError(400, {"error": "file is missing"})

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """``GET jobs/:id/artifacts`` by a job's runner: a running job of the same project may have them."""
        job = self._ci.store.jobs.get(int(request.match_info["job"]))
        token = request.headers.get("JOB-TOKEN") or request.query.get("token", "")
        asking = self._ci.caller_of_job(token)
        if job is None or not (token == job.token or (asking and asking.project_id == job.project_id)):
            raise ApiError.message(403, "403 Forbidden")
        return self._archive(job)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """``GET projects/:id/jobs/:job/artifacts``."""
        return self._archive(self._one(request))

    async def file(self, request: web.Request) -> web.StreamResponse:
        """``GET projects/:id/jobs/:job/artifacts/*path``: one file of the archive."""
        path = self._path(self._one(request))
        body = await asyncio.to_thread(_member, path, request.match_info["path"])
        if body is None:
            raise ApiError.message(404, "404 Not Found")
        return web.Response(body=body, content_type="application/octet-stream")

    async def latest(self, request: web.Request) -> web.StreamResponse:
        """``GET projects/:id/jobs/artifacts/:ref/download?job=``: of the ref's newest successful pipeline."""
        _, project = self._access.project(request, REPORTER, job_token=True)
        name = request.query.get("job")
        if not name:
            raise ApiError(400, {"error": "job is missing"})
        for pipeline in self._ci.store.pipelines_of(project.id):
            if pipeline.ref == request.match_info["ref"] and pipeline.status == "success":
                job = next((j for j in self._ci.store.jobs_of(pipeline.id) if j.name == name), None)
                if job is not None:
                    return self._archive(job)
        raise ApiError.message(404, "404 Not Found")

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE projects/:id/jobs/:job/artifacts``."""
        _, project = self._access.project(request, DEVELOPER)
        job = self._job(request, project)
        self._ci.store.drop_artifacts(job)
        return web.Response(status=204)

    def _one(self, request: web.Request) -> Job:
        _, project = self._access.project(request, REPORTER, job_token=True)
        return self._job(request, project)

    def _job(self, request: web.Request, project: Project) -> Job:
        job = self._ci.store.jobs.get(int(request.match_info["job"]))
        if job is None or job.project_id != project.id:
            raise ApiError.message(404, "404 Not Found")
        return job

    def _path(self, job: Job) -> Path:
        path = self._ci.store.artifact_path(job, "archive")
        if not path.exists():
            raise ApiError.message(404, "404 Not Found")
        return path

    def _archive(self, job: Job) -> web.StreamResponse:
        path = self._path(job)
        name = next((a["filename"] for a in job.artifacts if a["file_type"] == "archive"), "artifacts.zip")
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Type": "application/octet-stream"}
        return web.FileResponse(path, headers=headers)


def _expiry(wanted: str | None) -> float | None:
    """When artifacts may go: ``never`` never, 30 days after now without a wish (the instance's default)."""
    if wanted == "never":
        return None
    length = durations.seconds(wanted) if wanted else None
    return time.time() + (_DEFAULT_LIFE if length is None else length)


def _member(archive: Path, name: str) -> bytes | None:
    with zipfile.ZipFile(archive) as packed:
        return packed.read(name) if name in packed.namelist() else None


def _dotenv(text: str) -> dict[str, str]:
    """``KEY=value`` lines; values lose one pair of quotes. Source: GitLab doc/ci/yaml/artifacts_reports.md, dotenv."""
    found = {}
    for line in text.splitlines():
        if match := _DOTENV.match(line):
            value = match[2].strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[match[1]] = value[1:-1] if quoted else value
    return found
