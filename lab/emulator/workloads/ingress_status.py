"""What the ingress controller writes on Ingresses, and the class that it serves."""

from __future__ import annotations

from lab.emulator.workloads.cluster import INGRESSES, Cluster
from lab.emulator.workloads.objects import terminating
from lab.emulator.workloads.routes import CLASS, is_ours

CLASSES = ("networking.k8s.io", "ingressclasses")


def ensure_class(cluster: Cluster) -> None:
    """Make k3s's ingress class, the default one."""
    if cluster.find(CLASSES, None, CLASS) is None:
        annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
        cluster.create(
            CLASSES,
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {"name": CLASS, "annotations": annotations},
                "spec": {"controller": "traefik.io/ingress-controller"},
            },
        )


class IngressStatus:
    """Says in the status where an Ingress is served, or in an event that it is not."""

    def __init__(self, cluster: Cluster, address: str, *, tls: bool = False) -> None:
        self._cluster = cluster
        self._address = address
        self._tls = tls

    def reconcile(self, namespace: str, name: str) -> None:
        """Bring one Ingress's status up to date."""
        ingress = self._cluster.find(INGRESSES, namespace, name)
        if ingress is None or terminating(ingress):
            return
        if not is_ours(ingress):
            wanted = ingress["spec"].get("ingressClassName") or "by annotation"
            text = f"not served: no controller for ingress class {wanted} (this cluster has {CLASS})"
            if not (ingress.get("status") or {}).get("loadBalancer"):
                self._cluster.event(ingress, "Warning", "NotServed", text, "ingress-controller")
            return
        if ingress["spec"].get("tls") and not self._tls and not (ingress.get("status") or {}).get("loadBalancer"):
            text = "not emulated: TLS; the rules are served over plain HTTP"
            self._cluster.event(ingress, "Warning", "NotEmulated", text, "ingress-controller")
        self._cluster.put_status(INGRESSES, ingress, {"loadBalancer": {"ingress": [{"ip": self._address}]}})
