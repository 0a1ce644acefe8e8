"""Whether a pod may be evicted under its disruption budget.

Source: pkg/registry/core/pod/storage/eviction.go and pkg/controller/disruption/disruption.go (v1.33). The counts are
made when somebody asks; upstream's controller keeps them in the budget's status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.objects import Object, deleting, name_of, namespace_of
from lab.emulator.kube.selectors import label_selector

if TYPE_CHECKING:
    from lab.emulator.kube.store import Store

_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."


def check(store: Store, pod: Object) -> None:
    """Let the eviction of ``pod`` pass.

    Raises:
        StatusError: 429 its budget allows no disruption now; 500 several budgets select it.
    """
    if deleting(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending", None):
        return
    budgets = [one for one in store.select("policy", "poddisruptionbudgets", namespace_of(pod)) if _selects(one, pod)]
    if len(budgets) > 1:
        raise StatusError(500, "InternalError", _SEVERAL)
    for budget in budgets:
        _check_budget(store, budget, pod)


def _check_budget(store: Store, budget: Object, pod: Object) -> None:
    pods = [one for one in store.select("", "pods", namespace_of(pod)) if _selects(budget, one)]
    healthy = sum(_is_ready(one) and not deleting(one) for one in pods)
    wanted = _wanted(store, budget["spec"], pods)
    always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
    if not _is_ready(pod) and (always or healthy >= wanted > 0):
        return
    if healthy <= wanted:
        text = f"The disruption budget {name_of(budget)} needs {wanted} healthy pods and has {healthy} currently"
        cause = {"reason": "DisruptionBudget", "message": text}
        raise StatusError(429, "TooManyRequests", _VIOLATED, {"causes": [cause]})


def _selects(budget: Object, pod: Object) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    return bool(label_selector(selector)(pod["metadata"].get("labels") or {}))


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _wanted(store: Store, spec: Object, pods: list[Object]) -> int:
    """How many pods must stay healthy; percentages round up."""
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if isinstance(least, int):
        return least
    expected = _expected(store, pods)
    if least is not None:
        return _share(least, expected)
    return max(0, expected - _share(most, expected)) if most is not None else 0


def _share(amount: int | str, whole: int) -> int:
    return amount if isinstance(amount, int) else -(-whole * int(amount.rstrip("%")) // 100)


def _expected(store: Store, pods: list[Object]) -> int:
    """How many pods their controllers ask for; a pod without one counts itself."""
    controllers: dict[str, int] = {}
    for pod in pods:
        owner = _controller(store, pod) or pod
        owner = _controller(store, owner) or owner
        controllers[owner["metadata"]["uid"]] = int((owner.get("spec") or {}).get("replicas", 1))
    return sum(controllers.values())


def _controller(store: Store, obj: Object) -> Object | None:
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            key = store.shelf.by_uid(reference["uid"])
            return store.shelf.at(key) if key else None
    return None
