"""What every wiring step works with: the settings, the lab's memory, and the doors, opened when first used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.application import Application
from lab.causes import Gather
from lab.cluster import Cluster
from lab.doors import Doors
from lab.forge import Forge
from lab.model import Endpoints
from lab.settings import ProjectSettings, Settings
from lab.state import State


@dataclass
class Wiring:
    """Shared by all steps of one run; the endpoints are asked for once the engine has made them."""

    ask_endpoints: Callable[[], Endpoints]
    settings: Settings
    state: State
    attach_runner: Callable[[str], None]
    opened: Doors | None = None
    """The clients, where somebody has opened them already."""
    engine_evidence: Gather = tuple
    """The logs of the engine's parts, for waits that no API explains."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def doors(self) -> Doors:
        """The clients, made once."""
        with self._lock:
            if self.opened is None:
                self.opened = Doors.open(self.ask_endpoints(), self.settings)
            return self.opened

    @property
    def endpoints(self) -> Endpoints:
        """Where the lab answers."""
        return self.doors.endpoints

    @property
    def forge(self) -> Forge:
        """GitLab."""
        return self.doors.forge

    @property
    def cluster(self) -> Cluster:
        """Kubernetes."""
        return self.doors.cluster

    @property
    def application(self) -> Application:
        """The deployed application."""
        return self.doors.application

    @property
    def project(self) -> ProjectSettings:
        """The project's settings."""
        return self.settings.project

    @property
    def owned(self) -> bool:
        """Whether the project is a repository of the user's instead of the sample."""
        return self.settings.project.source is not None
