"""Where everything is and how it is, in a few lines; and the one place that shows passwords."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lab import argocd, workload
from lab.cluster import SECRET
from lab.doors import Doors
from lab.errors import LabError
from lab.model import Endpoints
from lab.settings import Settings
from lab.state import State
from lab.waiting import Pending

_ADMIN_SECRET = "argocd-initial-admin-secret"  # noqa: S105 - a name


def rows(endpoints: Endpoints, settings: Settings, _state: State) -> list[tuple[str, str]]:
    """The project's pipeline, config branch, Application, pods and answer; a part that does not answer says so."""
    doors = Doors.open(endpoints, settings)
    asked: list[tuple[str, Callable[[Doors], str]]] = [
        ("Last pipeline", _pipeline),
        (f"Branch {settings.project.config_branch}", _config),
        ("Argo CD", _application),
        ("Pods", _pods),
        ("Application", _answer),
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        found = list(pool.map(lambda pair: _told(pair[1], doors), asked))
    return [(title, text) for (title, _), text in zip(asked, found, strict=True)]


def _told(ask: Callable[[Doors], str], doors: Doors) -> str:
    try:
        return ask(doors)
    except LabError as error:
        return error.problem


def _pipeline(doors: Doors) -> str:
    found = doors.forge.pipelines(ref=doors.settings.project.branch)
    return f"{found[0]['status']}, {found[0]['sha'][:8]}, {found[0]['web_url']}" if found else "none yet"


def _config(doors: Doors) -> str:
    branch = doors.forge.branch(doors.settings.project.config_branch)
    return f"{branch['commit']['id'][:8]} {branch['commit'].get('title', '')}" if branch else "does not exist yet"


def _application(doors: Doors) -> str:
    app = argocd.find(doors.cluster, doors.settings)
    return "; ".join([argocd.summary(app), *argocd.conditions(app)]) if app else "no Application yet"


def _pods(doors: Doors) -> str:
    deployment = doors.application.deployment()
    if deployment is None:
        return "no Deployment yet"
    lines = [f"{pod['metadata']['name']} {_pod(pod)}" for pod in doors.application.pods(deployment)]
    return "; ".join(lines) or "none"


def _pod(pod: workload.Document) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "is ending"
    return workload.trouble(pod) or ("Ready" if workload.ready(pod) else "not Ready")


def _answer(doors: Doors) -> str:
    seen = doors.application.answers()
    path = doors.settings.project.health
    return seen.observation if isinstance(seen, Pending) else f"{doors.endpoints.app}{path} answers {seen.status}"


def credentials(endpoints: Endpoints, settings: Settings, state: State) -> list[tuple[str, str]]:
    """Users with their passwords, and where the tokens lie."""
    doors = Doors.open(endpoints, settings)
    return [
        ("GitLab user", "root"),
        ("GitLab password", state.secret("root-password") or "not known to the lab"),
        ("GitLab token", endpoints.root_token),
        ("Argo CD user", "admin"),
        ("Argo CD password", _admin_password(doors)),
        ("Other secrets", f"{state.folder / 'secrets'} (one file each)"),
    ]


def _admin_password(doors: Doors) -> str:
    try:
        found = doors.cluster.get(SECRET, _ADMIN_SECRET, argocd.NAMESPACE)
    except LabError as error:
        return error.problem
    if not found or "password" not in (found.get("data") or {}):
        return "changed; its first value is no longer kept"
    return argocd.secret_value(found, "password")
