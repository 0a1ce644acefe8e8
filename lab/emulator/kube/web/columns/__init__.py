"""The columns that ``kubectl get`` shows for each kind.

Source: pkg/printers/internalversion/printers.go (v1.33).
"""

from __future__ import annotations

from lab.emulator.kube.resources import Resource
from lab.emulator.kube.web.columns import apps, cluster, core
from lab.emulator.kube.web.columns.column import AGE, NAME, Column
from lab.emulator.kube.web.columns.custom import custom_columns

__all__ = ["Column", "columns_of"]

_COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {**core.COLUMNS, **apps.COLUMNS, **cluster.COLUMNS}


def columns_of(resource: Resource, version: str) -> tuple[Column, ...]:
    """The columns of a kind; name and age for one that upstream prints nothing special for."""
    if resource.custom is not None:
        return custom_columns(resource, version)
    return _COLUMNS.get((resource.group, resource.plural), (NAME, AGE))
