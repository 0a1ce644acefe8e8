"""What a lab's systems say when something does not come: the evidence in which known causes are looked for.

Every function only reads, raises what its clients raise, and is meant for the ``diagnose`` of a wait.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from lab import argocd, pipeline, workload
from lab.causes import Evidence
from lab.cluster import POD, Cluster
from lab.doors import Doors
from lab.forge import Forge

Document = dict[str, Any]
_LINES = 300
"""How much of a job's log is looked at, from its end."""
_SILENT = 300.0
"""Seconds after which a runner counts as gone; GitLab itself says so after two hours only (contracts B.15)."""
_BODY = 400
_PROBES = 5
"""Failures of a probe before it counts."""


def of_pipeline(forge: Forge, number: int) -> list[Evidence]:
    """The logs of a pipeline's jobs that run or have failed, and why jobs wait for a runner."""
    row = forge.get(forge.at("pipelines", number))
    if row.get("yaml_errors"):
        return [Evidence("http", str(row["yaml_errors"]), ".gitlab-ci.yml")]
    jobs = forge.jobs(number)
    told = [job for job in jobs if job["status"] in ("running", "failed") and not job.get("allow_failure")]
    reasons = [Evidence("observation", f"{job['name']}: {job['failure_reason']}") for job in jobs if _reason(job)]
    return [*(_trace(forge, job) for job in told), *reasons, *_waiting(forge, jobs)]


def of_commit(forge: Forge, sha: str, branch: str) -> list[Evidence]:
    """`of_pipeline` for the newest pipeline of a commit."""
    row = pipeline.of_commit(forge, sha, branch)
    return of_pipeline(forge, int(row["id"])) if row else []


def of_runner(forge: Forge) -> list[Evidence]:
    """Whether any runner of the project has asked for jobs of late."""
    return [] if any(_alive(row) for row in _runners(forge)) else [_unmanned()]


def _trace(forge: Forge, job: Document) -> Evidence:
    text = pipeline.tail(forge.trace(job["id"]), _LINES)
    return Evidence("trace", text, f"job {job['name']}", final=job["status"] == "failed")


def _reason(job: Document) -> bool:
    return job["status"] == "failed" and bool(job.get("failure_reason"))


def _waiting(forge: Forge, jobs: list[Document]) -> list[Evidence]:
    """Why the first job that waits for a runner has none."""
    job = next((job for job in jobs if job["status"] == "pending"), None)
    if job is None:
        return []
    runners = [row for row in _runners(forge) if not row.get("paused")]
    wanted = set(job.get("tag_list") or [])
    takers = [row for row in runners if (wanted <= set(row.get("tag_list") or []) if wanted else row["run_untagged"])]
    if runners and not takers:
        words = f"wants tags {', '.join(sorted(wanted))}, which no runner has"
        words = words if wanted else "is untagged, and no runner takes untagged jobs"
        return [Evidence("observation", f"job {job['name']} {words}")]
    return [] if any(_alive(row) for row in takers) else [_unmanned()]


def _runners(forge: Forge) -> list[Document]:
    return [forge.get(f"/runners/{row['id']}") for row in forge.rows(forge.at("runners"))]


def _alive(row: Document) -> bool:
    if not row.get("contacted_at"):
        return False
    seen = datetime.fromisoformat(str(row["contacted_at"]).replace("Z", "+00:00"))
    return (datetime.now(timezone.utc) - seen).total_seconds() < _SILENT


def _unmanned() -> Evidence:
    return Evidence("observation", f"no runner has asked for jobs in the last {_SILENT:g} s")


def of_webhook(doors: Doors, sha: str | None = None) -> list[Evidence]:
    """The state of the webhook to Argo CD, its newest delivery (of the push to ``sha``), and whom that one matches."""
    forge = doors.forge
    row = next((row for row in forge.rows(forge.at("hooks")) if row["url"] == doors.endpoints.webhook), None)
    if row is None:
        return []
    found = []
    if str(row.get("alert_status", "executable")) != "executable":
        found.append(Evidence("hook", f"{row['alert_status']} until {row.get('disabled_until')}", f"hook {row['id']}"))
    event = next((event for event in forge.hook_events(row["id"]) if _is_push(event, sha)), None)
    if event is None:
        return found
    status, body = str(event.get("response_status")), str(event.get("response_body") or "")[:_BODY]
    if status == "200":
        app = argocd.find(doors.cluster, doors.settings)
        return [*found, *(_mismatch(event["request_data"], app["spec"]["source"]) if app else [])]
    return [*found, Evidence("hook", f"{status} {body}", f"hook {row['id']}")]


