"""The one table of images: which, in which version, how large, where they are needed. Change versions here.

Sizes are round figures in MB (10^6 bytes) for amd64, to plan a download by: the engine reports the real ones while it
pulls. What k3s brings along is of its release v1.34.9+k3s1 (its notes and image list) and changes with `k3s`; the
architectures are those that upstream publishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Place = Literal["host", "node", "dind"]
"""``host``: Docker here runs it. ``node``: Kubernetes pulls it. ``dind``: a build in a job pulls it."""
Chooser = Literal["lab", "project", "k3s"]
"""Who names the image: the lab itself, the files of the sample project, or k3s, whose choice cannot be changed here."""

MACHINES = {"amd64": "x86_64", "arm64": "arm64"}
"""What the tags of the runner's helper call an architecture (contracts C.4)."""


@dataclass(frozen=True)
class Pin:
    """One image of the lab."""

    name: str
    """Short name, for `images` in lab.yaml."""
    image: str
    """Upstream reference; ``{machine}`` is the processor as `MACHINES` has it."""
    place: Place
    download: int
    """MB to download, about."""
    unpacked: int
    """MB on disk, about."""
    about: str
    chooser: Chooser = "lab"


PINS = (
    Pin("gitlab", "gitlab/gitlab-ce:19.3.0-ce.0", "host", 1900, 4300, "GitLab with its registry"),
    Pin("runner", "gitlab/gitlab-runner:v19.3.0", "host", 300, 800, "the runner"),
    Pin(
        "helper",
        "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:{machine}-v19.3.0",
        "host",
        45,
        110,
        "clones and caches for jobs",
    ),
    Pin("docker-dind", "docker:29.7.2-dind", "host", 140, 420, "the Docker daemon of a job", "project"),
    Pin("docker-cli", "docker:29.7.2-cli", "host", 75, 230, "the image that jobs run in", "project"),
    Pin("k3s", "rancher/k3s:v1.34.9-k3s1", "host", 80, 250, "Kubernetes"),
    Pin("k3d-proxy", "ghcr.io/k3d-io/k3d-proxy:5.9.0", "host", 25, 70, "the cluster's load balancer"),
    Pin("k3d-tools", "ghcr.io/k3d-io/k3d-tools:5.9.0", "host", 10, 25, "what k3d works with"),
    Pin("cache", "registry:2.8.3", "host", 10, 26, "keeps what jobs and nodes pull"),
    Pin("python", "python:3.13.15-alpine3.24", "dind", 17, 50, "base of the sample's image", "project"),
    Pin("argocd", "quay.io/argoproj/argocd:v3.5.1", "node", 200, 560, "Argo CD"),
    Pin(
        "argocd-redis",
        "public.ecr.aws/docker/library/redis:8.2.3-alpine",
        "node",
        30,
        75,
        "Argo CD's cache",
    ),
    Pin("argocd-dex", "ghcr.io/dexidp/dex:v2.45.0", "node", 45, 130, "Argo CD's logins, in size large"),
    Pin("mysql", "mysql:8.4.6", "node", 235, 790, "the sample's database", "project"),
    Pin("redis", "redis:8.2.3-alpine", "node", 30, 75, "the sample's cache", "project"),
    Pin("pause", "rancher/mirrored-pause:3.6", "node", 1, 1, "holds a pod's network", "k3s"),
    Pin("coredns", "rancher/mirrored-coredns-coredns:1.14.4", "node", 25, 80, "names in the cluster", "k3s"),
    Pin("local-path", "rancher/local-path-provisioner:v0.0.36", "node", 25, 65, "volumes", "k3s"),
    Pin("busybox", "rancher/mirrored-library-busybox:1.37.0", "node", 3, 5, "makes and empties volumes", "k3s"),
    Pin("klipper-helm", "rancher/klipper-helm:v0.11.1-build20260615", "node", 75, 220, "installs Traefik", "k3s"),
    Pin("klipper-lb", "rancher/klipper-lb:v0.4.17", "node", 6, 13, "ports of the nodes", "k3s"),
    Pin("traefik", "rancher/mirrored-library-traefik:3.7.4", "node", 55, 200, "the ingress", "k3s"),
    Pin("metrics-server", "rancher/mirrored-metrics-server:v0.8.1", "node", 22, 80, "`kubectl top`", "k3s"),
)
