"""Columns of workloads: apps and batch."""

from __future__ import annotations

import time

from lab.emulator.kube.objects import Object
from lab.emulator.kube.web.columns.column import (
    AGE,
    NAME,
    NONE,
    Column,
    at,
    containers,
    human,
    label_text,
    number,
    seconds,
    selector_text,
    since,
    text,
)

_TEMPLATE = ("spec", "template", "spec")
_JOB_TEMPLATE = ("spec", "jobTemplate", "spec", "template", "spec")


def _count(name: str, *path: str) -> Column:
    return number(name, lambda o: at(o, *path, default=0))


def _wide(template: tuple[str, ...], selector: tuple[str, ...] | None) -> tuple[Column, ...]:
    found = (text("Containers", containers("name", *template), wide=True),
             text("Images", containers("image", *template), wide=True))  # fmt: skip
    if selector is None:
        return found
    return (*found, text("Selector", lambda o: selector_text(at(o, *selector)), wide=True))


def _ready(obj: Object) -> str:
    return f"{at(obj, 'status', 'readyReplicas', default=0)}/{at(obj, 'spec', 'replicas', default=0)}"


def _completions(obj: Object) -> str:
    done = at(obj, "status", "succeeded", default=0)
    wanted = at(obj, "spec", "completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallel = at(obj, "spec", "parallelism", default=0)
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _duration(obj: Object) -> str:
    start = seconds(at(obj, "status", "startTime"))
    end = seconds(at(obj, "status", "completionTime"))
    return "" if start is None else human((time.time() if end is None else end) - start)


def _job_status(obj: Object) -> str:
    met = {one["type"] for one in at(obj, "status", "conditions", default=[]) if one["status"] == "True"}
    for condition, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition in met:
            return shown
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((one for one in ("Suspended", "FailureTarget") if one in met), "Running")


def _owner(obj: Object) -> str:
    owner = next((one for one in obj["metadata"].get("ownerReferences") or [] if one.get("controller")), None)
    if not owner:
        return NONE
    group = owner["apiVersion"].rpartition("/")[0]
    kind = owner["kind"].lower()
    return f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"


COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("apps", "deployments"): (
        NAME, text("Ready", _ready),
        text("Up-to-date", lambda o: at(o, "status", "updatedReplicas", default=0)),
        text("Available", lambda o: at(o, "status", "availableReplicas", default=0)), AGE,
        *_wide(_TEMPLATE, ("spec", "selector")),
    ),
    ("apps", "replicasets"): (
        NAME, _count("Desired", "spec", "replicas"), _count("Current", "status", "replicas"),
        _count("Ready", "status", "readyReplicas"), AGE, *_wide(_TEMPLATE, ("spec", "selector")),
    ),
    ("apps", "statefulsets"): (NAME, text("Ready", _ready), AGE, *_wide(_TEMPLATE, None)),
    ("apps", "daemonsets"): (
        NAME, _count("Desired", "status", "desiredNumberScheduled"),
        _count("Current", "status", "currentNumberScheduled"), _count("Ready", "status", "numberReady"),
        _count("Up-to-date", "status", "updatedNumberScheduled"), _count("Available", "status", "numberAvailable"),
        text("Node Selector", lambda o: label_text(at(o, *_TEMPLATE, "nodeSelector"))), AGE,
        *_wide(_TEMPLATE, ("spec", "selector")),
    ),
    ("apps", "controllerrevisions"): (
        NAME, text("Controller", _owner), text("Revision", lambda o: o.get("revision", 0)), AGE,
    ),
    ("batch", "jobs"): (
        NAME, text("Status", _job_status), text("Completions", _completions), text("Duration", _duration), AGE,
        *_wide(_TEMPLATE, ("spec", "selector")),
    ),
    ("batch", "cronjobs"): (
        NAME, text("Schedule", lambda o: at(o, "spec", "schedule", default="")),
        text("Timezone", lambda o: at(o, "spec", "timeZone") or NONE),
        Column("Suspend", "boolean", lambda o: "True" if at(o, "spec", "suspend") else "False"),
        number("Active", lambda o: len(at(o, "status", "active", default=[]))),
        text("Last Schedule", lambda o: since(at(o, "status", "lastScheduleTime"))
             if at(o, "status", "lastScheduleTime") else NONE), AGE,
        *_wide(_JOB_TEMPLATE, ("spec", "jobTemplate", "spec", "selector")),
    ),
}  # fmt: skip
