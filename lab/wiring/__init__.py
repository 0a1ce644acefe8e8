"""The steps that configure a lab, the same for every engine: only public APIs, no knowledge of what is behind them.

endpoints ─┬─ gitlab.settings ───────────────┐
├─ project ─┬─ branch.code         │
│           ├─ branch.config       ├─ hook ─┐
│           ├─ variables           │        │
│           ├─ token.config-branch │        │
│           ├─ token.deploy ──┐    │        │
│           └─ runner ────────│────│────────┤
├─ argocd.settings ───────────│────┘        ├─ pipeline ─ application ─ hook.delivered ─ live
├─ namespace ─ pull-secret ───┤             │
└─ argocd.repository ─────────┘    push ────┘
"""

from __future__ import annotations

from collections.abc import Callable

from lab.causes import Gather
from lab.doors import Doors
from lab.model import Endpoints
from lab.plan import Step
from lab.settings import Settings
from lab.state import State
from lab.wiring import deploy, hook, kube, project, tokens
from lab.wiring import runner as runners
from lab.wiring.context import Wiring

__all__ = ["steps"]


def steps(
    endpoints: Callable[[], Endpoints],
    settings: Settings,
    state: State,
    attach_runner: Callable[[str], None],
    *,
    forge: tuple[str, ...] = ("endpoints",),
    runner: tuple[str, ...] = ("endpoints",),
    cluster: tuple[str, ...] = ("endpoints",),
    doors: Doors | None = None,
    evidence: Gather = tuple,
) -> list[Step]:
    """Every step between "the systems answer" and "the application answers".

    Args:
        endpoints: asked once, when the first of the steps named in ``forge`` and ``cluster`` are done.
        settings: of this lab.
        state: where secrets and proofs are kept.
        attach_runner: gives the engine's runner its token; may be called again with the same one.
        forge: the engine's steps after which GitLab and the registry can be used.
        runner: the engine's steps after which a runner can be attached.
        cluster: the engine's steps after which Kubernetes and Argo CD can be used.
        doors: clients to use instead of new ones.
        evidence: the logs of the engine's parts, in which known causes are looked for.
    """
    lab = Wiring(endpoints, settings, state, attach_runner, doors, evidence)
    return [
        *project.steps(lab, forge),
        *tokens.steps(lab),
        *runners.steps(lab, runner),
        *kube.steps(lab, cluster),
        *hook.steps(lab, cluster),
        *deploy.steps(lab),
        kube.application_step(lab),
    ]
