"""What tests of single containers share: a network of their own, and waits for a line in a log."""

from __future__ import annotations

import io
import secrets
import tarfile
from contextlib import suppress

import docker
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.volumes import Volume
from docker.types import EndpointConfig
from standins import images

from lab.waiting import Pending, wait_until


class World:
    """A network and the containers on it, gone after the test."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.name = f"standin-{secrets.token_hex(4)}"
        self.network = client.networks.create(self.name)
        self._containers: list[Container] = []
        self._volumes: list[Volume] = []

    def run(
        self, image: str, *command: str, alias: str = "", files: dict[str, str] | None = None, **options: object
    ) -> Container:
        """Start a container of an upstream image on the network."""
        stand_in = images.standing_in_for(image)
        images.ensure(self.client, stand_in)
        container = self.client.containers.create(
            stand_in.tag,
            list(command) or None,
            labels={"gitops-lab.test": self.name},
            network=self.name,
            networking_config={self.name: EndpointConfig("1.44", aliases=[alias] if alias else None)},
            **options,
        )
        self._containers.append(container)
        for path, content in (files or {}).items():
            put(container, path, content)
        container.start()
        return container

    def volume(self) -> str:
        """A volume's name; its data outlive every container of this world, but not the world."""
        self._volumes.append(self.client.volumes.create(labels={"gitops-lab.test": self.name}))
        name: str = self._volumes[-1].name
        return name

    def close(self) -> None:
        """Remove everything."""
        for container in self._containers:
            with suppress(NotFound):  # a test may have removed it
                container.remove(force=True, v=True)
        for volume in self._volumes:
            volume.remove()
        self.network.remove()


def logged(container: Container, text: str, timeout: float = 60) -> str:
    """Wait until the container's log holds ``text``; answers the log."""

    def look() -> str | Pending:
        log: str = container.logs().decode()
        return log if text in log else Pending(log[-500:])

    return wait_until(f"{text!r} in the log of {container.name}", look, timeout=timeout)


def put(container: Container, path: str, content: str) -> None:
    """Write one file into a container, running or not."""
    with io.BytesIO() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content.encode())
            tar.addfile(entry, io.BytesIO(content.encode()))
        container.put_archive("/", archive.getvalue())


def output(container: Container, *command: str) -> tuple[int, str]:
    """Run a command in a container; answers its exit code and what it printed."""
    code, text = container.exec_run(list(command))
    return code, text.decode()
