"""The tree below an Application: its objects, what they own, and the images that are in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from lab.emulator.argocd import health
from lab.emulator.argocd.cluster import Cluster
from lab.emulator.argocd.comparison import EXCLUDED, Comparison, overall
from lab.emulator.argocd.objects import annotations_of, images, key_of
from lab.emulator.argocd.tracking import owner

_LINK = "link.argocd.argoproj.io/"


def observed(cluster: Cluster, comparison: Comparison) -> Comparison:
    """The comparison with the live objects and their health read again; what is in sync is not judged anew."""
    resources = []
    for resource in comparison.resources:
        live = cluster.get(resource.key)
        assessed = health.assess(live) if live is not None else health.Health(health.MISSING)
        resources.append(replace(resource, live=live, health=assessed if resource.health else None))
    return replace(comparison, resources=resources, health=overall(resources))


def summary(cluster: Cluster, app: dict[str, Any], comparison: Comparison) -> dict[str, Any]:
    """``status.summary``: the images and addresses of every object in the tree."""
    nodes = list(tree(cluster, (resource.live for resource in comparison.resources)))
    found = sorted({image for _, node in nodes for image in images(node)})
    links = [value for name, value in annotations_of(app).items() if name.startswith(_LINK)]
    urls = sorted({url for _, node in nodes for url in _urls(node)} | set(links))
    return {name: value for name, value in (("externalURLs", urls), ("images", found)) if value}


def tree(
    cluster: Cluster, roots: Iterable[dict[str, Any] | None], depth: int = 0
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every root and what it owns, parents first, with its depth."""
    for root in roots:
        if root is not None and depth < 8:  # ownership is a tree in practice; a loop must not hang the page
            yield depth, root
            owned = [obj for obj in cluster.dependents(root) if (key_of(obj).group, obj["kind"]) not in EXCLUDED]
            yield from tree(cluster, owned, depth + 1)


def application_of(cluster: Cluster, obj: dict[str, Any]) -> str | None:
    """The Application whose tree ``obj`` is part of, found through its owners."""
    current: dict[str, Any] | None = obj
    for _ in range(8):
        if current is None:
            return None
        if name := owner(current):
            return name
        current = cluster.owner_of(current)
    return None


def _urls(node: dict[str, Any]) -> Iterator[str]:
    if node.get("kind") != "Ingress":
        return
    spec = node.get("spec") or {}
    secure = {host for entry in spec.get("tls") or [] for host in entry.get("hosts") or []}
    for rule in spec.get("rules") or []:
        host = rule.get("host")
        for path in ((rule.get("http") or {}).get("paths") or []) if host else []:
            scheme = "https" if host in secure else "http"
            yield f"{scheme}://{host}{path.get('path') or '/'}".rstrip("*")
