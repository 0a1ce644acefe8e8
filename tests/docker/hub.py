"""The hub: one registry that holds every stand-in under its upstream path, for whoever would pull from the Internet.

    python tests/docker/hub.py         builds and pushes what is missing, prints the hub's address and what it holds
    python tests/docker/hub.py down    removes the hub, its volume and network, and every stand-in image

It has one address for the machine's engine, for containers on any network, for engines inside containers and for
Kubernetes nodes: the gateway of a network of its own, which no inner engine takes for its own bridge. It speaks plain
HTTP, so the engine must accept that from the address (``.ci/engine`` sees to it).
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import docker
import requests
from docker.models.containers import Container
from docker.models.images import Image
from docker.types import IPAMConfig, IPAMPool
from standins import images
from standins.images import LABELS, StandIn

PORT = int(os.environ.get("LAB_HUB_PORT", "21500"))
"""Checkouts that differ and share an engine take a port each."""
SUBNET = "172.30.213.0/24"
GATEWAY = "172.30.213.1"
NETWORK = "gitops-lab-hub"
NAME = f"gitops-lab-hub-{PORT}"
_MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


class HubError(Exception):
    """The hub cannot serve here; the text says what to do."""


class Hub:
    """A running hub that holds every stand-in."""

    address = f"{GATEWAY}:{PORT}"

    @property
    def mirrors(self) -> dict[str, str]:
        """The setting ``mirrors`` for a lab that pulls from here."""
        hosts = {name.partition("/")[0] for stand_in in images.every() for name in stand_in.upstream}
        return dict.fromkeys(sorted(hosts), f"http://{self.address}")

    def reference(self, upstream: str) -> str:
        """Where ``docker.io/library/redis:8`` is found here."""
        return f"{self.address}/{upstream.partition('/')[2]}"


def ensure(client: docker.DockerClient) -> Hub:
    """Build, start and fill what is missing; a second call is fast.

    Raises:
        HubError: the engine does not take plain HTTP from the hub's address, or the hub does not answer.
        CannotBuildError: an image cannot be built.
    """
    with _alone():
        _trusted(client)
        hub = Hub()
        images.ensure(client, StandIn("registry"))
        _start(client)
        for stand_in in images.every():
            images.ensure(client, stand_in)
            for name in stand_in.upstream:
                _push(client, stand_in, hub.reference(name))
        return hub


def down(client: docker.DockerClient) -> None:
    """Remove everything that `ensure` made, images included; other ports' hubs keep the network and their images."""
    with _alone():
        for container in client.containers.list(all=True, filters={"name": f"^{NAME}$"}):
            container.remove(force=True, v=True)
        for volume in client.volumes.list(filters={"name": NAME}):
            volume.remove()
        if client.containers.list(all=True, filters={"name": NETWORK}):
            return
        for network in client.networks.list(names=[NETWORK]):
            network.remove()
        for image in client.images.list(filters={"label": "gitops-lab.standin=true"}):
            for tag in image.tags:
                client.images.remove(tag, force=True)


def _trusted(client: docker.DockerClient) -> None:
    ranges = client.info()["RegistryConfig"]["InsecureRegistryCIDRs"]
    if not any(ip_address(GATEWAY) in ip_network(each) for each in ranges):
        raise HubError(
            f"the Docker engine takes no images over plain HTTP from {GATEWAY}: add "
            '"insecure-registries": ["172.16.0.0/12"] to its daemon.json and have it reload (kill -HUP)'
        )


def _start(client: docker.DockerClient) -> None:
    if not client.networks.list(names=[NETWORK]):
        pool = IPAMPool(subnet=SUBNET, gateway=GATEWAY)
        client.networks.create(NETWORK, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels=LABELS)
    image = client.images.get(StandIn("registry").tag)
    running = client.containers.list(all=True, filters={"name": f"^{NAME}$"})
    if running and running[0].image.id != image.id:
        running.pop().remove(force=True)
    container = running[0] if running else _create(client, image)
    container.start()
    deadline = time.monotonic() + 30
    while not _answers():
        if time.monotonic() > deadline:
            raise HubError(f"the hub does not answer at {Hub.address}:\n{container.logs(tail=10).decode()}")
        time.sleep(0.1)


def _create(client: docker.DockerClient, image: Image) -> Container:
    return client.containers.create(
        image.id,
        name=NAME,
        network_mode="host",
        environment={"REGISTRY_HTTP_ADDR": Hub.address},
        volumes={NAME: {"bind": "/var/lib/registry"}},
        labels=LABELS,
        restart_policy={"Name": "always"},
    )


def _answers() -> bool:
    try:
        return requests.get(f"http://{Hub.address}/v2/", timeout=5).ok
    except requests.ConnectionError:
        return False


def _push(client: docker.DockerClient, stand_in: StandIn, reference: str) -> None:
    """Push unless the hub has this very image. The name is gone from the engine afterwards: there it must be pulled."""
    image = client.images.get(stand_in.tag)
    repository, _, tag = reference.rpartition(":")
    path = repository.partition("/")[2]
    found = requests.get(f"http://{Hub.address}/v2/{path}/manifests/{tag}", headers={"Accept": _MANIFESTS}, timeout=30)
    digests = {found.headers.get("Docker-Content-Digest"), found.json().get("config", {}).get("digest")}
    if image.id in digests:
        return
    image.tag(repository, tag)
    try:
        for line in client.images.push(repository, tag=tag, stream=True, decode=True):
            if "error" in line:
                raise HubError(f"push of {reference}: {line['error']}")
    finally:
        client.images.remove(reference)


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time: two would build the same images."""
    with (Path(tempfile.gettempdir()) / f"gitops-lab-hub-{os.getuid()}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Run the command line; returns the exit code."""
    client = docker.from_env(timeout=600)
    if sys.argv[1:] == ["down"]:
        down(client)
        return 0
    try:
        hub = ensure(client)
    except (HubError, images.CannotBuildError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{hub.address}\n")
    for stand_in in images.every():
        for name in stand_in.upstream:
            sys.stdout.write(f"  {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
