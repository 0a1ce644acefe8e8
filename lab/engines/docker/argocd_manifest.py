"""Upstream's install.yaml as the lab applies it: read, adapted, and put in order. No request is made here.

Its objects carry no namespace, and the two kinds that others wait for come first: custom resources can be made only
when their definitions are established, and a server reads its parameters only when it starts (contracts F.1, F.2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import workload
from lab.argocd import NAMESPACE
from lab.cluster import DEFINITION, Document, Kind
from lab.errors import LabError

CLUSTER_WIDE = ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding")
EXTRAS = ("argocd-dex-server", "argocd-notifications-controller", "argocd-applicationset-controller")
"""Parts that the loop does not need."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""1.9 MB of YAML: 0.3 s with libyaml, ten without."""


@dataclass(frozen=True)
class Manifest:
    """The objects, in the order in which they are applied."""

    definitions: list[Document]
    others: list[Document]
    workloads: list[Document]

    def summary(self) -> dict[str, Any]:
        """What a later look compares with: every object's name by kind, and each workload's images and replicas."""
        names: dict[str, list[str]] = {}
        for document in (*self.definitions, *self.others, *self.workloads):
            names.setdefault(" ".join(kind_of(document)), []).append(document["metadata"]["name"])
        parts = {item["metadata"]["name"]: part(item) for item in self.workloads}
        return {"names": names, "parts": parts}


def read(path: Path, images: Mapping[str, str], *, extras: bool) -> Manifest:
    """The manifest of a file.

    Args:
        path: upstream's install.yaml.
        images: other images than those it names.
        extras: whether `EXTRAS` run.

    Raises:
        LabError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            found = [document for document in yaml.load_all(file, _LOADER) if document]
    except yaml.YAMLError as error:
        raise LabError(
            "LAB-ARGO-02", f"{path} is damaged.", evidence=str(error)[:600], hint=f"rm {path}, then invoke up"
        ) from error
    documents = [_adapted(document, images, () if extras else EXTRAS) for document in found]
    workloads = [item for item in documents if _template(item) is not None]
    definitions = [item for item in documents if kind_of(item) == DEFINITION]
    return Manifest(definitions, [item for item in documents if item not in definitions + workloads], workloads)


def kind_of(document: Document) -> Kind:
    """``apiVersion`` and ``kind``."""
    return document["apiVersion"], document["kind"]


def part(item: Document) -> dict[str, Any]:
    """What tells one version of a workload from another."""
    return {"images": workload.images(item), "replicas": item.get("spec", {}).get("replicas", 1)}


def _adapted(document: Document, images: Mapping[str, str], off: Collection[str]) -> Document:
    if document["kind"] not in CLUSTER_WIDE:
        document["metadata"]["namespace"] = NAMESPACE
    template = _template(document)
    if template is not None:
        document["spec"]["replicas"] = 0 if document["metadata"]["name"] in off else 1
        for container in (*template["spec"]["containers"], *template["spec"].get("initContainers", ())):
            container["image"] = images.get(container["image"], container["image"])
            # The tags are pinned. "Always" would ask the registry at every start, also without a network.
            container["imagePullPolicy"] = "IfNotPresent"
    return document


def _template(document: Document) -> Document | None:
    spec = document.get("spec")
    found = spec.get("template") if isinstance(spec, dict) and document["apiVersion"] == "apps/v1" else None
    return found if isinstance(found, dict) else None
