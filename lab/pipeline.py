"""A pipeline as the loop needs it: found by commit, followed to its end, explained when it fails."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from lab.errors import CheckFailed
from lab.forge import Forge
from lab.waiting import Pending

Document = dict[str, Any]

ENDED = ("success", "failed", "canceled", "skipped")
"""Every other status, also one this version does not know, counts as still running (contracts B.16)."""
_MARKS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|section_(?:start|end):\d+:[^\r\n]*\r?|\r")


def of_commit(forge: Forge, sha: str, branch: str) -> Document | None:
    """The newest pipeline of a commit on a branch that is not ``skipped``, or None."""
    found = forge.pipelines(sha=sha, ref=branch)
    return found[0] if found else None


def ended(forge: Forge, pipeline: int) -> list[Document] | Pending:
    """A pipeline's jobs once it succeeded.

    Raises:
        CheckFailed: it failed or was cancelled; the evidence is the end of the failed job's trace.
    """
    row = forge.get(forge.at("pipelines", pipeline))
    if row["status"] == "success":
        return forge.jobs(pipeline)
    jobs = forge.jobs(pipeline)
    if row["status"] in ENDED:
        raise failure(forge, row, jobs)
    return Pending(progress(row, jobs))


def progress(row: Document, jobs: list[Document]) -> str:
    """Where a pipeline stands, in one line."""
    states = ", ".join(f"{job['name']} {job['status']}" for job in jobs if job["status"] != "created")
    return f"pipeline {row['id']} {row['status']}" + (f" ({states})" if states else "")


def failure(forge: Forge, row: Document, jobs: list[Document]) -> CheckFailed:
    """Why a pipeline did not succeed, with the end of the trace that says so."""
    if not jobs and "yaml_errors" not in row:
        row = forge.get(forge.at("pipelines", row["id"]))  # lists of pipelines do not carry the errors
    if row.get("yaml_errors"):
        return CheckFailed(
            "LAB-PIPE-03", "GitLab does not accept .gitlab-ci.yml.", evidence=str(row["yaml_errors"]),
            hint="Mend the file, commit and push.",
        )  # fmt: skip
    failed = next((job for job in jobs if job["status"] == "failed" and not job.get("allow_failure")), None)
    if failed is None:
        return CheckFailed(
            "LAB-PIPE-02", f"Pipeline {row['id']} was {row['status']}.", evidence=row.get("web_url", ""),
            hint="invoke logs pipeline",
        )  # fmt: skip
    reason = failed.get("failure_reason") or "failed"
    return CheckFailed(
        "LAB-PIPE-01",
        f"Job {failed['name']} of pipeline {row['id']} failed ({reason}).",
        evidence=tail(forge.trace(failed["id"])),
        hint=f"The whole trace: {failed.get('web_url', '')}. Mend it, commit and push.",
    )


def stuck(jobs: list[Document]) -> str | None:
    """Why nothing runs although jobs wait, or None."""
    waiting = [job for job in jobs if job["status"] == "pending"]
    if waiting and not any(job["status"] == "running" for job in jobs):
        tags = ", ".join(waiting[0].get("tag_list") or []) or "no tag"
        return f"job {waiting[0]['name']} ({tags}) waits for a runner"
    return None


def tail(trace: str, lines: int = 15) -> str:
    """The end of a trace, without colours and section marks."""
    clean = [line.rstrip() for line in _MARKS.sub("", trace).splitlines()]
    return "\n".join([line for line in clean if line][-lines:])


def tags(sha: str, branch: str) -> tuple[str, str, str]:
    """The three tags of a commit's image: commit (8 characters, not git's 7), branch as a slug, ``latest``."""
    slug = re.sub(r"[^a-z0-9]", "-", branch.lower())[:63].strip("-")
    return sha[:8], slug, "latest"


def moment(text: str) -> float:
    """Seconds since 1970 of a time as GitLab and Kubernetes print it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def created(row: Document) -> float | None:
    """When a pipeline was made, in seconds since 1970."""
    text = row.get("created_at")
    return moment(str(text)) if text else None


def lost_its_runner(jobs: list[Document]) -> bool:
    """Whether a pipeline failed because its runner ended, and not for anything that its commit says."""
    failed = [job for job in jobs if job["status"] == "failed" and not job.get("allow_failure")]
    return bool(failed) and all(job.get("failure_reason") == "runner_system_failure" for job in failed)
