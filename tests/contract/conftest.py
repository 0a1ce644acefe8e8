"""Which contract tests apply to which target: each says what it needs, and is deselected where the target lacks that.

The embedded lab has everything. Real systems have what the LAB_TARGET_* variables name.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

VARIABLES = {
    "gitlab": "LAB_TARGET_GITLAB",
    "registry": "LAB_TARGET_REGISTRY",
    "kubernetes": "LAB_TARGET_KUBECONFIG",
    "ingress": "LAB_TARGET_APP",
    "argocd": "LAB_TARGET_ARGOCD",
    "runner": "",  # the suite can attach only the emulator's
}
LACKING = pytest.StashKey[Counter[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    real = {name for name, variable in VARIABLES.items() if os.environ.get(variable)}
    offered = real or set(VARIABLES)
    lacking = config.stash.setdefault(LACKING, Counter())
    left_out = []
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        missing = _needs(item) - offered
        if missing:
            lacking[f"no {' and no '.join(sorted(missing))}"] += 1
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return [
        f"{count} contract tests do not apply: the target has {what}"
        for what, count in config.stash.get(LACKING, Counter()).items()
    ]


def _needs(item: pytest.Item) -> set[str]:
    needs = {name for mark in item.iter_markers("needs") for name in mark.args}
    if not needs or needs - set(VARIABLES):
        raise pytest.UsageError(f"{item.nodeid} must say what it needs, of {', '.join(VARIABLES)}")
    return needs
