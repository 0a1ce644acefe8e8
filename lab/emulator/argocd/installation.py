"""What Argo CD's install.yaml and its first start leave in namespace argocd (contracts F.1, F.2)."""

from __future__ import annotations

import secrets
from typing import Any

from lab.emulator.argocd.cluster import NAMESPACE, Cluster, encoded
from lab.emulator.argocd.definitions import DEFINITIONS

VERSION = "v3.5.1"
_PART_OF = {"app.kubernetes.io/part-of": "argocd"}


def install(cluster: Cluster) -> None:
    """Create what is missing; what is there stays as it is."""
    for definition in DEFINITIONS:
        cluster.ensure(definition)
    cluster.ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.ensure(
        _config_map("argocd-cm", {"resource.customizations.ignoreResourceUpdates.all": "jsonPointers:\n  - /status\n"})
    )
    # Health stands inside the Application, as contracts F.6 shows it; upstream keeps it outside since 3.0.
    cluster.ensure(_config_map("argocd-cmd-params-cm", {"controller.resource.health.persist": "true"}))
    cluster.ensure(_config_map("argocd-rbac-cm", {}))
    cluster.ensure(secret("argocd-secret", {"server.secretkey": secrets.token_urlsafe(32)}))
    cluster.ensure(secret("argocd-initial-admin-secret", {"password": secrets.token_urlsafe(12)}))
    cluster.ensure(secret("argocd-redis", {"auth": secrets.token_urlsafe(12)}))
    cluster.ensure(default_project())
    for name, kind in _WORKLOADS.items():
        cluster.ensure(_workload(name, kind))


_WORKLOADS = {
    "argocd-server": "Deployment",
    "argocd-repo-server": "Deployment",
    "argocd-redis": "Deployment",
    "argocd-application-controller": "StatefulSet",
}


def _workload(name: str, kind: str) -> dict[str, Any]:
    """A workload of install.yaml for ``kubectl get pods``; its pods are simulated, the emulator does their work."""
    labels = {"app.kubernetes.io/name": name}
    image = f"quay.io/argoproj/argocd:{VERSION}" if name != "argocd-redis" else "public.ecr.aws/docker/library/redis"
    template = {
        "metadata": {"labels": labels, "annotations": {"emulator.lab/simulated": "true"}},
        "spec": {"containers": [{"name": name.removeprefix("argocd-"), "image": image}]},
    }
    spec: dict[str, Any] = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": _meta(name), "spec": spec}


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": {**_PART_OF, "app.kubernetes.io/name": name}}


def _config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(name), **({"data": data} if data else {})}


def secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    """A Secret of Argo CD's, from plain text."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _meta(name), "type": "Opaque", "data": encoded(data)}


def default_project() -> dict[str, Any]:
    """The project that Argo CD makes when it starts; it permits everything."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        },
    }
