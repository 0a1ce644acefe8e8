"""Checks of jobs, cron jobs, autoscalers and disruption budgets (pkg/apis/{batch,autoscaling,policy}, v1.33)."""

from __future__ import annotations

import re

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names, validate_pod
from lab.emulator.kube.kinds.validate_apps import nonnegative
from lab.emulator.kube.objects import Object

_SCHEDULE = re.compile(r"(?:(?:TZ|CRON_TZ)=\S+\s+)?(?:@(?:yearly|annually|monthly|weekly|daily|midnight|hourly)"
                       r"|@every \S+|(?:[\d*/,\-?LA-Za-z]+\s+){4}[\d*/,\-?LA-Za-z]+)\Z")  # fmt: skip

_GENERATED = {"batch.kubernetes.io/controller-uid"}
_ZONE = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"


def _job_spec(spec: Object, path: str) -> list[Cause]:
    causes = nonnegative(spec, path, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
                         "ttlSecondsAfterFinished")  # fmt: skip
    if spec.get("completionMode") not in (None, "Indexed", "NonIndexed"):
        causes.append(Cause.unsupported(f"{path}.completionMode", spec["completionMode"], ("Indexed", "NonIndexed")))
    template = spec.get("template") or {}
    causes += validate_pod.template(template, f"{path}.template")
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        place = f"{path}.template.spec.restartPolicy"
        detail = 'Required value: valid values: "OnFailure", "Never"'
        causes.append(Cause(place, detail, "FieldValueRequired") if policy == "Always" else
                      Cause.unsupported(place, policy, ("OnFailure", "Never")))  # fmt: skip
    return causes


def job(obj: Object) -> list[Cause]:
    """What is wrong with a job."""
    causes = _job_spec(obj["spec"], "spec")
    if not obj["spec"].get("selector"):
        causes.append(Cause.required("spec.selector"))
    elif not obj["spec"].get("manualSelector") and set(obj["spec"]["selector"].get("matchLabels") or {}) != _GENERATED:
        causes.append(Cause.invalid("spec.selector", "", "`selector` not auto-generated"))
    return causes


def job_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in a job."""
    causes = []
    for key in ("completions", "selector", "template", "completionMode"):
        if key == "completions" and new["spec"].get("completionMode") == "Indexed":
            continue
        if new["spec"].get(key) != old["spec"].get(key):
            if key == "template" and old["spec"].get("suspend") and not (old.get("status") or {}).get("startTime"):
                continue
            causes.append(Cause(f"spec.{key}", "Invalid value: field is immutable"))
    return causes


def cron_job(obj: Object) -> list[Cause]:
    """What is wrong with a cron job."""
    spec = obj["spec"]
    causes = []
    name = obj["metadata"]["name"]
    if len(name) > 52:
        causes.append(Cause.invalid("metadata.name", name, "must be no more than 52 characters"))
    if not spec.get("schedule"):
        causes.append(Cause.required("spec.schedule"))
    elif "TZ" in spec["schedule"]:
        causes.append(Cause.invalid("spec.schedule", spec["schedule"], _ZONE))
    elif not _SCHEDULE.match(spec["schedule"].strip()):
        fields = spec["schedule"].split()
        detail = f"expected exactly 5 fields, found {len(fields)}: {fields}".replace("'", "").replace(",", "")
        causes.append(Cause.invalid("spec.schedule", spec["schedule"], detail))
    if spec.get("concurrencyPolicy") not in ("Allow", "Forbid", "Replace"):
        valid = ("Allow", "Forbid", "Replace")
        causes.append(Cause.unsupported("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), valid))
    causes += nonnegative(
        spec, "spec", "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"
    )
    return causes + _job_spec((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec")


def autoscaler(obj: Object) -> list[Cause]:
    """What is wrong with a horizontal pod autoscaler."""
    spec = obj["spec"]
    causes = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        causes.append(Cause.invalid("spec.minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        causes.append(Cause.invalid("spec.maxReplicas", high, "must be greater than 0"))
    if low is not None and high < low:
        causes.append(Cause.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    causes += [Cause.required(f"spec.scaleTargetRef.{key}") for key in ("kind", "name") if not target.get(key)]
    return causes


def budget(obj: Object) -> list[Cause]:
    """What is wrong with a pod disruption budget."""
    spec = obj.get("spec") or {}
    causes = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        causes.append(Cause("spec", "Invalid value: minAvailable and maxUnavailable cannot be both set"))
    return causes + names.selector(spec.get("selector") or {}, "spec.selector")
