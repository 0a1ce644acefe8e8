"""The data that modules hand to each other; frozen, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FindingState = Literal["ok", "warning", "problem", "unknown"]


@dataclass(frozen=True)
class Endpoints:
    """Where a running lab answers.

    An identity stands in every URL, payload, secret and manifest; a route is how the host reaches it. Argo CD
    matches a webhook to an application by the literal host of the identity (contracts F.5).
    """

    gitlab: str
    """Identity of GitLab, its external URL, without a trailing slash."""
    gitlab_route: str
    """Base URL that reaches GitLab from the host."""
    registry: str
    """Identity of the registry as image names carry it, ``host:port``."""
    registry_route: str
    """Base URL that reaches the registry from the host."""
    kubeconfig: Path
    argocd: str
    """URL of Argo CD's pages for a browser on this host."""
    webhook: str
    """URL that GitLab posts pushes to: Argo CD's receiver as GitLab reaches it."""
    app: str
    """Base URL of the cluster's ingress on this host."""
    root_token: str = field(repr=False)


@dataclass(frozen=True)
class Check:
    """One line of `verify`."""

    id: str
    """Stable name such as ``hook.delivered``."""
    title: str
    ok: bool | None
    """None when it could not be checked because something before it failed."""
    evidence: str
    hint: str = ""


@dataclass(frozen=True)
class Hop:
    """One stretch of the loop from push to pod."""

    id: str
    """``T0`` to ``T5``."""
    title: str
    seconds: float
    """Time since the hop before it."""
    evidence: str


@dataclass(frozen=True)
class Finding:
    """One precondition of the lab on this machine."""

    id: str
    """Stable name such as ``docker.cgroup``."""
    title: str
    state: FindingState
    """``problem`` keeps the lab from working, ``warning`` makes it slow or fragile."""
    measured: str
    why: str
    """Why it matters."""
    remedy: str = ""
    """What mends it: lines that begin with ``$ `` are commands, the others are for people."""
    fixable: bool = False
    """Whether `--fix` mends it by itself."""
    stops_up: bool = False
    """Whether `up` cannot succeed while this is a problem."""
