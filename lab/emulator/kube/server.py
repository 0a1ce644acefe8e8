"""The Kubernetes API server: the store behind TLS, and the kubeconfig that leads to it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from lab.emulator import tls
from lab.emulator.component import Listener
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.kube import admission, networking
from lab.emulator.kube.objects import Object
from lab.emulator.kube.store import Store
from lab.emulator.kube.web.authentication import token_of
from lab.emulator.kube.web.routes import Routes
from lab.emulator.kube.web.subresources import PodLogs

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_NAMES = ("localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
          "kubernetes.default.svc.cluster.local", str(networking.NETWORK[1]))  # fmt: skip


class ApiServer:
    """Serves the store on ``config.kubernetes_port`` and writes ``kubeconfig`` into the data folder."""

    def __init__(self, config: Config, database: Database) -> None:
        self._config = config
        self._folder = config.data / "kubernetes"
        self._certificates = config.data / "tls"
        self.store = Store(database)
        token = token_of(self._folder / "token")
        self._token = token
        self.url = f"https://{_reachable(config.bind)}:{config.kubernetes_port}"
        address = f"{_reachable(config.bind)}:{config.kubernetes_port}"
        self._routes = Routes(self.store, token, address, config.kubernetes_version)
        self._listener: Listener | None = None

    @property
    def pod_logs(self) -> PodLogs | None:
        """Where logs come from; set by whoever runs the pods.

        Called as ``(namespace, pod, container, *, follow, previous, tail_lines, since_seconds, timestamps)``.
        """
        return self._routes.subresources.pod_logs

    @pod_logs.setter
    def pod_logs(self, source: PodLogs | None) -> None:
        self._routes.subresources.pod_logs = source

    async def start(self) -> None:
        """Make what every cluster has, listen, and write the kubeconfig; raises OSError when the port is taken."""
        names = tuple(dict.fromkeys((*_NAMES, self._config.bind, *self._config.names)))
        context = tls.server_context(self._certificates, names)
        self.store.root_certificate = tls.ca_path(self._certificates).read_text()
        self._furnish()
        self._listener = Listener(self._routes.app, self._config.bind, self._config.kubernetes_port, context)
        await self._listener.start()
        self._write_kubeconfig()

    async def stop(self) -> None:
        """End the watches and close the port."""
        self._routes.watches.end()
        if self._listener:
            await self._listener.stop()

    def _furnish(self) -> None:
        """The namespaces and the Service that the real server's bootstrap controllers make."""
        for name in _NAMESPACES:
            if self.store.find("", "namespaces", None, name) is None:
                self.store.create("", "namespaces", {"metadata": {"name": name}})
        for namespace in list(self.store.select("", "namespaces")):
            admission.furnish(self.store, namespace["metadata"]["name"])
        if self.store.find("", "services", "default", "kubernetes") is None:
            self.store.create("", "services", _kubernetes_service())
        for name in ("endpoints", "endpointslices"):
            self._endpoints(name)

    def _endpoints(self, plural: str) -> None:
        port = {"name": "https", "port": self._config.kubernetes_port, "protocol": "TCP"}
        address = _reachable(self._config.bind)
        meta = {"name": "kubernetes", "namespace": "default"}
        if plural == "endpoints":
            group = ""
            body: Object = {"metadata": meta, "subsets": [{"addresses": [{"ip": address}], "ports": [port]}]}
        else:
            labels = {"kubernetes.io/service-name": "kubernetes"}
            group = "discovery.k8s.io"
            listed = [{"addresses": [address], "conditions": {"ready": True}}]
            body = {"metadata": {**meta, "labels": labels}, "addressType": "IPv4", "endpoints": listed, "ports": [port]}
        if self.store.find(group, plural, "default", "kubernetes") is None:
            self.store.create(group, plural, body)
        else:
            self.store.update(group, plural, body)

    def _write_kubeconfig(self) -> None:
        path = self._config.data / "kubeconfig"
        authority = base64.b64encode(tls.ca_path(self._certificates).read_bytes()).decode()
        text = json.dumps(kubeconfig(self.url, authority, self._token), indent=2)
        _write_secret(path, text)


def _reachable(bind: str) -> str:
    return "127.0.0.1" if bind in ("0.0.0.0", "", "::") else bind  # noqa: S104 - compared, not bound


def kubeconfig(url: str, authority: str, token: str) -> Object:
    """A kubeconfig (JSON is YAML) with cluster, context and user ``lab``; ``authority`` is base64 of a PEM."""
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": "lab", "preferences": {},
        "clusters": [{"name": "lab", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "users": [{"name": "lab", "user": {"token": token}}],
    }  # fmt: skip


def _write_secret(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _kubernetes_service() -> Object:
    return {
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": str(networking.NETWORK[1]), "type": "ClusterIP",
                 "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]},
    }  # fmt: skip
