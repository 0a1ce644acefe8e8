"""Pipelines, jobs and runners in API form (contracts B.15, B.16)."""

from __future__ import annotations

import time
from typing import Any

from lab.emulator.ci import status
from lab.emulator.ci.model import FINISHED, Job, Pipeline, Runner
from lab.emulator.ci.store import Store
from lab.emulator.gitlab.model import Project
from lab.emulator.gitlab.paging import iso
from lab.emulator.gitlab.users import Users

ONLINE_WINDOW, STALE_AFTER = 2 * 3600, 90 * 86400
_TEXTS = {
    "waiting_for_resource": "waiting", "success": "passed", "failed": "failed", "canceled": "canceled",
    "canceling": "canceling", "manual": "manual", "scheduled": "scheduled", "skipped": "skipped",
}  # fmt: skip


class Presenter:
    """Renders documents for the API."""

    def __init__(self, url: str, store: Store, users: Users) -> None:
        self._url = url
        self._store = store
        self._users = users

    def pipeline_row(self, pipeline: Pipeline, project: Project) -> dict[str, Any]:
        """A pipeline in lists and inside jobs."""
        return {
            "id": pipeline.id,
            "iid": pipeline.iid,
            "project_id": pipeline.project_id,
            "sha": pipeline.sha,
            "ref": pipeline.ref,
            "status": pipeline.status,
            "source": pipeline.source,
            "created_at": iso(pipeline.created_at),
            "updated_at": iso(pipeline.updated_at),
            "web_url": f"{self._url}/{project.path_with_namespace}/-/pipelines/{pipeline.id}",
            "name": pipeline.name,
        }

    def pipeline(self, pipeline: Pipeline, project: Project) -> dict[str, Any]:
        """A pipeline on its own."""
        start, end = pipeline.started_at, pipeline.finished_at
        return {
            **self.pipeline_row(pipeline, project),
            "before_sha": pipeline.before_sha,
            "tag": pipeline.tag,
            "yaml_errors": pipeline.yaml_errors,
            "failure_reason": pipeline.failure_reason,
            "user": self.user(pipeline.user),
            "started_at": _time(start),
            "finished_at": _time(end),
            "committed_at": None,
            "duration": int(end - start) if start and end else None,
            "queued_duration": int(start - pipeline.created_at) if start else None,
            "coverage": self._coverage(pipeline),
            "detailed_status": self._detailed(pipeline, project),
            "archived": False,
        }

    def _coverage(self, pipeline: Pipeline) -> str | None:
        """The mean of the jobs' coverage."""
        found = [job.coverage for job in self._store.jobs_of(pipeline.id) if job.coverage is not None]
        return f"{sum(found) / len(found):.2f}" if found else None

    def _detailed(self, pipeline: Pipeline, project: Project) -> dict[str, Any]:
        warned = pipeline.status == "success" and status.has_warnings(self._store.jobs_of(pipeline.id))
        text = "Warning" if warned else _TEXTS.get(pipeline.status, pipeline.status).capitalize()
        group = "success-with-warnings" if warned else pipeline.status.replace("_", "-")
        return {
            "icon": f"status_{'warning' if warned else pipeline.status}",
            "text": text,
            "label": "passed with warnings" if warned else _TEXTS.get(pipeline.status, pipeline.status),
            "group": group,
            "tooltip": _TEXTS.get(pipeline.status, pipeline.status),
            "has_details": True,
            "details_path": f"/{project.path_with_namespace}/-/pipelines/{pipeline.id}",
            "illustration": None,
            "favicon": f"/assets/ci_favicons/favicon_status_{pipeline.status}.png",
        }

    def commit_status(self, job: Job, project: Project) -> dict[str, Any]:
        """A job as a status of its commit, with ``stage``, which the API does not show."""
        shown = self.job(job, project)
        kept = (
            "id",
            "ref",
            "stage",
            "status",
            "name",
            "coverage",
            "allow_failure",
            "created_at",
            "started_at",
            "finished_at",
        )
        return {
            **{name: shown[name] for name in kept},
            "sha": self._store.pipelines[job.pipeline_id].sha,
            "pipeline_id": job.pipeline_id,
            "target_url": shown["web_url"],
            "description": None,
            "author": shown["user"],
        }

    def job(self, job: Job, project: Project) -> dict[str, Any]:
        """A job."""
        pipeline = self._store.pipelines[job.pipeline_id]
        runner = self._store.runners.get(job.runner_id or 0)
        end = job.finished_at or (time.time() if job.status not in FINISHED else None)
        archive = next((a for a in job.artifacts if a["file_type"] == "archive"), None)
        found: dict[str, Any] = {
            "id": job.id,
            "status": job.status,
            "stage": job.stage,
            "name": job.name,
            "ref": pipeline.ref,
            "tag": pipeline.tag,
            "coverage": job.coverage,
            "allow_failure": job.allow_failure,
            "created_at": iso(job.created_at),
            "started_at": _time(job.started_at),
            "finished_at": _time(job.finished_at),
            "erased_at": _time(job.erased_at),
            "duration": end - job.started_at if job.started_at and end else None,
            "queued_duration": (job.started_at or time.time()) - job.queued_at if job.queued_at else None,
            "user": self.user(job.user),
            "commit": {k: v for k, v in pipeline.commit.items() if k not in ("stats", "status")},
            "pipeline": self.pipeline_row(pipeline, project),
            "web_url": f"{self._url}/{project.path_with_namespace}/-/jobs/{job.id}",
            "project": {"ci_job_token_scope_enabled": False},
            "artifacts": self._artifacts(job),
            "runner": self.runner_row(runner) if runner else None,
            "runner_manager": self._manager(runner, job.system_id) if runner else None,
            "artifacts_expire_at": _time(job.artifacts_expire_at),
            "archived": False,
            "tag_list": job.tag_list,
        }
        if job.failure_reason:
            found["failure_reason"] = job.failure_reason
        if archive:
            found["artifacts_file"] = {"filename": archive["filename"], "size": archive["size"]}
        return found

    def _artifacts(self, job: Job) -> list[dict[str, Any]]:
        found = [
            {"file_type": a["file_type"], "size": a["size"], "filename": a["filename"], "file_format": a["file_format"]}
            for a in job.artifacts
        ]
        size = self._store.trace_size(job)
        if job.finished and size:
            found.append({"file_type": "trace", "size": size, "filename": "job.log", "file_format": None})
        return found

    def user(self, kept: dict[str, Any]) -> dict[str, Any] | None:
        """The user behind a pipeline or job, in brief."""
        user = self._users.get(kept.get("id"))
        return user.brief(self._url) if user else None

    def runner_row(self, runner: Runner) -> dict[str, Any]:
        """A runner in lists."""
        state = runner_status(runner)
        return {
            "id": runner.id,
            "description": runner.description,
            "ip_address": None,
            "active": not runner.paused,
            "paused": runner.paused,
            "is_shared": runner.runner_type == "instance_type",
            "runner_type": runner.runner_type,
            "name": "gitlab-runner" if runner.managers else None,
            "online": state == "online" if runner.contacted_at else None,
            "status": state,
            "job_execution_status": "running" if self._busy(runner) else "idle",
            "created_at": iso(runner.created_at),
            "created_by": self.user({"id": runner.created_by}),
        }

    def runner(self, runner: Runner, projects: list[Project]) -> dict[str, Any]:
        """A runner on its own."""
        latest = max(runner.managers.values(), key=lambda m: float(m["contacted_at"]), default={})
        rows = [{key: p.data.get(key) for key in ("id", "description", "name", "name_with_namespace", "path",
                                                  "path_with_namespace", "created_at")} for p in projects]  # fmt: skip
        return {
            **self.runner_row(runner),
            "tag_list": runner.tag_list,
            "run_untagged": runner.run_untagged,
            "locked": runner.locked,
            "maximum_timeout": runner.maximum_timeout,
            "access_level": runner.access_level,
            "version": latest.get("version"),
            "revision": latest.get("revision"),
            "platform": latest.get("platform"),
            "architecture": latest.get("architecture"),
            "contacted_at": _time(runner.contacted_at),
            "maintenance_note": runner.maintenance_note,
            "projects": rows,
            "groups": [],
        }

    def manager(self, runner: Runner, system_id: str) -> dict[str, Any]:
        """One machine that runs under a runner's token."""
        kept = runner.managers[system_id]
        recent = time.time() - kept["contacted_at"] < ONLINE_WINDOW
        return {
            "id": kept["id"],
            "system_id": system_id,
            "version": kept.get("version"),
            "revision": kept.get("revision"),
            "platform": kept.get("platform"),
            "architecture": kept.get("architecture"),
            "created_at": iso(kept["created_at"]),
            "contacted_at": iso(kept["contacted_at"]),
            "ip_address": kept.get("ip_address"),
            "status": "online" if recent else "offline",
            "job_execution_status": "running" if self._busy(runner, system_id) else "idle",
        }

    def _manager(self, runner: Runner, system_id: str | None) -> dict[str, Any] | None:
        return self.manager(runner, system_id) if system_id in runner.managers else None

    def _busy(self, runner: Runner, system_id: str | None = None) -> bool:
        return any(
            job.runner_id == runner.id and job.status == "running" and system_id in (None, job.system_id)
            for job in self._store.alive()
        )


def runner_status(runner: Runner) -> str:
    """``online``, ``offline``, ``stale`` or ``never_contacted`` (contracts B.15)."""
    if runner.contacted_at is None:
        return "never_contacted" if time.time() - runner.created_at < STALE_AFTER else "stale"
    age = time.time() - runner.contacted_at
    return "online" if age < ONLINE_WINDOW else "offline" if age < STALE_AFTER else "stale"


def _time(value: float | None) -> str | None:
    return None if value is None else iso(value)
