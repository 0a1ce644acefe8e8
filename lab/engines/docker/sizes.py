"""How much of the machine the lab takes: three presets, chosen by the memory that Docker has.

GitLab's settings follow https://docs.gitlab.com/omnibus/settings/memory_constrained_envs/ (contracts A.7). A limit is
what a container may take at most, swap aside; the sum may exceed the machine, since not everything peaks at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.engines.docker.site import Site
from lab.errors import MachineError, UsageError

GB = 1024**3
FLOOR = 4 * GB
"""Memory below which the real systems do not start: GitLab alone needs 2 GB and 1 GB of swap."""
_TOLERANCE = 0.93
"""A machine sold with 8 GB has a little less: the kernel and the graphics take theirs."""


@dataclass(frozen=True)
class Size:
    """One preset. Memory limits are in bytes."""

    name: str
    memory: int
    """What Docker should have for it."""
    puma_workers: int
    """Web processes beside the first; 0 is one process that does everything and saves 100 to 400 MB."""
    sidekiq_concurrency: int
    """Background jobs at the same time."""
    shared_buffers: str
    """PostgreSQL's cache."""
    gitlab_memory: int
    runner_concurrent: int
    """CI jobs at the same time; with one alone an older job would hold up the newest (contracts H.44)."""
    node_memory: int
    """Of each k3d node, server and agents."""
    argocd_extras: bool
    """Whether Argo CD's dex, notifications and applicationset controllers run; the loop needs none of them."""

    def gitlab_values(self) -> Mapping[str, object]:
        """What gitlab/gitlab.rb asks for."""
        return {
            "puma_workers": self.puma_workers,
            "sidekiq_concurrency": self.sidekiq_concurrency,
            "shared_buffers": self.shared_buffers,
        }


SIZES = (
    Size("small", FLOOR, 0, 5, "128MB", int(3.5 * GB), 2, int(2.5 * GB), argocd_extras=False),
    Size("medium", 8 * GB, 0, 10, "256MB", 5 * GB, 4, 4 * GB, argocd_extras=False),
    Size("large", 16 * GB, 2, 20, "512MB", 8 * GB, 6, 8 * GB, argocd_extras=True),
)
"""From the smallest to the largest."""


def choose(wanted: str, memory: int) -> Size:
    """The preset for a machine.

    Args:
        wanted: ``auto`` or a preset's name.
        memory: bytes that the Docker engine has.

    Raises:
        MachineError: there is too little memory for the real systems.
        UsageError: there is no such preset.
    """
    if memory < FLOOR * _TOLERANCE:
        raise MachineError(
            "LAB-SIZE-01", f"Docker has {memory / GB:.1f} GB of memory; the real systems need {FLOOR / GB:.0f} GB.",
            evidence="GitLab alone needs 2 GB and 1 GB of swap; Kubernetes with Argo CD and the jobs need the rest.",
            hint="invoke up --engine embedded; or give Docker more (WSL: memory= in %UserProfile%\\.wslconfig).",
        )  # fmt: skip
    if wanted == "auto":
        return [size for size in SIZES if memory >= size.memory * _TOLERANCE][-1]
    found = next((size for size in SIZES if size.name == wanted), None)
    if found is None:
        names = ", ".join(size.name for size in SIZES)
        raise UsageError("LAB-SIZE-02", f"There is no size {wanted}.", hint=f"Sizes: auto, {names}.")
    return found


def of(site: Site) -> Size:
    """The preset of a lab, by its settings and the memory that its engine has.

    Raises:
        MachineError: as `choose`.
    """
    return choose(site.settings.size, int(site.daemon.info["MemTotal"]))
