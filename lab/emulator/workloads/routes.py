"""Which backend an Ingress means for a request: hosts, paths, precedence; pure functions.

Source: networking.k8s.io/v1 IngressRule, and Traefik's rule that a longer match comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lab.emulator.workloads.objects import Obj, terminating

ENTRY_POINTS = ("web", "websecure")
"""Traefik's entry points: plain HTTP, and TLS."""
CLASS = "traefik"
"""The ingress class that this cluster's controller serves; it is k3s's default."""


_ROUTER = "traefik.ingress.kubernetes.io/router."


@dataclass(frozen=True)
class Route:
    """One path of one rule."""

    namespace: str
    ingress: str
    host: str
    """Empty for every host; may begin with ``*.``."""
    path: str
    exact: bool
    service: str
    port: int | str
    entry_points: tuple[str, ...] = ENTRY_POINTS
    """Where it is served."""
    tls: bool = False
    """Only with TLS: on ``web``, which has none, it never matches."""
    priority: int = 0
    """Given by an annotation, or the length of Traefik's rule."""


def is_ours(ingress: Obj) -> bool:
    """Whether the cluster's controller serves the Ingress: its class is ours or not given."""
    name = ingress["spec"].get("ingressClassName")
    if name is None:
        name = (ingress["metadata"].get("annotations") or {}).get("kubernetes.io/ingress.class")
    return name in (None, "", CLASS)


def routes(ingresses: Iterable[Obj]) -> list[Route]:
    """Every route of the Ingresses that we serve, the most specific first."""
    found: list[Route] = []
    for ingress in ingresses:
        if not is_ours(ingress) or terminating(ingress):
            continue
        for rule in ingress["spec"].get("rules") or ():
            for path in (rule.get("http") or {}).get("paths") or ():
                found += _route(ingress, rule.get("host") or "", path.get("path") or "/", path)
        if ingress["spec"].get("defaultBackend"):
            backend = {"backend": ingress["spec"]["defaultBackend"]}
            found += _route(ingress, "", "/", backend)
    return sorted(found, key=_rank)


def _route(ingress: Obj, host: str, path: str, entry: dict[str, Any]) -> list[Route]:
    service = entry["backend"].get("service")
    if service is None:
        return []
    port = service.get("port") or {}
    metadata = ingress["metadata"]
    exact = entry.get("pathType") == "Exact"
    target = port.get("name") or int(port.get("number") or 0)
    notes = {key.removeprefix(_ROUTER): value for key, value in (metadata.get("annotations") or {}).items()}
    points = tuple(each.strip() for each in notes.get("entrypoints", ",".join(ENTRY_POINTS)).split(","))
    given = notes.get("priority", "")
    return [
        Route(
            metadata["namespace"], metadata["name"], host.lower(), path, exact, service["name"], target, points,
            notes.get("tls") == "true", int(given) if given.isdecimal() else _length(host, path),
        )
    ]  # fmt: skip


def _length(host: str, path: str) -> int:
    """Length of the rule that Traefik makes of host and path (pkg/provider/kubernetes/ingress).

    An exact path counts as long as a prefix: Traefik's shorter ``Path`` would lose against ``PathPrefix(`/`)``.
    """
    rule = f"PathPrefix(`{path}`)"
    if host.startswith("*."):
        quoted = host[2:].replace(".", "\\.")
        rule = f"HostRegexp(`^[a-zA-Z0-9-]+\\.{quoted}$`) && {rule}"
    elif host:
        rule = f"Host(`{host}`) && {rule}"
    return len(rule)


def _rank(route: Route) -> tuple[Any, ...]:
    """The higher priority first; at the same one a host before none, and an exact path before a prefix."""
    kind = 2 if not route.host else 1 if route.host.startswith("*.") else 0
    return -route.priority, kind, not route.exact, route.namespace, route.ingress


def choose(table: Iterable[Route], host: str, path: str, entry_point: str = "web") -> Route | None:
    """The first route of an entry point that matches a request's host (a port is ignored) and path."""
    name = host.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] if ":" in name else name
    return next(
        (
            route
            for route in table
            if entry_point in route.entry_points
            and not (route.tls and entry_point == "web")
            and _host_matches(route.host, name)
            and _path_matches(route, path)
        ),
        None,
    )


def _host_matches(pattern: str, name: str) -> bool:
    if not pattern:
        return True
    if pattern.startswith("*."):
        first, dot, rest = name.partition(".")
        return bool(first and dot) and rest == pattern[2:]
    return name == pattern


def _path_matches(route: Route, path: str) -> bool:
    if route.exact:
        return path == route.path
    prefix = route.path.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")
