"""Checks of deployments and the other sets of pods (pkg/apis/apps/validation/validation.go, v1.33)."""

from __future__ import annotations

import json
from typing import Any

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names, validate_pod
from lab.emulator.kube.objects import Object, copied
from lab.emulator.kube.selectors import label_selector


def nonnegative(spec: Object, path: str, *keys: str) -> list[Cause]:
    """Numbers that must not be below zero."""
    detail = "must be greater than or equal to 0"
    return [Cause.invalid(f"{path}.{key}", spec[key], detail) for key in keys if (spec.get(key) or 0) < 0]


def selected(spec: Object, path: str, noun: str) -> list[Cause]:
    """What is wrong with the selector of a set, and with the template it must match."""
    selector = spec.get("selector")
    causes: list[Cause] = []
    if selector is None:
        causes.append(Cause.required(f"{path}.selector"))
    else:
        causes += names.selector(selector, f"{path}.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            shown = f"Invalid value: {go_selector(selector)}: empty selector is invalid for {noun}"
            causes.append(Cause(f"{path}.selector", shown))
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not causes and not label_selector(selector)(labels):
        detail = "`selector` does not match template `labels`"
        causes.append(Cause.invalid(f"{path}.template.metadata.labels", labels, detail))
    return causes


def templated(spec: Object, path: str, kind: str) -> list[Cause]:
    """What is wrong with the template of a set whose pods run for ever."""
    template = spec.get("template") or {}
    causes = validate_pod.template(template, f"{path}.template")
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") != "Always":
        causes.append(Cause.unsupported(f"{path}.template.spec.restartPolicy", pod.get("restartPolicy"), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        place = f"{path}.template.spec.activeDeadlineSeconds"
        causes.append(Cause.forbidden(place, f"activeDeadlineSeconds in {kind} is not Supported"))
    return causes


def go_selector(selector: Object) -> str:
    """A LabelSelector as Go's ``%#v`` prints it."""
    labels = selector.get("matchLabels")
    shown = "map[string]string(nil)"
    if labels is not None:
        shown = (
            "map[string]string{"
            + ", ".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in sorted(labels.items()))
            + "}"
        )
    listed = [
        "v1.LabelSelectorRequirement{Key:" + json.dumps(one["key"]) + ", Operator:" + json.dumps(one["operator"])
        + ", Values:" + ("[]string{" + ", ".join(json.dumps(v) for v in one["values"]) + "}" if one.get("values")
                         else "[]string(nil)") + "}"
        for one in selector.get("matchExpressions") or []
    ]  # fmt: skip
    expressions = "[]v1.LabelSelectorRequirement" + ("{" + ", ".join(listed) + "}" if listed else "(nil)")
    return f"v1.LabelSelector{{MatchLabels:{shown}, MatchExpressions:{expressions}}}"


def deployment(obj: Object) -> list[Cause]:
    """What is wrong with a deployment."""
    spec = obj["spec"]
    causes = nonnegative(spec, "spec", "replicas")
    causes += selected(spec, "spec", "deployment") + templated(spec, "spec", "ReplicaSet")
    causes += _strategy(spec.get("strategy") or {})
    causes += nonnegative(spec, "spec", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        causes.append(Cause.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return causes


def _strategy(strategy: Object) -> list[Cause]:
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate":
        if rolling is None:
            return []
        detail = "may not be specified when strategy `type` is 'Recreate'"
        return [Cause.forbidden("spec.strategy.rollingUpdate", detail)]
    if strategy.get("type") != "RollingUpdate":
        return [Cause.unsupported("spec.strategy", strategy.get("type"), ("Recreate", "RollingUpdate"))]
    path, rolling = "spec.strategy.rollingUpdate", rolling or {}
    causes = _amount(rolling.get("maxUnavailable"), f"{path}.maxUnavailable")
    causes += _amount(rolling.get("maxSurge"), f"{path}.maxSurge")
    if not causes and _number(rolling.get("maxUnavailable")) == 0 and _number(rolling.get("maxSurge")) == 0:
        shown = rolling.get("maxUnavailable", 0)
        causes.append(Cause(f"{path}.maxUnavailable", f"Invalid value: {shown}: may not be 0 when `maxSurge` is 0"))
    return causes


def _amount(value: Any, path: str) -> list[Cause]:
    """What is wrong with a number or percentage."""
    if isinstance(value, str):
        if not value[:-1].isdigit() or not value.endswith("%"):
            return [Cause.invalid(path, value, "a valid percent string must be a numeric string followed by an ending "
                                  "'%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')")]  # fmt: skip
        if path.endswith("maxUnavailable") and int(value[:-1]) > 100:
            return [Cause.invalid(path, value, "must not be greater than 100%")]
        return []
    return [Cause.invalid(path, value, "must be greater than or equal to 0")] if (value or 0) < 0 else []


def _number(value: Any) -> int:
    return int(value[:-1]) if isinstance(value, str) else int(value or 0)


def replica_set(obj: Object) -> list[Cause]:
    """What is wrong with a replica set."""
    spec = obj["spec"]
    causes = nonnegative(spec, "spec", "replicas", "minReadySeconds") + selected(spec, "spec", "replicaset")
    return causes + templated(spec, "spec", "ReplicaSet")


def replication_controller(obj: Object) -> list[Cause]:
    """What is wrong with a replication controller."""
    spec = obj["spec"]
    causes = nonnegative(spec, "spec", "replicas", "minReadySeconds")
    if not spec.get("selector"):
        causes.append(Cause.required("spec.selector"))
    return causes + templated(spec, "spec", "ReplicationController")


def stateful_set(obj: Object) -> list[Cause]:
    """What is wrong with a stateful set."""
    spec = obj["spec"]
    causes = []
    if spec.get("podManagementPolicy") not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        causes.append(Cause.invalid("spec.podManagementPolicy", spec.get("podManagementPolicy"), detail))
    if (spec.get("updateStrategy") or {}).get("type") not in ("RollingUpdate", "OnDelete"):
        detail = "must be 'RollingUpdate' or 'OnDelete'"
        causes.append(Cause.invalid("spec.updateStrategy", (spec.get("updateStrategy") or {}).get("type"), detail))
    causes += nonnegative(spec, "spec", "replicas", "minReadySeconds")
    return causes + selected(spec, "spec", "statefulset") + templated(spec, "spec", "StatefulSet")


def daemon_set(obj: Object) -> list[Cause]:
    """What is wrong with a daemon set."""
    spec = obj["spec"]
    causes = nonnegative(spec, "spec", "minReadySeconds", "revisionHistoryLimit")
    if (spec.get("updateStrategy") or {}).get("type") not in ("RollingUpdate", "OnDelete"):
        kind = (spec.get("updateStrategy") or {}).get("type")
        causes.append(Cause.unsupported("spec.updateStrategy", kind, ("RollingUpdate", "OnDelete")))
    return causes + selected(spec, "spec", "daemonset") + templated(spec, "spec", "DaemonSet")


def selector_change(new: Object, old: Object) -> list[Cause]:
    """The selector stays."""
    selector = new["spec"].get("selector") or {}
    if selector == (old["spec"].get("selector") or {}):
        return []
    return [Cause("spec.selector", f"Invalid value: {go_selector(selector)}: field is immutable")]


_FREE = ("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
         "persistentVolumeClaimRetentionPolicy", "minReadySeconds")  # fmt: skip


def stateful_set_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in a stateful set."""
    before, after = copied(old["spec"]), copied(new["spec"])
    for key in _FREE:
        before.pop(key, None)
        after.pop(key, None)
    if before == after:
        return []
    *listed, last = (f"'{key}'" for key in _FREE)
    detail = f"updates to statefulset spec for fields other than {', '.join(listed)} and {last} are forbidden"
    return [Cause.forbidden("spec", detail)]
