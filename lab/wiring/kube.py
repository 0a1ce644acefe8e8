"""What the cluster gets before the first sync: the namespace, the pull secret, Argo CD's login to the project."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from lab import argocd
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.wiring.context import Wiring
from lab.wiring.tokens import deploy_login

PULL_SECRET = "gitlab-registry"  # noqa: S105 - a name
Document = dict[str, Any]


def steps(lab: Wiring, after: tuple[str, ...]) -> list[Step]:
    """Namespace, pull secret (also on the namespace's default service account), repository secret."""
    namespace = lab.project.namespace
    return [
        _applied(
            lab, "namespace", f"Namespace {namespace}", lambda: [_namespace(namespace)], after,
            explain=f"kubectl create namespace {namespace}",
        ),
        _applied(
            lab, "pull-secret", f"Pull secret {PULL_SECRET} in {namespace}", lambda: _pull_secret(lab),
            ("namespace", "token.deploy"),
            explain=f"kubectl -n {namespace} create secret docker-registry {PULL_SECRET} --docker-server=$REGISTRY "
            f"--docker-username=... --docker-password=...\nkubectl -n {namespace} patch serviceaccount default "
            f"-p '{{\"imagePullSecrets\": [{{\"name\": \"{PULL_SECRET}\"}}]}}'",
        ),
        _applied(
            lab, "argocd.repository", "Argo CD's login to the project", lambda: _repository(lab),
            (*after, "token.deploy"), explain="kubectl apply --server-side -f k8s/argocd/repository.yaml",
        ),
    ]  # fmt: skip


def _applied(
    lab: Wiring, name: str, title: str, wanted: Callable[[], list[Document]], needs: tuple[str, ...], *, explain: str
) -> Step:
    """A step that is satisfied when the live objects hold what the wanted ones say."""

    def probe(_context: StepContext) -> Probe:
        for document in wanted():
            metadata, kind = document["metadata"], (document["apiVersion"], document["kind"])
            live = lab.cluster.get(kind, metadata["name"], metadata.get("namespace"))
            if live is None:
                return Needed(f"{kind[1]} {metadata['name']} does not exist")
            if found := argocd.difference(document, live):
                return Needed(f"{kind[1]} {metadata['name']}: {found}")
        return Satisfied("as wanted")

    def act(_context: StepContext) -> str:
        done = [lab.cluster.apply(document) for document in wanted()]
        return "applied " + ", ".join(f"{item['kind']} {item['metadata']['name']}" for item in done)

    return Step(name, title, probe, act, needs, explain)


def application_step(lab: Wiring) -> Step:
    """The Application."""
    return _applied(
        lab, "application", f"Application {lab.project.name}",
        lambda: [argocd.application(lab.endpoints, lab.settings)],
        ("pipeline", "pull-secret", "argocd.repository", "argocd.settings"),
        explain="kubectl apply --server-side -f k8s/argocd/application.yaml",
    )  # fmt: skip


def _namespace(name: str) -> Document:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _pull_secret(lab: Wiring) -> list[Document]:
    login = deploy_login(lab.state)
    assert login  # noqa: S101 - the step token.deploy came before
    auth = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    # The host with its port, letter for letter as in image names; without it pulls are anonymous (contracts H.61).
    entry = {"username": login.username, "password": login.password, "auth": auth}
    config = json.dumps({"auths": {lab.endpoints.registry: entry}}, sort_keys=True)
    metadata = {"namespace": lab.project.namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": PULL_SECRET, **metadata},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": base64.b64encode(config.encode()).decode()},
        },
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", **metadata},
            # For projects whose manifests name no pull secret; those of the sample do.
            "imagePullSecrets": [{"name": PULL_SECRET}],
        },
    ]


def _repository(lab: Wiring) -> list[Document]:
    login = deploy_login(lab.state)
    assert login  # noqa: S101 - the step token.deploy came before
    return [argocd.repository(lab.endpoints, lab.settings, login.username, login.password)]
