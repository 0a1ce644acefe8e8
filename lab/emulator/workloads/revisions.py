"""ControllerRevisions: the remembered templates of stateful and daemon sets (pkg/controller/history)."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from lab.emulator.kube.objects import owner_reference
from lab.emulator.workloads.cluster import REVISIONS, Cluster
from lab.emulator.workloads.objects import Obj, terminating
from lab.emulator.workloads.rollout import same_template, template_hash

LABEL = "controller-revision-hash"


def name_of(revision: Obj) -> str:
    """The revision's name."""
    return str(revision["metadata"]["name"])


def hash_of(revision: Obj) -> str:
    """The last part of the revision's name."""
    return name_of(revision).rpartition("-")[2]


def template_of(revision: Obj) -> Obj:
    """The pod template that the revision remembers."""
    return {key: value for key, value in revision["data"]["spec"]["template"].items() if key != "$patch"}


def synchronise(cluster: Cluster, owner: Obj) -> tuple[Obj, list[Obj]]:
    """The revision of the owner's present template (made or taken up again), and all, oldest first."""
    known: list[Obj] = sorted(cluster.owned(REVISIONS, owner), key=lambda each: int(each["revision"]))
    template = owner["spec"]["template"]
    highest = int(known[-1]["revision"]) if known else 0
    same = next((each for each in known if same_template(template_of(each), template)), None)
    if same is not None:
        if int(same["revision"]) < highest:
            same["revision"] = highest + 1
            same = cluster.update(REVISIONS, same)
        known = [each for each in known if name_of(each) != name_of(same)]
        return same, [*known, same]
    made = cluster.create(REVISIONS, _revision(owner, highest + 1))
    return made, [*known, made]


def _revision(owner: Obj, number: int) -> Obj:
    template = copy.deepcopy(owner["spec"]["template"])
    metadata = owner["metadata"]
    digest = template_hash(template)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": {**((template.get("metadata") or {}).get("labels") or {}), LABEL: digest},
            "annotations": {
                key: value
                for key, value in (metadata.get("annotations") or {}).items()
                if key != "kubectl.kubernetes.io/last-applied-configuration"
            },
            "ownerReferences": [owner_reference(owner)],
        },
        "data": {"spec": {"template": {"$patch": "replace", **template}}},
        "revision": number,
    }


def prune(cluster: Cluster, owner: Obj, revisions: Iterable[Obj], used: set[str]) -> None:
    """Delete the oldest revisions beyond revisionHistoryLimit that no pod and no status uses."""
    limit = owner["spec"].get("revisionHistoryLimit")
    idle = [each for each in revisions if name_of(each) not in used and hash_of(each) not in used]
    keep = 10 if limit is None else int(limit)
    for each in idle[: max(0, len(idle) - keep)]:
        if not terminating(each):
            cluster.delete(REVISIONS, each)
