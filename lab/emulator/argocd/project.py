"""What an AppProject permits (contracts F.8), and whether an Application's spec makes sense."""

from __future__ import annotations

import re
from typing import Any

from lab.emulator.argocd.matching import normalized_url
from lab.emulator.argocd.objects import Key

IN_CLUSTER = "https://kubernetes.default.svc"
IN_CLUSTER_NAME = "in-cluster"


def spec_errors(app: dict[str, Any], project: dict[str, Any] | None) -> list[str]:
    """Why the Application cannot be reconciled, as messages of InvalidSpecError; empty when it can.

    Source: controller refreshAppConditions, util/argo ValidatePermissions.
    """
    spec = app.get("spec") or {}
    name = spec.get("project") or "default"
    if project is None:
        return [f"Application referencing project {name} which does not exist"]
    if problem := _unsupported(spec, project.get("spec") or {}):
        return [problem]
    source, destination = spec.get("source") or {}, spec.get("destination") or {}
    if not source.get("repoURL") or not (source.get("path") or source.get("chart")):
        return ["spec.source.repoURL and either spec.source.path or spec.source.chart are required"]
    found = []
    if not _source_permitted(project, source["repoURL"]):
        found.append(f"application repo {source['repoURL']} is not permitted in project '{name}'")
    if problem := _destination_problem(destination):
        return [*found, problem]
    namespace = destination.get("namespace") or ""
    if not destination_permitted(project, namespace):
        server = destination.get("name") or destination.get("server")
        found.append(
            f"application destination server '{server}' and namespace '{namespace}' "
            f"do not match any of the allowed destinations in project '{name}'"
        )
    return found


def _unsupported(spec: dict[str, Any], project: dict[str, Any]) -> str:
    for key in ("sources", "sourceHydrator"):
        if spec.get(key):
            return f"not emulated: spec.{key}; use one spec.source"
    for key in ("syncWindows", "signatureKeys", "sourceIntegrity"):
        if project.get(key):
            return f"not emulated: {key} of project {spec.get('project') or 'default'}"
    return ""


def _destination_problem(destination: dict[str, Any]) -> str:
    name, server = destination.get("name"), str(destination.get("server") or "").rstrip("/")
    if name and server:
        return f"application destination can't have both name and server defined: {name} {server}"
    if not name and not server:
        return "Destination server missing from app spec"
    if name and name != IN_CLUSTER_NAME:
        return f"there are no clusters with this name: {name}"
    if server and server != IN_CLUSTER:
        return (
            f'error getting cluster by server "{server}": '
            f'rpc error: code = NotFound desc = cluster "{server}" not found'
        )
    return ""


def resource_problem(project: dict[str, Any], key: Key, *, namespaced: bool) -> str:
    """Why the project does not let an object be synced; empty when it does."""
    spec = project.get("spec") or {}
    name = (project.get("metadata") or {}).get("name")
    if namespaced:
        allowed, denied = spec.get("namespaceResourceWhitelist"), spec.get("namespaceResourceBlacklist")
        permitted = (allowed is None or _listed(allowed, key)) and not _listed(denied, key)
    else:
        permitted = _listed(spec.get("clusterResourceWhitelist"), key)
        permitted = permitted and not _listed(spec.get("clusterResourceBlacklist"), key)
    if not permitted:
        return f"resource {key.group}:{key.kind} is not permitted in project {name}"
    if namespaced and not destination_permitted(project, key.namespace):
        return f"namespace {key.namespace} is not permitted in project '{name}'"
    return ""


def destination_permitted(project: dict[str, Any], namespace: str) -> bool:
    """Whether the project allows the cluster and ``namespace``; a pattern that begins with ``!`` forbids."""
    permitted = False
    for entry in (project.get("spec") or {}).get("destinations") or []:
        server, wanted = str(entry.get("server") or ""), str(entry.get("namespace") or "")
        here = _glob(server.removeprefix("!"), IN_CLUSTER) or _glob(str(entry.get("name") or ""), IN_CLUSTER_NAME)
        inside = _glob(wanted.removeprefix("!"), namespace)
        denies = server.startswith("!") or wanted.startswith("!")
        if denies and here and inside:
            return False
        permitted = permitted or (not denies and here and inside)
    return permitted


def _source_permitted(project: dict[str, Any], url: str) -> bool:
    """Upstream normalises both sides and lets ``*`` stop at a slash, but a sole ``*`` means everything."""
    permitted = False
    for pattern in (project.get("spec") or {}).get("sourceRepos") or []:
        text = str(pattern)
        matching = _glob(normalized_url(text.removeprefix("!")), normalized_url(url))
        if text.startswith("!") and matching:
            return False
        permitted = permitted or (matching and not text.startswith("!"))
    return permitted


def _listed(entries: list[dict[str, Any]] | None, key: Key) -> bool:
    return any(
        _glob(str(entry.get("group") or ""), key.group)
        and _glob(str(entry.get("kind") or ""), key.kind)
        and (not entry.get("name") or _glob(str(entry["name"]), key.name))
        for entry in entries or []
    )


def _glob(pattern: str, text: str) -> bool:
    if pattern == "*":
        return True
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(wild.get(part, re.escape(part)) for part in parts), text) is not None
