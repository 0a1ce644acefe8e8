"""What GitLab, Kubernetes, Argo CD and the engine say about themselves."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any

from lab import argocd, pipeline
from lab.cluster import DEPLOYMENT, EVENT, INGRESS, POD, Cluster
from lab.doors import Doors
from lab.engines.docker.inspecting import inspected
from lab.engines.docker.site import Site
from lab.errors import LabError
from lab.model import Check
from lab.support.parts import Texts
from lab.support.subject import Subject

Document = dict[str, Any]
_PIPELINES, _TRACED, _LINES = 10, 3, 1000
_PODS = 40
_SYSTEM = "kube-system"


def checks(subject: Subject) -> Texts:
    """What the engine says about its parts; where all of them answer, the checklist of `verify` as well."""
    health = subject.engine().health()
    yield "health.txt", _lines(health)
    if all(one.ok for one in health):  # otherwise each check would wait for the same answer that does not come
        yield "verify.txt", _lines(subject.checks())


def logs(subject: Subject) -> Texts:
    """The end of each log that the engine has."""
    for name, source in subject.engine().logs().items():
        try:
            text = "\n".join(itertools.islice(source(False, threading.Event()), _LINES))
        except LabError as error:
            text = str(error)
        yield f"{name}.log", text


def containers(subject: Subject) -> Texts:
    """Docker's view of the lab, where the lab runs on it."""
    if subject.engine().name == "docker":
        yield from inspected(Site(subject.settings(), subject.state, subject.environ))


def gitlab(subject: Subject) -> Texts:
    """The project with hooks and their deliveries, runners, pipelines, jobs and the end of their traces."""
    forge = _doors(subject).forge
    yield "version.json", _pretty(forge.get("/version"))
    yield "project.json", _pretty(forge.project())
    for name in ("hooks", "runners", "protected_branches", "access_tokens", "deploy_tokens"):
        yield f"{name}.json", _pretty(forge.rows(forge.at(name)))
    variables = forge.rows(forge.at("variables"))
    yield "variables.json", _pretty([{key: row[key] for key in row if key != "value"} for row in variables])
    for row in forge.rows(forge.at("hooks")):
        yield f"hook-{row['id']}-deliveries.json", _pretty(forge.hook_events(row["id"]))
    pipelines = forge.rows(forge.at("pipelines"), limit=_PIPELINES)
    yield "pipelines.json", _pretty(pipelines)
    for row in [row for row in pipelines if row["status"] != "skipped"][:_TRACED]:
        jobs = forge.jobs(row["id"])
        yield f"pipeline-{row['id']}-jobs.json", _pretty(jobs)
        for job in jobs:
            trace = pipeline.tail(forge.trace(job["id"]), _LINES) if job.get("started_at") else "not started"
            yield f"job-{job['id']}-{job['name']}.log", trace


def cluster(subject: Subject) -> Texts:
    """Nodes; deployments, ingresses, pods, events and logs of the lab's namespaces."""
    api, namespace = _doors(subject).cluster, subject.settings().project.namespace
    yield "nodes.json", _objects(api.select(("v1", "Node")))
    for place in (namespace, argocd.NAMESPACE, _SYSTEM):
        pods = api.select(POD, place)
        yield f"{place}/pods.json", _objects(pods)
        yield f"{place}/events.txt", "\n".join(map(_event, api.select(EVENT, place)))
        yield f"{place}/deployments.json", _objects(api.select(DEPLOYMENT, place))
        yield f"{place}/ingresses.json", _objects(api.select(INGRESS, place))
        for pod in pods[:_PODS]:
            yield from _pod_logs(api, pod["metadata"]["name"], place)


def application(subject: Subject) -> Texts:
    """Argo CD's Application with its conditions."""
    doors = _doors(subject)
    app = argocd.find(doors.cluster, doors.settings)
    if app is None:
        yield "application.txt", "There is no Application.\n"
        return
    yield "application.txt", "\n".join([argocd.summary(app), *argocd.conditions(app)]) + "\n"
    yield "application.json", _objects([app])


def _lines(checks: Sequence[Check]) -> str:
    words = {True: "ok", False: "failed", None: "unknown"}
    return "".join(f"{words[one.ok]:<8}{one.id:<22} {one.evidence}\n" for one in checks)


def _pod_logs(api: Cluster, pod: str, namespace: str) -> Texts:
    for name, previous in (("log", False), ("previous.log", True)):
        text = ""
        with contextlib.suppress(LabError):  # a pod that has gone meanwhile, or was never started
            text = api.logs(pod, namespace, tail=_LINES, previous=previous)
        if text:
            yield f"{namespace}/{pod}.{name}", text


def _doors(subject: Subject) -> Doors:
    return Doors.open(subject.engine().endpoints(), subject.settings())


def _event(event: Document) -> str:
    about = event.get("involvedObject") or {}
    when = event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or ""
    where = f"{about.get('kind')}/{about.get('name')}"
    return f"{when} {event.get('type')} {event.get('reason')} {where} {event.get('message')}"


def _objects(objects: list[Document]) -> str:
    """Without `managedFields`, which is long and says nothing that anybody asks for."""
    for document in objects:
        document.get("metadata", {}).pop("managedFields", None)
    return _pretty(objects)


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n"
