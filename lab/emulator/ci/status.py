"""How jobs move a pipeline: composite status, and which created jobs may go on.

Sources: GitLab lib/gitlab/ci/status/composite.rb, app/services/ci/pipeline_processing/atomic_processing_service.rb,
app/services/ci/process_build_service.rb.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.emulator.ci.model import FINISHED, Job

_ACCEPTED = {
    "on_success": ("success", "skipped"),
    "on_failure": ("failed",),
    "always": ("success", "failed", "skipped"),
    "manual": ("success", "skipped"),
    "delayed": ("success", "skipped"),
}


def composite(jobs: Iterable[Job], *, needs: bool = False) -> str | None:
    """Status of a group of jobs; None for no jobs.

    ``needs`` marks the jobs that another one needs: there a skipped job makes the group skipped.
    """
    found = {_effective(job) for job in jobs}
    if not found:
        return None
    if needs and "skipped" in found:
        return "skipped"
    weak = {"skipped", "warning", "ignored"}
    if found <= {"skipped", "ignored"}:
        return "skipped"
    if found <= weak | {"success"}:
        return "success"
    if found <= {"created", "warning", "ignored"}:
        return "created"
    if found <= weak | {"canceled", "success"}:
        return "canceled"
    if "canceling" in found:
        return "canceling"
    if found <= weak | {"pending", "created"}:
        return "pending"
    for status in ("running", "pending"):
        if status in found:
            return "running"
    for status in ("waiting_for_resource", "manual", "scheduled", "preparing"):
        if status in found:
            return status
    return "running" if "created" in found else "failed"


def has_warnings(jobs: Iterable[Job]) -> bool:
    """Whether a job failed that was allowed to."""
    return any(_effective(job) == "warning" for job in jobs)


def _effective(job: Job) -> str:
    if job.allow_failure and job.status in ("failed", "canceled"):
        return "warning"
    if job.allow_failure and job.status == "manual":
        return "ignored"
    return job.status


def ready(jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """The created jobs whose turn has come, each with ``start``, ``manual``, ``delay`` or ``skip``.

    ``jobs`` are a pipeline's jobs without the retried ones.
    """
    decisions = []
    for job in jobs:
        if job.status != "created":
            continue
        before = _before(job, jobs)
        if before in FINISHED:
            decisions.append((job, _action(job, before)))
    return decisions


def _before(job: Job, jobs: Sequence[Job]) -> str | None:
    """Status of what the job waits for; success when there is nothing."""
    if job.needs is not None:
        names = {str(need["job"]) for need in job.needs}
        return composite((j for j in jobs if base_name(j) in names or j.name in names), needs=True) or "success"
    return composite(j for j in jobs if j.stage_index < job.stage_index) or "success"


def base_name(job: Job) -> str:
    """The name in the configuration; ``build 1/3`` is ``build``."""
    suffix = f" {job.parallel_index}/{job.parallel_total}"
    return job.name.removesuffix(suffix) if job.parallel_total else job.name


def _action(job: Job, before: str) -> str:
    accepted = _ACCEPTED[job.when]
    if job.needs and job.when == "on_success":
        accepted = ("success",)
    if before not in accepted:
        return "skip"
    return {"manual": "manual", "delayed": "delay"}.get(job.when, "start")
