"""What the Docker engine says about the lab's containers, networks and volumes, for somebody who helps from afar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lab.engines.docker.daemon import Daemon
from lab.engines.docker.site import LABEL, Site
from lab.errors import LabError

_TAIL = 2000


def inspected(site: Site) -> Iterator[tuple[str, str]]:
    """File names with texts: `docker info`, then the description of each of our things, and each container's log.

    Raises:
        LabError: the engine does not answer.
    """
    daemon, ours = site.daemon, {"label": f"{LABEL}={site.settings.name}"}
    with daemon.asking("describe itself"):
        yield "info.json", _pretty(daemon.client.info())
        yield "version.json", _pretty(daemon.client.version())
    with daemon.asking("list the lab's containers, networks and volumes"):
        containers = daemon.client.containers.list(all=True, filters=ours)
        networks = daemon.client.networks.list(filters=ours, greedy=True)
        volumes = daemon.client.volumes.list(filters=ours)
    for kind, things in (("container", containers), ("network", networks), ("volume", volumes)):
        for thing in things:
            yield f"{kind}-{thing.name}.json", _pretty(thing.attrs)
    for container in containers:
        yield f"{container.name}.log", _log(daemon, container)


def _log(daemon: Daemon, container: Any) -> str:
    try:
        with daemon.asking(f"read the log of {container.name}"):
            return str(container.logs(tail=_TAIL, timestamps=True).decode(errors="replace"))
    except LabError as error:  # its log driver keeps none, or it has gone meanwhile; the others still matter
        return str(error)


def _pretty(document: Any) -> str:
    return json.dumps(document, indent=1, default=str)
