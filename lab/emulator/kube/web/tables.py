"""Tables: what ``kubectl get`` prints, computed by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.emulator.kube.objects import Object
from lab.emulator.kube.web.columns import columns_of

if TYPE_CHECKING:
    from lab.emulator.kube.web.requests import Target


def table(target: Target, items: list[Object], include: str, version: str, *, headers: bool = True) -> dict[str, Any]:
    """A ``Table`` (meta.k8s.io/v1) of ``items``; rows carry what ``include`` says (Metadata, Object, None)."""
    columns = columns_of(target.resource, target.version)
    definitions = [
        {"name": one.name, "type": one.type, "format": one.format, "description": one.description,
         "priority": one.priority} for one in columns
    ]  # fmt: skip
    rows = [_row(columns, item, include) for item in items]
    meta = {"resourceVersion": version} if version else {}
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
            "columnDefinitions": definitions if headers else None, "rows": rows}  # fmt: skip


def _row(columns: Any, item: Object, include: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": [one.read(item) for one in columns]}
    phase = (item.get("status") or {}).get("phase") if item.get("kind") == "Pod" else None
    if phase in ("Succeeded", "Failed"):
        row["conditions"] = [{"type": "Completed", "status": "True", "reason": phase,
                              "message": "The pod has completed successfully." if phase == "Succeeded"
                              else "The pod failed."}]  # fmt: skip
    if include == "Object":
        row["object"] = item
    elif include != "None":
        row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
    return row
