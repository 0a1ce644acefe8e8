"""A healthy lab as two fake servers, with handles to break one link after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cluster_wire import Objects, kubeconfig
from wire import Wire, wire

from lab import argocd
from lab.model import Endpoints
from lab.settings import Settings
from lab.state import State
from lab.wiring import kube, tokens
from lab.wiring.context import Wiring

P = "/api/v4/projects/root%2Fhichat"
SHA, CONFIG = "a1" * 20, "c1" * 20
APP = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/hichat"
DEPLOYMENT = "/apis/apps/v1/namespaces/hichat/deployments/hichat"
POD = "/api/v1/namespaces/hichat/pods/hichat-1"
EVENTS = "/api/v1/namespaces/hichat/events"
HOOK_EVENTS = f"{P}/hooks/5/events"


@dataclass
class World:
    gitlab: Wire
    kube: Wire
    objects: Objects
    endpoints: Endpoints
    state: State
    settings: Settings = field(default_factory=Settings)
    removed: dict[str, bool] = field(default_factory=dict)

    def pipeline(self, status: str = "success", trace: str = "", sha: str = SHA) -> None:
        row = {"id": 7, "status": status, "sha": sha, "web_url": "http://x/7", "created_at": "2026-01-01T00:00:00.000Z"}
        failed = "failed" if status == "failed" else "success" if status == "success" else "running"
        jobs = [
            {"id": 1, "name": "build", "stage": "build", "status": failed, "started_at": "x", "web_url": "http://x/1",
             "finished_at": "2026-01-01T00:00:02.500Z", "tag_list": [], "allow_failure": False},
            {"id": 2, "name": "update-config", "stage": "update-config", "tag_list": [],
             "status": "success" if status == "success" else "created"},
        ]  # fmt: skip
        self.gitlab.on("GET", f"{P}/pipelines", (200, [row]))
        self.gitlab.on("GET", f"{P}/pipelines/7", (200, row))
        self.gitlab.on("GET", f"{P}/pipelines/7/jobs", (200, jobs))
        self.gitlab.on("GET", f"{P}/jobs/1/trace", (200, trace))
        self.gitlab.on("GET", f"{P}/jobs/2/trace", (200, trace))

    def delivery(self, status: str = "200", after: str = CONFIG, body: str = "") -> None:
        event = {"id": 9, "response_status": status, "response_body": body,
                 "request_data": {"object_kind": "push", "after": after}}  # fmt: skip
        self.gitlab.on("GET", HOOK_EVENTS, (200, [event] if status else []))

    def application(self, revision: str = CONFIG, sync: str = "Synced", health: str = "Healthy", **more: Any) -> None:
        operation = {"phase": "Succeeded", "syncResult": {"revision": revision}}
        status = {"sync": {"status": sync, "revision": revision}, "health": {"status": health},
                  "operationState": operation, "history": [{"revision": revision}], **more}  # fmt: skip
        self.objects.put(APP, {**argocd.application(self.endpoints, self.settings), "status": status})

    def workload(self, tag: str = SHA[:8], ready: bool = True, waiting: str = "", restarts: int = 0) -> None:
        containers = [{"name": "hichat", "image": f"gitlab.lab.test:5050/root/hichat:{tag}"}]
        count = 1 if ready else 0
        self.objects.put(DEPLOYMENT, {
            "kind": "Deployment", "metadata": {"name": "hichat", "generation": 2},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "hichat"}},
                     "template": {"spec": {"containers": containers}}},
            "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": count},
        })  # fmt: skip
        state = {"waiting": {"reason": waiting, "message": "why"}} if waiting else {"running": {}}
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:06Z"}
        self.objects.put(POD, {
            "kind": "Pod", "metadata": {"name": "hichat-1"}, "spec": {"containers": containers},
            "status": {"conditions": [condition],
                       "containerStatuses": [{"state": state, "restartCount": restarts, "image": "i"}]},
        })  # fmt: skip


@contextmanager
def world(folder: Path) -> Iterator[World]:
    with wire() as gitlab, wire() as kube:
        objects = Objects(kube)
        points = Endpoints(
            gitlab="http://gitlab.lab.test:8929", gitlab_route=gitlab.url, registry="gitlab.lab.test:5050",
            registry_route=gitlab.url, kubeconfig=kubeconfig(folder / "kubeconfig", kube.url),
            argocd="https://localhost:8443", webhook="https://argocd.lab.test/api/webhook", app=gitlab.url,
            root_token="glpat-root",
        )  # fmt: skip
        made = World(gitlab, kube, objects, points, State(folder / ".lab"))
        _healthy(made)
        yield made


def _healthy(made: World) -> None:
    gitlab = made.gitlab
    now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    realm = {"message": "unauthorized"}
    gitlab.on("GET", "/api/v4/version", (200, {"version": "19.3.0"}))
    gitlab.on("GET", "/v2/", (401, realm))
    gitlab.headers["/v2/"] = {
        "WWW-Authenticate": 'Bearer realm="http://gitlab.lab.test:8929/jwt/auth",service="container_registry"'
    }
    gitlab.on("GET", f"{P}/repository/branches/master", (200, {"commit": {"id": SHA}}))
    gitlab.on("GET", f"{P}/repository/branches/k8s-config", (200, {"commit": {"id": CONFIG}}))
    gitlab.on("GET", f"{P}/repository/commits/{SHA[:8]}", (200, {"id": SHA, "title": "feat: more"}))
    title = f"chore: update image to {SHA[:8]} [skip ci]"
    update = {"id": CONFIG, "title": title, "message": f"{title}\n\nSource-Commit: {SHA}\n",
              "committed_date": "2026-01-01T00:00:04.000+00:00"}  # fmt: skip
    commits = {"k8s-config": [update], SHA: [{"id": SHA, "title": "feat: more"}]}
    gitlab.on("GET", f"{P}/repository/commits", lambda request: (200, commits.get(request.query["ref_name"][0], [])))
    gitlab.on("GET", f"{P}/repository/files/k8s%2Fhichat.yaml/raw",
              (200, f'  - image: "gitlab.lab.test:5050/root/hichat:{SHA[:8]}"\n'))  # fmt: skip
    gitlab.on("GET", f"{P}/runners", (200, [{"id": 3, "paused": False}]))
    gitlab.on("GET", "/api/v4/runners/3", (200, {"id": 3, "contacted_at": now}))
    gitlab.on("GET", f"{P}/registry/repositories", (200, [{"id": 2, "name": ""}]))
    for tag in (SHA[:8], "master", "latest"):
        gitlab.on(
            "GET", f"{P}/registry/repositories/2/tags/{tag}", (200, {"name": tag, "digest": "sha256:" + "d" * 64})
        )
    gitlab.on("GET", f"{P}/hooks", (200, [{"id": 5, "url": made.endpoints.webhook, "alert_status": "executable",
                                           "push_events": True, "tag_push_events": False,
                                           "push_events_branch_filter": "k8s-config",
                                           "branch_filter_strategy": "wildcard",
                                           "enable_ssl_verification": False}]))  # fmt: skip
    gitlab.on("GET", "/health", (200, {"status": "ok"}))
    gitlab.on("GET", "/version", (200, SHA + "\n"))
    made.kube.on("GET", "/apis/networking.k8s.io/v1/namespaces/hichat/ingresses", (200, {"kind": "List", "items": []}))
    made.kube.on("GET", EVENTS, (200, {"kind": "List", "items": [
        {"type": "Warning", "reason": "BackOff", "message": "Back-off restarting failed container"}]}))  # fmt: skip
    made.kube.on("GET", f"{POD}/log", (200, "Traceback: boom\n"))
    _wired(made)
    made.pipeline()
    made.delivery()
    made.application()
    made.workload()


def _wired(made: World) -> None:
    """What `up` leaves in GitLab, in the cluster and in the lab's memory."""
    gitlab, state = made.gitlab, made.state
    for name, username, secret in (("config-branch-token", "lab-bot", "bot-value"), ("deploy-token", "d-1", "d-value")):
        state.put_secret(name, secret)
        state.put_fact(name, {"id": 1, "username": username})
    state.put_secret("webhook-secret", "w-value")
    state.put_fact("webhook", {"hook": 5, "secret": hashlib.sha256(b"w-value").hexdigest()[:16]})
    gitlab.on("GET", "/api/v4/application/settings", (200, {"allow_local_requests_from_web_hooks_and_services": True}))
    gitlab.on("GET", P, (200, {"id": 1, "container_registry_access_level": "enabled"}))
    for branch, level in (("master", 40), ("k8s-config", 30)):
        rule = {"name": branch, "push_access_levels": [{"access_level": level}]}
        gitlab.on("GET", f"{P}/protected_branches/{branch}", (200, rule))
    bot = {"id": 1, "name": tokens.BOT, "active": True, "access_level": 30, "scopes": ["write_repository"]}
    gitlab.on("GET", f"{P}/access_tokens", (200, [bot]))
    variable = {"key": tokens.VARIABLE, "value": "bot-value", "masked": True, "protected": True}
    gitlab.on("GET", f"{P}/variables/{tokens.VARIABLE}", (200, variable))
    deploy = {"id": 1, "name": tokens.DEPLOY, "scopes": ["read_registry", "read_repository"]}
    gitlab.on("GET", f"{P}/deploy_tokens", (200, [deploy]))
    gitlab.on("GET", "/root/hichat.git/info/refs", (200, "refs"))
    _cluster(made)


def _cluster(made: World) -> None:
    lab = Wiring(lambda: made.endpoints, made.settings, made.state, lambda _token: None)
    login = tokens.deploy_login(made.state)
    assert login
    wanted = [*kube._pull_secret(lab), argocd.repository(made.endpoints, made.settings, login.username, login.password)]
    for document in [*wanted, *argocd.server_settings(made.endpoints, "w-value")]:
        metadata = document["metadata"]
        plural = f"{document['kind'].lower()}s"
        made.objects.put(f"/api/v1/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}", document)
