"""A cluster that the real k3d makes of stand-in images, on a network where a registry is called gitlab.lab.test."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml
from docker.models.containers import Container
from docker_lab import CACHE, Missing
from hub import Hub
from ports import free_ports
from standin_world import World, output, put
from standins import images

from lab.waiting import Pending, wait_until

REGISTRY = "gitlab.lab.test:5050"
K3S = "docker.io/rancher/k3s:v1.34.9-k3s1"


class K3dCluster:
    """Made by `create`, gone after `delete`."""

    def __init__(self, world: World, hub: Hub) -> None:
        self.world, self._hub = world, hub
        self.name = world.name.removeprefix("standin-")
        self.app_port, self.tls_port, self._api_port = free_ports(3)
        self.untold = ""
        """The same registry by its address, for which no mirror is configured."""
        self._k3d = shutil.which("k3d", path=f"{CACHE / 'bin'}:{os.environ['PATH']}")

    def create(self, folder: Path) -> None:
        """Start the registry and the cluster.

        Raises:
            Missing: there is no k3d.
        """
        proxy = {"REGISTRY_HTTP_ADDR": "0.0.0.0:5050", "REGISTRY_PROXY_REMOTEURL": f"http://{self._hub.address}"}
        registry = self.world.run("docker.io/library/registry:2.8.3", alias="gitlab.lab.test", environment=proxy)
        registry.reload()
        self.untold = f"{registry.attrs['NetworkSettings']['Networks'][self.world.name]['IPAddress']}:5050"
        config = folder / "k3d.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        self._run("cluster", "create", "--config", str(config))

    def delete(self) -> None:
        """Remove the cluster."""
        self._run("cluster", "delete", self.name)

    def load(self, image: str) -> None:
        """Import an image of the engine."""
        self._run("image", "import", image, "--cluster", self.name, "--mode", "tools-node")

    def _run(self, *arguments: str) -> None:
        if self._k3d is None:
            raise Missing(f"no k3d in {CACHE / 'bin'} or on the PATH; run .ci/engine")
        environ = {
            **os.environ,
            "LOG_COLORS": "false",
            "K3D_IMAGE_LOADBALANCER": self._image("ghcr.io/k3d-io/k3d-proxy:5.9.0"),
            "K3D_IMAGE_TOOLS": self._image("ghcr.io/k3d-io/k3d-tools:5.9.0"),
        }
        command = [self._k3d, *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _image(self, upstream: str) -> str:
        stand_in = images.standing_in_for(upstream)
        images.ensure(self.world.client, stand_in)
        return stand_in.tag

    def _config(self) -> dict[str, Any]:
        own = f"http://{self._hub.address}"
        mirrors = {name: {"endpoint": [own]} for name in ("docker.io", "quay.io", "public.ecr.aws")}
        mirrors[REGISTRY] = {"endpoint": [f"http://{REGISTRY}"]}
        loopback = {f"127.0.0.1:{self.app_port}:80", f"127.0.0.1:{self.tls_port}:443"}
        return {
            "apiVersion": "k3d.io/v1alpha5", "kind": "Simple", "metadata": {"name": self.name},
            "servers": 1, "agents": 1, "image": self._image(K3S), "network": self.world.name,
            "kubeAPI": {"host": "127.0.0.1", "hostIP": "127.0.0.1", "hostPort": str(self._api_port)},
            "ports": [{"port": each, "nodeFilters": ["loadbalancer"]} for each in loopback],
            "registries": {"config": yaml.safe_dump({"mirrors": mirrors})},
            "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["alias.lab.test"]}],
            "options": {
                "k3d": {"wait": True, "timeout": "120s"},
                "kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False},
            },
        }  # fmt: skip

    @property
    def server(self) -> Container:
        """The server's container."""
        return self.world.client.containers.get(f"k3d-{self.name}-server-0")

    def kubectl(self, *arguments: str) -> str:
        """Run the node's kubectl; answers what it prints."""
        code, text = output(self.server, "kubectl", *arguments)
        if code:
            text += output(
                self.server, "kubectl", "get", "events", "--all-namespaces", "--field-selector=type!=Normal"
            )[1]
        assert code == 0, text
        return text

    def apply(self, *documents: dict[str, Any], text: str = "", namespace: str = "") -> None:
        """Apply manifests, server-side."""
        path = "/tmp/documents.yaml"
        put(self.server, path, text or yaml.safe_dump_all(documents))
        place = ("--namespace", namespace) if namespace else ()
        self.kubectl("apply", "--server-side", "--force-conflicts", *place, "-f", path)

    def until(self, wanted: str, *arguments: str, timeout: float = 60) -> str:
        """Wait until kubectl prints ``wanted``."""

        def look() -> str | Pending:
            text = output(self.server, "kubectl", *arguments)[1]
            return text if wanted in text else Pending(text[-1500:])

        return wait_until(f"{wanted!r} from kubectl {' '.join(arguments)}", look, timeout=timeout)

    def address(self, name: str) -> str:
        """What the cluster's DNS says of a name."""
        return output(self.server, "nslookup", name, "10.43.0.10")[1]

    def get(self, path: str, host: str = "localhost") -> tuple[int, str]:
        """Status and content of a request to the load balancer, without TLS; redirects are not followed."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.app_port}{path}", headers={"Host": host})
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def get_with_tls(self, path: str) -> str:
        """What the load balancer's TLS port answers to a client on the network, by name."""
        return output(self.server, "curl", "-sk", f"https://k3d-{self.name}-serverlb{path}")[1]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None
