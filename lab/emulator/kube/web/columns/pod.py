"""The columns of pods: readiness, the status in a word, restarts (printPod)."""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.objects import Object
from lab.emulator.kube.web.columns.column import AGE, NAME, NONE, at, since, text


def _statuses(obj: Object, name: str = "containerStatuses") -> list[Any]:
    return list(at(obj, "status", name, default=[]))


def _sidecars(obj: Object) -> set[str]:
    found = at(obj, "spec", "initContainers", default=[])
    return {one["name"] for one in found if one.get("restartPolicy") == "Always"}


def _condition(obj: Object, kind: str) -> bool:
    conditions = at(obj, "status", "conditions", default=[])
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def _ready(obj: Object) -> str:
    sidecars = _sidecars(obj)
    total = len(at(obj, "spec", "containers", default=[])) + len(sidecars)
    count = sum(1 for one in _statuses(obj) if one.get("ready") and at(one, "state", "running") is not None)
    count += sum(1 for one in _statuses(obj, "initContainerStatuses")
                 if one["name"] in sidecars and one.get("ready") and one.get("started"))  # fmt: skip
    return f"{count}/{total}"


def _ended(state: Any, prefix: str = "") -> str:
    if state.get("reason"):
        return prefix + str(state["reason"])
    if state.get("signal"):
        return f"{prefix}Signal:{state['signal']}"
    return f"{prefix}ExitCode:{state.get('exitCode', 0)}"


def _initializing(obj: Object) -> str:
    """The status while init containers run, or an empty text."""
    sidecars = _sidecars(obj)
    total = len(at(obj, "spec", "initContainers", default=[]))
    for index, one in enumerate(_statuses(obj, "initContainerStatuses")):
        ended, waiting = at(one, "state", "terminated"), at(one, "state", "waiting", "reason")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if one["name"] in sidecars and one.get("started"):
            continue
        if ended is not None:
            return _ended(ended, "Init:")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return ""


def status(obj: Object) -> str:
    """The STATUS column."""
    phase = str(at(obj, "status", "phase", default=""))
    reason = str(at(obj, "status", "reason") or phase)
    initializing = _initializing(obj)
    if initializing:
        reason = initializing
    if not initializing or _condition(obj, "Initialized"):
        reason = _of_containers(obj, reason)
    if obj["metadata"].get("deletionTimestamp") and phase not in ("Succeeded", "Failed"):
        return "Unknown" if at(obj, "status", "reason") == "NodeLost" else "Terminating"
    return reason


def _of_containers(obj: Object, reason: str) -> str:
    running = False
    for one in reversed(_statuses(obj)):
        waiting, ended = at(one, "state", "waiting", "reason"), at(one, "state", "terminated")
        if waiting:
            reason = waiting
        elif ended is not None:
            reason = _ended(ended)
        elif one.get("ready") and at(one, "state", "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if _condition(obj, "Ready") else "NotReady"
    return reason


def _restarts(obj: Object) -> str:
    statuses = _statuses(obj)
    if _initializing(obj) and not _condition(obj, "Initialized"):
        statuses = _statuses(obj, "initContainerStatuses")
    else:
        sidecars = _sidecars(obj)
        statuses += [one for one in _statuses(obj, "initContainerStatuses") if one["name"] in sidecars]
    count = sum(int(one.get("restartCount") or 0) for one in statuses)
    ended = [str(at(one, "lastState", "terminated", "finishedAt", default="")) for one in statuses]
    latest = max(ended, default="")
    return f"{count} ({since(latest)} ago)" if count and latest else str(count)


def _gates(obj: Object) -> str:
    gates = at(obj, "spec", "readinessGates", default=[])
    if not gates:
        return NONE
    return f"{sum(1 for one in gates if _condition(obj, one['conditionType']))}/{len(gates)}"


def _ip(obj: Object) -> str:
    return str(at(obj, "status", "podIP") or NONE)


POD = (
    NAME,
    text("Ready", _ready),
    text("Status", status),
    text("Restarts", _restarts),
    AGE,
    text("IP", _ip, wide=True),
    text("Node", lambda o: at(o, "spec", "nodeName") or NONE, wide=True),
    text("Nominated Node", lambda o: at(o, "status", "nominatedNodeName") or NONE, wide=True),
    text("Readiness Gates", _gates, wide=True),
)
