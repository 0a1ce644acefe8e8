"""A pod's status from the states of its containers: phase and conditions (pkg/kubelet/status, kubelet_pods.go)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.emulator.kube.objects import timestamp
from lab.emulator.workloads.objects import Obj, condition


def phase(spec: Obj, init: Sequence[Obj], main: Sequence[Obj]) -> str:
    """Pending, Running, Succeeded or Failed, from container statuses."""
    policy = spec.get("restartPolicy", "Always")
    if not initialized(spec, init):
        failed = any(_exit_code(each) not in (None, 0) for each in init)
        return "Failed" if failed and policy == "Never" else "Pending"
    if any("waiting" in each["state"] and not each.get("lastState") for each in main):
        return "Pending"
    if any("running" in each["state"] or "waiting" in each["state"] for each in main):
        return "Running"
    codes = [_exit_code(each) for each in main]
    if policy == "Always" or (policy == "OnFailure" and any(codes)):
        return "Running"
    return "Failed" if any(codes) else "Succeeded"


def _exit_code(status: Obj) -> int | None:
    terminated = status["state"].get("terminated")
    return None if terminated is None else int(terminated["exitCode"])


def initialized(spec: Obj, init: Sequence[Obj]) -> bool:
    """Whether every init container has ended well (a restartable one: has started)."""
    restartable = {each["name"] for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"}
    return all(each.get("started", False) if each["name"] in restartable else _exit_code(each) == 0 for each in init)


def conditions(pod: Obj, phase_now: str, init: Sequence[Obj], main: Sequence[Obj], *, sandbox: bool) -> list[Obj]:
    """The kubelet's pod conditions, in upstream's order, with those that others set kept."""
    spec = pod["spec"]
    unready = [each["name"] for each in main if not each["ready"]]
    waiting = [each["name"] for each in init if _exit_code(each) != 0 and not each.get("started")]
    done = phase_now in {"Succeeded", "Failed"}
    new = [_condition("PodReadyToStartContainers", sandbox and not done)]
    if waiting and not initialized(spec, init):
        text = f"containers with incomplete status: [{' '.join(waiting)}]"
        new.append(_condition("Initialized", False, "ContainersNotInitialized", text))
    else:
        reason = "PodCompleted" if phase_now == "Succeeded" else ""
        new.append(_condition("Initialized", True, reason))
    ready = _containers_ready(phase_now, unready)
    new += [{**ready, "type": "Ready"}, ready]
    gates = [each["conditionType"] for each in spec.get("readinessGates") or ()]
    missing = [gate for gate in gates if (condition(pod, gate) or {}).get("status") != "True"]
    if missing and ready["status"] == "True":
        text = "; ".join(f'corresponding condition of pod readiness gate "{gate}" does not exist.' for gate in missing)
        new[-2] = _condition("Ready", False, "ReadinessGatesNotReady", text)
    before = {each["type"]: each for each in (pod.get("status") or {}).get("conditions") or ()}
    result = [_timed(each, before.get(each["type"])) for each in new]
    own = {each["type"] for each in new}
    return result + [dict(each) for kind, each in before.items() if kind not in own]


def _containers_ready(phase_now: str, unready: list[str]) -> Obj:
    if phase_now == "Succeeded":
        return _condition("ContainersReady", False, "PodCompleted")
    if phase_now == "Failed":
        return _condition("ContainersReady", False, "PodFailed")
    if unready:
        text = f"containers with unready status: [{' '.join(unready)}]"
        return _condition("ContainersReady", False, "ContainersNotReady", text)
    return _condition("ContainersReady", True)


def _condition(kind: str, value: bool, reason: str = "", message: str = "") -> Obj:
    shown: dict[str, Any] = {"type": kind, "status": "True" if value else "False"}
    if reason:
        shown["reason"] = reason
    if message:
        shown["message"] = message
    return shown


def _timed(new: Obj, old: Obj | None) -> Obj:
    same = old is not None and old["status"] == new["status"]
    return {**new, "lastTransitionTime": old["lastTransitionTime"] if old and same else timestamp()}
