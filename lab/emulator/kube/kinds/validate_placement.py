"""Checks of where pods may run, and as whom (pkg/apis/core/validation/validation.go, v1.33)."""

from __future__ import annotations

from typing import Any

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names
from lab.emulator.kube.objects import Object

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_EVERY_TAINT = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
_IDS = "must be between 0 and 2147483647, inclusive"
_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def placement(spec: Object, path: str) -> list[Cause]:
    """What is wrong with tolerations, node affinity, spread constraints, host aliases and user ids of a pod spec."""
    causes = []
    for index, one in enumerate(spec.get("tolerations") or []):
        causes += _toleration(one, f"{path}.tolerations[{index}]")
    for index, one in enumerate(spec.get("topologySpreadConstraints") or []):
        causes += _spread(one, f"{path}.topologySpreadConstraints[{index}]")
    for index, one in enumerate(spec.get("hostAliases") or []):
        if not names.is_ip(one.get("ip") or ""):
            causes.append(Cause.invalid(f"{path}.hostAliases[{index}].ip", one.get("ip") or "", _IP))
    causes += _node_affinity((spec.get("affinity") or {}).get("nodeAffinity") or {}, f"{path}.affinity.nodeAffinity")
    causes += users(
        spec.get("securityContext") or {}, f"{path}.securityContext", ("fsGroup", "runAsUser", "runAsGroup")
    )
    return causes


def users(context: Object, path: str, keys: tuple[str, ...] = ("runAsUser", "runAsGroup")) -> list[Cause]:
    """What is wrong with the user and group ids of a security context."""
    given = [(key, context[key]) for key in keys if context.get(key) is not None]
    return [Cause.invalid(f"{path}.{key}", value, _IDS) for key, value in given if not 0 <= value <= 2147483647]


def _toleration(one: Object, path: str) -> list[Cause]:
    key, operator, effect = one.get("key") or "", one.get("operator") or "", one.get("effect") or ""
    causes = [Cause.invalid(f"{path}.key", key, problem) for problem in names.qualified(key)] if key else []
    if not key and operator != "Exists":
        causes.append(Cause.invalid(f"{path}.operator", operator, _EVERY_TAINT))
    if one.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        causes.append(Cause.invalid(f"{path}.effect", effect, detail))
    if operator == "Exists" and one.get("value"):
        detail = "value must be empty when `operator` is 'Exists'"
        causes.append(Cause.invalid(f"{path}.operator", one["value"], detail))
    if operator not in ("", "Equal", "Exists"):
        causes.append(Cause.unsupported(f"{path}.operator", operator, ("Equal", "Exists")))
    if effect and effect not in _EFFECTS:
        causes.append(Cause.unsupported(f"{path}.effect", effect, _EFFECTS))
    return causes


def _spread(one: Object, path: str) -> list[Cause]:
    causes = []
    if (one.get("maxSkew") or 0) <= 0:
        causes.append(Cause.invalid(f"{path}.maxSkew", one.get("maxSkew") or 0, "must be greater than zero"))
    if not one.get("topologyKey"):
        causes.append(Cause.required(f"{path}.topologyKey", "can not be empty"))
    valid = ("DoNotSchedule", "ScheduleAnyway")
    if one.get("whenUnsatisfiable") not in valid:
        causes.append(Cause.unsupported(f"{path}.whenUnsatisfiable", one.get("whenUnsatisfiable") or "", valid))
    return causes


def _node_affinity(affinity: Object, path: str) -> list[Cause]:
    required: Any = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return []
    place = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    terms = required.get("nodeSelectorTerms") or []
    causes = [] if terms else [Cause.required(place, "must have at least one node selector term")]
    for index, term in enumerate(terms):
        for number, rule in enumerate(term.get("matchExpressions") or []):
            causes += _requirement(rule, f"{place}[{index}].matchExpressions[{number}]")
    return causes


def _requirement(rule: Object, path: str) -> list[Cause]:
    operator, values = rule.get("operator") or "", rule.get("values") or []
    causes = [
        Cause.invalid(f"{path}.key", rule.get("key") or "", text) for text in names.qualified(rule.get("key") or "")
    ]
    if operator in ("In", "NotIn") and not values:
        detail = "must be specified when `operator` is 'In' or 'NotIn'"
        causes.append(Cause.required(f"{path}.values", detail))
    elif operator in ("Exists", "DoesNotExist") and values:
        detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        causes.append(Cause.forbidden(f"{path}.values", detail))
    elif operator in ("Gt", "Lt") and len(values) != 1:
        detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        causes.append(Cause.required(f"{path}.values", detail))
    elif operator not in ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"):
        causes.append(Cause.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    return causes