def _is_push(event: Document, sha: str | None) -> bool:
    data = event.get("request_data") or {}
    return data.get("object_kind") == "push" and sha in (None, data.get("after"))


def _mismatch(push: Document, source: Document) -> list[Evidence]:
    """Where a push that Argo CD took does not concern the Application (contracts F.5)."""
    pushed, read = str((push.get("project") or {}).get("web_url", "")), str(source.get("repoURL", ""))
    if pushed and _place(pushed) != _place(read):
        return [Evidence("observation", f"the push names {pushed}, the Application reads {read}")]
    branch = str(push.get("ref", "")).removeprefix("refs/heads/")
    follows = str(source.get("targetRevision") or "HEAD").removeprefix("refs/heads/")
    if follows == "HEAD":
        follows = str((push.get("project") or {}).get("default_branch", branch))
    if branch == follows:
        return []
    return [Evidence("observation", f"the push is to {branch}, the Application follows {follows}")]


def _place(url: str) -> str:
    """Host and path of a project's URL as Argo CD compares them: without scheme, user, port and ``.git``."""
    found = re.match(r"(?:\w+://)?(?:[\w.-]+@)?([^/:]+)(?::\d+)?[:/](.*?)(?:\.git)?$", url)
    return f"{found[1]}/{found[2]}".lower() if found else url


def of_sync(doors: Doors) -> list[Evidence]:
    """What Argo CD complains about."""
    app = argocd.find(doors.cluster, doors.settings)
    return [Evidence("application", "\n".join(argocd.conditions(app)), "Argo CD")] if app else []


def of_pods(doors: Doors) -> list[Evidence]:
    """What keeps the pods of the Deployment's present template from being ready; those of an older one are history."""
    deployment = doors.application.deployment()
    pods = doors.application.pods(deployment) if deployment else []
    pods = [pod for pod in pods if workload.images(pod) == workload.images(deployment or {})]
    return _unready(doors.cluster, doors.settings.project.namespace, pods)


def of_deployment(doors: Doors) -> list[Evidence]:
    """Everything from Argo CD to the pods."""
    return [*of_sync(doors), *of_pods(doors)]


def of_namespace(cluster: Cluster, namespace: str) -> list[Evidence]:
    """What keeps the pods of a namespace from being ready."""
    return _unready(cluster, namespace, cluster.select(POD, namespace))


def _unready(cluster: Cluster, namespace: str, pods: Sequence[Document]) -> list[Evidence]:
    """Why the containers of pods wait or have ended, why no node takes them, and the warnings about them."""
    found = []
    for pod in pods:
        if workload.ready(pod):
            continue
        name = pod["metadata"]["name"]
        warnings = [event for event in cluster.events(name, namespace) if _bad(event)]
        found += [Evidence("pod", _words(state), f"pod {name}") for state in _states(pod)]
        found += [Evidence("event", _words(event), f"pod {name}") for event in warnings]
    return found


def _bad(event: Document) -> bool:
    """Whether an event tells of trouble; a probe that fails a few times while a program starts does not."""
    often = event.get("reason") != "Unhealthy" or (event.get("count") or 1) >= _PROBES
    return event.get("type") == "Warning" and often


def _words(said: Document) -> str:
    return f"{said.get('reason', '')}: {said.get('message', '')}"


def _states(pod: Document) -> list[Document]:
    """The states of its containers that are not running, and the conditions that are not met."""
    states = [item.get(key) or {} for item in workload.containers(pod) for key in ("state", "lastState")]
    conditions = (pod.get("status") or {}).get("conditions") or []
    return [
        *(state[kind] for state in states for kind in ("waiting", "terminated") if state.get(kind)),
        *(condition for condition in conditions if condition.get("status") == "False"),
    ]
