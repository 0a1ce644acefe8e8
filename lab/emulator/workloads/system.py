"""The workloads of ``kube-system`` whose work the emulator does itself, under the names that k3s gives them.

Their pods are simulated. What the emulator does not do (DNS, metrics) has no workload here.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.emulator.workloads.cluster import DEPLOYMENTS, Cluster
from lab.emulator.workloads.objects import Obj

NAMESPACE = "kube-system"
IMAGES = {
    "local-path-provisioner": "rancher/local-path-provisioner:v0.0.31",
    "traefik": "rancher/mirrored-library-traefik:3.3.6",
}


def ensure(cluster: Cluster, images: Mapping[str, str]) -> None:
    """Make the workloads that are missing, once the namespace is there."""
    if cluster.find(("", "namespaces"), None, NAMESPACE) is None:
        return
    for name, image in images.items():
        if cluster.find(DEPLOYMENTS, NAMESPACE, name) is None:
            cluster.create(DEPLOYMENTS, _deployment(name, image))


def _deployment(name: str, image: str) -> Obj:
    labels = {"app.kubernetes.io/name": name}
    template = {
        "metadata": {"labels": labels, "annotations": {"emulator.lab/simulated": "true"}},
        "spec": {"containers": [{"name": name, "image": image}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
