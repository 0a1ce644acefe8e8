"""``k3s server``: puts the emulator's Kubernetes and the node's own parts together and runs them until SIGTERM."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import signal
import socket
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from k3s_node import manifests, system
from k3s_node.arguments import VERSION
from k3s_node.containers import Containers, resolv_conf
from k3s_node.dns import ClusterDns, PodResolver
from k3s_node.network import GATEWAY, Network
from k3s_node.registries import Registries
from k3s_node.speech import say
from k3s_node.unpack import unpack
from lab.emulator import tls
from lab.emulator.argocd.deployed import DeployedArgoCd
from lab.emulator.argocd.git import Git
from lab.emulator.config import Config
from lab.emulator.database import Database
from lab.emulator.images import pull
from lab.emulator.kube.server import ApiServer
from lab.emulator.kube.web.authentication import token_of
from lab.emulator.workloads.platform import Machine
from lab.emulator.workloads.server import Workloads

DATA = Path("/var/lib/rancher/k3s/server/emulator")
IMAGES = DATA / "images"
KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
ARGOCD_PORT = 8079
"""Known to the programs of the argocd stand-in."""
_NAMES = ("kubernetes", "kubernetes.default", "localhost", "127.0.0.1", "10.43.0.1", GATEWAY)


class Part(Protocol):
    """Something with a life."""

    async def stop(self) -> None:
        """End it."""


class _Session:
    """A client session as a part."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.stop = session.close


def address() -> str:
    """The node's own address on its container network."""
    return socket.gethostbyname(socket.gethostname())


def configuration(arguments: Namespace) -> Config:
    """The emulator's settings on a node."""
    names = (*_NAMES, socket.gethostname(), address(), *arguments.tls_san)
    return Config(
        data=DATA, bind="0.0.0.0", registry="", kubernetes_port=6443, app_port=80, ingress_tls_port=443,
        components=("kubernetes",), names=tuple(dict.fromkeys(names)), kubernetes_version=VERSION,
    )  # fmt: skip


def write_kubeconfig(config: Config) -> None:
    """The kubeconfig in the form that k3d looks for: everything is called ``default``."""
    authority = base64.b64encode(tls.ca_path(config.data / "tls").read_bytes()).decode()
    token = token_of(config.data / "kubernetes" / "token")
    document: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Config", "current-context": "default", "preferences": {},
        "clusters": [{"name": "default", "cluster": {
            "server": "https://127.0.0.1:6443", "certificate-authority-data": authority}}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
        "users": [{"name": "default", "user": {"token": token}}],
    }  # fmt: skip
    for path in filter(None, (KUBECONFIG, os.environ.get("K3S_KUBECONFIG_OUTPUT"))):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(document, indent=2))
        Path(path).chmod(0o600)


async def run(arguments: Namespace) -> None:
    """Serve until told to stop; raises OSError or ValueError when the node cannot start."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    say(f"Starting k3s {VERSION}")
    config = configuration(arguments)
    registries = Registries.read(default=not arguments.disable_default_registry_endpoint)
    registries.keep()
    _token(config, arguments.token)
    database = Database(config.data / "emulator.sqlite3")
    _log_pulls()
    network = Network()
    network.start()
    _pod_files()
    started: list[Part] = []
    try:
        await _start(config, database, network, registries, started)
        await stopping.wait()
    finally:
        for each in reversed(started):
            await each.stop()
        database.close()


def _log_pulls() -> None:
    """Every endpoint's own error goes to containerd's log, and only there."""
    path = Path("/var/lib/rancher/k3s/agent/containerd/containerd.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("lab.emulator.images")
    logger.addHandler(logging.FileHandler(path))
    logger.setLevel(logging.INFO)


def _token(config: Config, token: str) -> None:
    """Make the administrator's token one that agents know as well, unless there is one already."""
    path = config.data / "kubernetes" / "token"
    if token and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(derived(token))


def derived(token: str) -> str:
    """The API's token that belongs to a cluster's join token."""
    return hashlib.sha256(f"agent {token}".encode()).hexdigest()


def _pod_files() -> None:
    """What ``pod-git`` shows git in place of the node's own files."""
    folder = Path("/run/k3s")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pod-resolv.conf").write_text(resolv_conf("argocd"))
    (folder / "pod-hosts").write_text("127.0.0.1\tlocalhost\n")


async def _start(
    config: Config, database: Database, network: Network, registries: Registries, started: list[Part]
) -> None:
    api = ApiServer(config, database)
    started.append(api)
    await api.start()
    write_kubeconfig(config)
    say("Running kube-apiserver")
    machine = Machine(socket.gethostname(), address(), VERSION, f"K3s {VERSION}", "containerd://2.1.5-k3s1")
    puller = partial(pull, endpoints=registries.endpoints, unpack=unpack)
    parts = system.System(api.store)
    workloads = Workloads(config, api, pull=puller, platform=Containers(machine, network, parts.serves))
    started.append(workloads)
    await workloads.start()
    manifests.write()
    deployer = manifests.Deployer(api.store)
    started.append(deployer)
    deployer.start()
    session = aiohttp.ClientSession()
    started.append(_Session(session))
    started.append(parts)
    parts.start(machine, lambda image: puller(session, image, lambda _: None, IMAGES))
    dns = ClusterDns(api.store, lambda: parts.serves(system.DNS))
    started.append(dns)
    await dns.start()
    for protocol in ("udp", "tcp"):
        network.publish("10.43.0.10", 53, 53, protocol)
    say("Cluster dns configmap has been set successfully")
    git = Git(config.data / "argocd" / "repos", program="/opt/k3s/pod-git", resolver=PodResolver(dns))
    argocd = DeployedArgoCd(config, api, git, GATEWAY, ARGOCD_PORT)
    started.append(argocd)
    await argocd.start()
    say("k3s is up and running")
