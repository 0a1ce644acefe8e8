"""What mirrors and the lab's cache mean for those that pull on their own: nodes, Docker daemons in jobs, the cache.

Every one of them asks the cache first where it can, then the mirror or upstream itself: the lab works when the cache is
down, only slower.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from lab.engines.docker import images, references
from lab.engines.docker.references import HUB, HUB_API, Mirror
from lab.engines.docker.site import Site

CACHE_PORT = 5000
"""On which the cache answers, on the lab's network only."""


def registries_yaml(site: Site) -> str:
    """/etc/rancher/k3s/registries.yaml for the nodes: the lab's registry, the cache, and the mirrors.

    k3d replaces ``$1`` of a rewrite when this text stands inside its configuration file (contracts E.1); give it as a
    file of its own, which k3d takes as it is. k3s reads it only when it starts.
    """
    known = references.mirrors(site.settings.mirrors)
    entries: dict[str, Any] = {site.registry: {"endpoint": [f"http://{site.registry}"]}}
    for registry in sorted({*_registries(site), *known}):
        entries[registry] = _entry(site, registry, known.get(registry))
    # Its certificate is signed by itself; what is pulled is checked by digest.
    configs = {cache_host(site): {"tls": {"insecure_skip_verify": True}}}
    return str(yaml.safe_dump({"mirrors": entries, "configs": configs}, sort_keys=False))


def daemon_json(site: Site) -> str:
    """/etc/docker/daemon.json for the Docker daemons in jobs: Docker Hub through the cache, then by themselves.

    Only a mirror of Docker Hub can be set there; it has no path (moby, registry/config.go).
    """
    mirrors = [cache_url(site)]
    mirror = references.mirrors(site.settings.mirrors).get(HUB)
    if mirror and not mirror.prefix:
        mirrors.append(mirror.url)
    return json.dumps({"registry-mirrors": mirrors}, indent=2) + "\n"


def cache_url(site: Site) -> str:
    """The cache, as containers on the lab's network reach it."""
    return f"https://{cache_host(site)}"


def cache_host(site: Site) -> str:
    """``host:port`` of the cache."""
    return f"{site.names.cache}:{CACHE_PORT}"


def cache_upstream(site: Site) -> str:
    """What the cache asks for images that it does not have: Docker Hub or its mirror; empty with a stock."""
    if site.state.fact(images.STOCK):
        return ""
    mirror = references.mirrors(site.settings.mirrors).get(HUB)
    return mirror.url if mirror else f"https://{HUB_API}"


def _registries(site: Site) -> list[str]:
    """The registries that nodes pull from."""
    pins = images.selected(site.settings, "node")
    return [images.reference_of(site.settings, pin, "amd64").registry for pin in pins]


def _entry(site: Site, registry: str, mirror: Mirror | None) -> Mapping[str, Any]:
    upstream = f"https://{HUB_API if registry == HUB else registry}"
    if site.state.fact(images.STOCK):  # the cache has every registry's images, by their own names
        return {"endpoint": [cache_url(site), mirror.url if mirror and not mirror.prefix else upstream]}
    endpoints = [mirror.url if mirror else upstream]
    if registry == HUB:
        endpoints.insert(0, cache_url(site))
    if mirror and mirror.prefix:
        return {"endpoint": endpoints, "rewrite": {"^(.*)$": f"{mirror.prefix}/$1"}}
    return {"endpoint": endpoints}
