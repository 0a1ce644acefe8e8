"""The clients of one lab, made together: what the wiring and every journey start from."""

from __future__ import annotations

from dataclasses import dataclass

from lab.application import Application
from lab.cluster import Cluster
from lab.forge import Forge
from lab.model import Endpoints
from lab.settings import Settings


@dataclass(frozen=True)
class Doors:
    """Where the lab answers, and the clients for it; all may be shared by threads."""

    endpoints: Endpoints
    settings: Settings
    forge: Forge
    cluster: Cluster
    application: Application

    @classmethod
    def open(cls, endpoints: Endpoints, settings: Settings) -> Doors:
        """Make the clients; nothing is sent yet."""
        forge, cluster = Forge(endpoints, settings.project.path), Cluster(endpoints.kubeconfig)
        return cls(endpoints, settings, forge, cluster, Application(cluster, endpoints, settings))
