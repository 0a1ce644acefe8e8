"""Argo CD through its custom resources: what the lab applies, and what an Application says about a revision.

The documents come from k8s/argocd/, which is what a learner reads; `status` means what contracts F.6 says it means.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml

from lab import assets
from lab.cluster import APPLICATION, Cluster
from lab.model import Endpoints
from lab.settings import Settings
from lab.waiting import Pending

Document = dict[str, Any]

NAMESPACE = "argocd"
EXCLUDE = "{argocd-application.yaml,argocd-application.yml,k3d*}"
"""Files in the manifests' folder that are for the person at the keyboard, not for the cluster."""
FAILED = ("Failed", "Error")
"""Phases of an operation that Argo CD does not repeat by itself for the same revision."""


def repo_url(endpoints: Endpoints, settings: Settings) -> str:
    """The project's URL, the same letters in the Application and in the repository secret (contracts F.3, F.5)."""
    return f"{endpoints.gitlab}/{settings.project.path}.git"


def application(endpoints: Endpoints, settings: Settings) -> Document:
    """The Application that keeps the namespace as the config branch says."""
    project = settings.project
    return documents(
        "k8s/argocd/application.yaml",
        name=project.name,
        namespace=project.namespace,
        repo_url=repo_url(endpoints, settings),
        config_branch=project.config_branch,
        path=project.manifests,
        exclude=EXCLUDE,
    )[0]


def repository(endpoints: Endpoints, settings: Settings, username: str, password: str) -> Document:
    """The secret that Argo CD logs in to the project with."""
    return documents(
        "k8s/argocd/repository.yaml",
        name=settings.project.name,
        repo_url=repo_url(endpoints, settings),
        username=username,
        password=password,
    )[0]


def server_settings(endpoints: Endpoints, webhook_secret: str) -> list[Document]:
    """The lab's keys of argocd-cm and argocd-secret."""
    return documents("k8s/argocd/settings.yaml", argocd_url=endpoints.argocd, webhook_secret=webhook_secret)


def documents(relative: str, **values: str) -> list[Document]:
    """The rendered documents of a file, with ``stringData`` turned into the ``data`` that the server will show."""
    found = []
    for document in yaml.safe_load_all(assets.render(relative, **values)):
        plain = document.pop("stringData", None)
        if plain:
            encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in plain.items()}
            document["data"] = {**document.get("data", {}), **encoded}
        found.append(document)
    return found


def difference(wanted: Any, live: Any, path: str = "") -> str | None:
    """The first place where ``live`` lacks what ``wanted`` says, or None; more in ``live`` is fine.

    Values are never shown: they may be secrets.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return f"{path or 'the object'} is missing"
        for key, value in wanted.items():
            found = difference(value, live.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
        return None
    if wanted == live:
        return None
    return f"{path} is missing" if live is None else f"{path} differs"


def find(cluster: Cluster, settings: Settings) -> Document | None:
    """The Application, or None."""
    return cluster.get(APPLICATION, settings.project.name, NAMESPACE)


def revision(app: Document) -> str:
    """The last revision Argo CD compared with: full SHA, or ""."""
    return str(app.get("status", {}).get("sync", {}).get("revision") or "")


def deployed(app: Document) -> list[str]:
    """The revisions that were synced, newest first."""
    status = app.get("status", {})
    shas = [str(item.get("revision")) for item in reversed(status.get("history") or [])]
    last = status.get("operationState", {})
    if last.get("phase") == "Succeeded":
        shas.insert(0, str(last.get("syncResult", {}).get("revision")))
    return list(dict.fromkeys(shas))


def conditions(app: Document) -> list[str]:
    """What Argo CD complains about, one line each."""
    found = [f"{item.get('type')}: {item.get('message')}" for item in app.get("status", {}).get("conditions") or []]
    last = app.get("status", {}).get("operationState", {})
    if last.get("phase") in FAILED:
        found.append(f"last sync {last['phase']}: {last.get('message')}")
    return found


def summary(app: Document) -> str:
    """Sync, health and revision in one line."""
    status = app.get("status", {})
    sync, health = status.get("sync", {}).get("status", "Unknown"), status.get("health", {}).get("status", "Unknown")
    return f"{sync}, {health}, revision {revision(app)[:8] or 'none'}"


def synced(app: Document | None, sha: str) -> Document | Pending:
    """The Application once it is Synced to exactly ``sha`` and its last operation succeeded."""
    if app is None:
        return Pending("there is no Application")
    status = app.get("status", {})
    # A phase that is absent means that the operation was only just requested (contracts F.7).
    phase = status.get("operationState", {}).get("phase")
    if revision(app) == sha and status.get("sync", {}).get("status") == "Synced" and phase == "Succeeded":
        return app
    return Pending("; ".join([summary(app), *conditions(app)]))


def healthy(app: Document | None) -> Document | Pending:
    """The Application once its health is Healthy."""
    if app is None:
        return Pending("there is no Application")
    if app.get("status", {}).get("health", {}).get("status") == "Healthy":
        return app
    unwell = [
        f"{item.get('kind')} {item.get('name')} {item['health'].get('status')}: {item['health'].get('message', '')}"
        for item in app.get("status", {}).get("resources") or []
        if (item.get("health") or {}).get("status") not in (None, "Healthy")
    ]
    return Pending("; ".join([summary(app), *unwell]))


def nudge(cluster: Cluster, app: Document, sha: str) -> None:
    """Make Argo CD look again, or sync again after a failure: it tries each revision once by itself (contracts F.7)."""
    name, status = app["metadata"]["name"], app.get("status", {})
    if status.get("operationState", {}).get("phase") in FAILED and not app.get("operation") and revision(app) == sha:
        operation = {"initiatedBy": {"username": "lab"}, "sync": {"revision": sha, "prune": True}}
        cluster.patch(APPLICATION, name, NAMESPACE, {"operation": operation, "status": {"operationState": None}})
    elif revision(app) != sha:
        refresh = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        cluster.patch(APPLICATION, name, NAMESPACE, refresh)


def secret_value(secret: Document, key: str) -> str:
    """A Secret's value in plain text, or ""."""
    return base64.b64decode((secret.get("data") or {}).get(key, "")).decode(errors="replace")
