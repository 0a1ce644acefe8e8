"""What the cluster is created from: k8s/k3d.yaml with the settings in it, and what that means for its containers."""

from __future__ import annotations

import yaml

from lab import assets
from lab.engines.docker import images
from lab.engines.docker.nodes import Wanted
from lab.engines.docker.site import Site
from lab.errors import UsageError

REGISTRIES = "registries.yaml"
"""File in .lab/ that k3d takes the nodes' registries from. It may hold dollar signs, which k3d leaves alone there."""
_FILE = "k8s/k3d.yaml"


def render(site: Site) -> str:
    """k8s/k3d.yaml for a lab.

    Raises:
        UsageError: a dollar sign is in it, which k3d would take for a variable (contracts E.1).
    """
    settings = site.settings
    text = assets.render(
        _FILE,
        name=site.names.cluster,
        label=settings.name,
        agents=settings.cluster.agents,
        image=images.reference(site, "k3s"),
        network=site.names.network,
        registries=site.state.path(REGISTRIES),
        kubernetes_port=settings.ports.kubernetes,
        app_port=settings.ports.app,
        argocd_port=settings.ports.argocd,
        timeout=f"{settings.timeouts.cluster / 2:.0f}s",
    )
    if "$" in text:
        line = next(line for line in text.splitlines() if "$" in line)
        raise UsageError(
            "LAB-K3D-05", "A dollar sign in the cluster's configuration: k3d would replace it.",
            evidence=line.strip(), hint="Give the lab a folder (LAB_HOME) without one in its path.",
        )  # fmt: skip
    return text


def wanted(site: Site) -> Wanted:
    """What the containers of a cluster made from that file are."""
    config, ports = yaml.safe_load(render(site)), site.settings.ports
    return Wanted(
        agents=config["agents"],
        image=config["image"],
        ports={6443: ports.kubernetes, 80: ports.app, 443: ports.argocd},
        arguments=[str(entry["arg"]) for entry in config["options"]["k3s"]["extraArgs"]],
    )
