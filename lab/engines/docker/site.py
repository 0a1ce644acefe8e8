"""What every component of the Docker engine works with: settings, memory, the engine, names, labels."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.engines.docker.daemon import Daemon
from lab.errors import UsageError
from lab.settings import Settings
from lab.state import State

LABEL = "gitops-lab"
"""Label on every container, network and volume of the lab; its value is the lab's name."""


@dataclass(frozen=True)
class Names:
    """Names of the lab's containers, volumes, network and cluster, all beginning with the lab's own."""

    lab: str

    @property
    def network(self) -> str:
        """The network that GitLab, runner, jobs and nodes share."""
        return self.lab

    @property
    def gitlab(self) -> str:
        """GitLab's container."""
        return f"{self.lab}-gitlab"

    @property
    def runner(self) -> str:
        """The runner's container."""
        return f"{self.lab}-runner"

    @property
    def cache(self) -> str:
        """The pull-through cache's container, alias on the network, and volume."""
        return f"{self.lab}-cache"

    @property
    def dind(self) -> str:
        """The volume with the daemon.json of the Docker daemons in jobs."""
        return f"{self.lab}-dind"

    @property
    def runner_config(self) -> str:
        """The volume with the runner's config.toml and system id."""
        return f"{self.lab}-runner-config"

    @property
    def cluster(self) -> str:
        """The k3d cluster; k3d calls its containers ``k3d-<cluster>-server-0`` and so on."""
        return self.lab

    @property
    def server(self) -> str:
        """The container of the first node."""
        return f"k3d-{self.lab}-server-0"

    @property
    def balancer(self) -> str:
        """The container of the cluster's load balancer; its name is also the webhook's host."""
        return f"k3d-{self.lab}-serverlb"


@dataclass(frozen=True)
class Site:
    """One lab on one Docker engine; shared by its components."""

    settings: Settings
    state: State
    environ: Mapping[str, str] = field(repr=False)
    """For DOCKER_HOST and the proxy variables."""

    @functools.cached_property
    def daemon(self) -> Daemon:
        """The engine."""
        return Daemon(self.environ)

    @functools.cached_property
    def names(self) -> Names:
        """What things are called."""
        return Names(self.settings.name)

    @property
    def labels(self) -> dict[str, str]:
        """What marks a thing as the lab's."""
        return {LABEL: self.settings.name}

    @property
    def host(self) -> str:
        """GitLab's name inside the network, ``gitlab.lab.test``."""
        return f"gitlab.{self.settings.domain}"

    @property
    def gitlab(self) -> str:
        """GitLab's external URL: the identity that stands in every payload and manifest."""
        return f"http://{self.host}:{self.settings.ports.gitlab}"

    @property
    def registry(self) -> str:
        """``host:port`` of the registry, as image names carry it."""
        return f"{self.host}:{self.settings.ports.registry}"

    def ours(self, kind: str, name: str) -> Any | None:
        """A container, network or volume (``kind`` is the plural) of this lab, or None when there is none.

        Raises:
            UsageError: there is one of this name that the lab did not make.
        """
        found = self.daemon.find(kind, name)
        if found is not None and labels(found).get(LABEL) != self.settings.name:
            raise UsageError(
                "LAB-DOCKER-09",
                f"There is a {kind[:-1]} {name} that is not this lab's; it was not touched.",
                evidence=f"It does not carry the label {LABEL}={self.settings.name}.",
                hint="Rename or remove it, or give the lab another name: invoke config.set name NAME",
            )
        return found


def labels(thing: Any) -> dict[str, str]:
    """The labels of a container, network, volume or image."""
    attributes = thing.attrs
    return dict((attributes.get("Config") or attributes).get("Labels") or {})
