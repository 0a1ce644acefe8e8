"""What tells that a commit has come one hop further: T1 image, T2 config branch, T3 webhook, T4 sync, T5 answer.

Each look reads the systems once. "Not yet" is `Pending`; what can not come any more raises CheckFailed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lab import argocd, pipeline, workload
from lab.doors import Doors
from lab.errors import CheckFailed
from lab.waiting import Pending
from lab.wiring import hook

Document = dict[str, Any]
_RECENT = 120.0
"""Seconds since a pipeline began, after which a pod that does not answer is no longer on its way."""
_HISTORY = 50
"""How far back on the config branch a commit is looked for."""


@dataclass(frozen=True)
class Seen:
    """A hop that has come."""

    evidence: str
    at: float | None = None
    """When it came, in seconds since 1970, where a system says so."""
    what: str = ""
    """What the next hop needs: the SHA of the commit on the config branch."""


class Looks:
    """The looks at one lab."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._forge = doors.forge
        self._project = doors.settings.project

    def under_way(self, sha: str) -> bool:
        """Whether a commit's pipeline runs, or has succeeded a moment ago and its pod does not answer yet."""
        row = pipeline.of_commit(self._forge, sha, self._project.branch)
        if row is None:
            return False
        if row["status"] not in pipeline.ENDED:
            return True
        recent = time.time() - (pipeline.created(row) or 0) < _RECENT
        return row["status"] == "success" and recent and isinstance(self.answering(sha), Pending)

    def image(self, sha: str) -> Seen | Pending:
        """Whether the build stage succeeded and the registry has the three tags."""
        row = pipeline.of_commit(self._forge, sha, self._project.branch)
        if row is None:
            return Pending(f"no pipeline for {sha[:8]} yet")
        jobs = self._forge.jobs(row["id"])
        first = [job for job in jobs if jobs and job["stage"] == jobs[0]["stage"]]
        built = bool(first) and all(job["status"] == "success" for job in first)
        if not built:
            if row["status"] in pipeline.ENDED and row["status"] != "success":
                raise pipeline.failure(self._forge, row, jobs)
            return Pending(pipeline.stuck(jobs) or pipeline.progress(row, jobs))
        at = (
            max(pipeline.moment(job["finished_at"]) for job in first)
            if all(job.get("finished_at") for job in first)
            else None
        )
        names = pipeline.tags(sha, self._project.branch)
        if self._project.image:
            return Seen(f"pipeline {row['id']}, {self._project.image}:{names[0]}", at)
        missing = [name for name in names if self._forge.tag(name) is None]
        if missing:
            return Pending(f"the registry does not have {', '.join(missing)} yet")
        return Seen(f"pipeline {row['id']}, tags {', '.join(names)}", at)

    def config_commit(self, sha: str) -> Seen | Pending:
        """Whether the pipeline has committed the tag to the config branch; `Seen.what` is that commit."""
        row = pipeline.of_commit(
            self._forge, sha, self._project.branch
        )  # before the commits: success says they are there
        for commit in self._forge.commits(self._project.config_branch, _HISTORY):
            message = str(commit.get("message") or commit.get("title"))
            if f"Source-Commit: {sha}" in message or f"update image to {sha[:8]}" in message:
                if hook.is_proof(commit):
                    continue
                evidence = f"{commit['id'][:8]} {commit.get('title', '')}"
                return Seen(evidence, pipeline.moment(commit["committed_date"]), str(commit["id"]))
        if row is None:
            return Pending("the pipeline has gone")
        jobs = self._forge.jobs(row["id"])
        if row["status"] == "success":
            last = max(jobs, key=lambda job: int(job["id"]))
            raise CheckFailed(
                "LAB-FOLLOW-T2",
                f"Pipeline {row['id']} succeeded without a commit for {sha[:8]}.",
                evidence=pipeline.tail(self._forge.trace(last["id"]), 6),
            )
        if row["status"] in pipeline.ENDED:
            raise pipeline.failure(self._forge, row, jobs)
        return Pending(pipeline.progress(row, jobs))

    def woken(self, config: str) -> Seen | Pending:
        """Whether the webhook for that commit was accepted and Argo CD compares with it (or something newer)."""
        app = argocd.find(self._doors.cluster, self._doors.settings)
        if app is None:
            return Pending(f"there is no Application {self._project.name}")
        if config in argocd.deployed(app)[1:]:
            return Seen("Argo CD has deployed it before", _deployed_at(app, config))
        rows = self._forge.rows(self._forge.at("hooks"))
        row = next((row for row in rows if row["url"] == self._doors.endpoints.webhook), None)
        if row is None:
            raise CheckFailed(
                "LAB-HOOK-01", f"There is no webhook to {self._doors.endpoints.webhook}.", hint="invoke up"
            )
        event = hook.delivery(self._forge.hook_events(row["id"]), config)
        if event is None and argocd.revision(app) != config:
            return Pending(f"no delivery for {config[:8]} yet")
        if event and not hook.accepted(event):
            raise CheckFailed(
                "LAB-HOOK-02",
                f"The webhook for {config[:8]} was answered with {event.get('response_status')}.",
                evidence=str(event.get("response_body", ""))[:400],
                hint="GitLab never repeats a webhook: resend it on its page, or push again.",
            )
        if argocd.revision(app) != config and not self._overtaken(app, config):
            return Pending(f"delivered; Argo CD is still at {argocd.revision(app)[:8] or 'no revision'}")
        if event is None:
            return Seen("Argo CD refreshed; the delivery is no longer listed")
        return Seen("answered with 200, Argo CD refreshed", hook.sent_at(event))

    def _overtaken(self, app: Document, config: str) -> bool:
        """Whether Argo CD is at a commit that is newer than ``config``."""
        newer = [commit["id"] for commit in self._forge.commits(self._project.config_branch, _HISTORY)]
        return config in newer and argocd.revision(app) in newer[: newer.index(config)]

    def synced(self, config: str, sha: str) -> Seen | Pending:
        """Whether Argo CD has applied that commit and the Deployment carries the tag."""
        app = argocd.find(self._doors.cluster, self._doors.settings)
        if app is None:
            return Pending(f"there is no Application {self._project.name}")
        deployment = self._doors.application.deployment()
        if config in argocd.deployed(app) and deployment and workload.has_tag(deployment, sha[:8]):
            return Seen(f"{argocd.summary(app)}; Deployment has tag {sha[:8]}", _deployed_at(app, config))
        last = app.get("status", {}).get("operationState", {})
        if last.get("phase") in argocd.FAILED and last.get("syncResult", {}).get("revision") == config:
            raise CheckFailed("LAB-ARGO-01", "Argo CD could not sync it.", evidence="\n".join(argocd.conditions(app)))
        if self._overtaken(app, config) and argocd.revision(app) in argocd.deployed(app):
            tags = ", ".join(workload.images(deployment)) if deployment else "nothing"
            if deployment is None or not workload.has_tag(deployment, sha[:8]):
                raise CheckFailed(
                    "LAB-FOLLOW-02", f"A newer commit has overtaken {config[:8]} on {self._project.config_branch}.",
                    evidence=f"{argocd.summary(app)}; deployed: {tags}", hint="invoke follow with the newer commit.",
                )  # fmt: skip
            return Seen(f"{argocd.summary(app)}; Deployment has tag {sha[:8]}")
        return Pending("; ".join([argocd.summary(app), *argocd.conditions(app)]))

    def answering(self, sha: str) -> Seen | Pending:
        """Whether a Ready pod with the tag answers through the ingress."""
        pod = self._doors.application.rolled_out(sha[:8])
        if isinstance(pod, Pending):
            return pod
        answer = self._doors.application.answers()
        if isinstance(answer, Pending):
            return answer
        version = self._doors.application.version()
        if version is not None and version != sha:
            return Pending(f"/version still answers {version[:8]}")
        since = workload.ready_since(pod)
        evidence = f"{pod['metadata']['name']} Ready, {self._project.health} answers {answer.status}"
        return Seen(
            evidence + (f", /version {version[:8]}" if version else ""), pipeline.moment(since) if since else None
        )

    def pipeline_evidence(self, sha: str) -> list[str]:
        """What GitLab says about a commit's pipeline: its jobs, the end of the newest trace."""
        row = pipeline.of_commit(self._forge, sha, self._project.branch)
        if row is None:
            skipped = self._forge.rows(self._forge.at("pipelines"), limit=1, sha=sha)
            return ["GitLab skipped the pipeline ([skip ci])." if skipped else "GitLab has made no pipeline."]
        jobs = self._forge.jobs(row["id"])
        begun = [job for job in jobs if job.get("started_at")]
        return [pipeline.progress(row, jobs), *([pipeline.tail(self._forge.trace(begun[-1]["id"]))] if begun else [])]

    def argocd_evidence(self) -> list[str]:
        """What Argo CD says."""
        app = argocd.find(self._doors.cluster, self._doors.settings)
        return [argocd.summary(app), *argocd.conditions(app)] if app else ["There is no Application."]


def _deployed_at(app: Document, config: str) -> float | None:
    for item in app.get("status", {}).get("history") or []:
        if item.get("revision") == config and item.get("deployedAt"):
            return pipeline.moment(str(item["deployedAt"]))
    return None
