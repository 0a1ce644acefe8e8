"""k3s' deploy controller: applies ``/var/lib/rancher/k3s/server/manifests/*.yaml`` and applies them again on change.

``coredns.yaml`` is written at each start, as k3s does; k3d then rewrites it with ``NodeHosts``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml

from k3s_node.speech import say
from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.store import Store

FOLDER = Path("/var/lib/rancher/k3s/server/manifests")
_PERIOD = 1.0
"""Seconds between two looks at the folder; k3s watches it and looks every 15 s."""
_MANAGER = "deploy@k3s"

COREFILE = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
    forward . /etc/resolv.conf
}
import /etc/coredns/custom/*.server
"""


def _labels(name: str) -> dict[str, str]:
    return {"k8s-app": name, "kubernetes.io/name": "CoreDNS"}


def coredns() -> list[dict[str, Any]]:
    """What k3s installs for DNS, without ``NodeHosts``: the node controller and k3d fill that in."""
    name, labels = {"name": "coredns", "namespace": "kube-system"}, _labels("kube-dns")
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]  # fmt: skip
    container = {"name": "coredns", "image": "rancher/mirrored-coredns-coredns:1.14.4"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"Corefile": COREFILE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**name, "labels": labels}, "spec": {
            "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
            "template": {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": {"containers": [container]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {**name, "name": "kube-dns", "labels": labels},
         "spec": {"selector": {"k8s-app": "kube-dns"}, "clusterIP": "10.43.0.10", "ports": ports}},
    ]  # fmt: skip


def write(folder: Path = FOLDER) -> None:
    """Write k3s' own manifests."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "coredns.yaml").write_text(yaml.safe_dump_all(coredns(), sort_keys=False))


class Deployer:
    """Applies the folder's files."""

    def __init__(self, store: Store, folder: Path = FOLDER) -> None:
        self._store = store
        self._folder = folder
        self._seen: dict[Path, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Apply everything once, then watch."""
        self.look()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_PERIOD)
            self.look()

    def look(self) -> None:
        """Apply the files that are new or different."""
        for path in sorted(self._folder.rglob("*.yaml")):
            content = path.read_bytes()
            if self._seen.get(path) != content:
                self._seen[path] = content
                self._apply(path, content)

    def _apply(self, path: Path, content: bytes) -> None:
        try:
            for each in filter(None, yaml.safe_load_all(content)):
                self._put(each)
            say(f"Applied manifest at {str(path)!r}")
        except (yaml.YAMLError, StatusError, KeyError) as error:
            say(f"Failed to process config: failed to process {path}: {error}", "error")

    def _put(self, obj: dict[str, Any]) -> None:
        resource = self._store.resources.of_kind(str(obj.get("apiVersion")), str(obj.get("kind")))
        namespace = obj["metadata"].get("namespace") or "default"
        self._store.apply(obj, manager=_MANAGER, force=True, namespace=namespace if resource.namespaced else None)
