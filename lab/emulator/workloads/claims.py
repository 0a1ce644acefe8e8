"""PersistentVolumeClaims: each gets a volume at once, a folder of the emulator's data."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from lab.emulator.kube.errors import StatusError
from lab.emulator.workloads.cluster import CLAIMS, PODS, VOLUMES, Cluster
from lab.emulator.workloads.objects import Obj, terminating
from lab.emulator.workloads.volumes import CLAIM_FOLDERS, claim_folder

PROVISIONER = "rancher.io/local-path"
CLASS = "local-path"
PROTECTION = "kubernetes.io/pvc-protection"
STORAGE_CLASSES = ("storage.k8s.io", "storageclasses")
_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def ensure_class(cluster: Cluster) -> None:
    """Make k3s's default storage class. It binds at once, not with the first consumer."""
    if cluster.find(STORAGE_CLASSES, None, CLASS) is None:
        cluster.create(
            STORAGE_CLASSES,
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": CLASS, "annotations": {_DEFAULT: "true"}},
                "provisioner": PROVISIONER,
                "reclaimPolicy": "Delete",
                "volumeBindingMode": "Immediate",
            },
        )


class Claims:
    """Binds claims, protects those in use, and removes the files of those that are gone."""

    def __init__(self, cluster: Cluster, data: Path) -> None:
        self._cluster = cluster
        self._data = data

    def reconcile(self, namespace: str, name: str) -> None:
        """Bind one claim, or let it go when no pod uses it."""
        claim = self._cluster.find(CLAIMS, namespace, name)
        if claim is None:
            return
        if terminating(claim):
            self._let_go(claim)
            return
        if PROTECTION not in (claim["metadata"].get("finalizers") or ()):
            claim["metadata"]["finalizers"] = [*(claim["metadata"].get("finalizers") or ()), PROTECTION]
            claim = self._cluster.update(CLAIMS, claim)
        if (claim.get("status") or {}).get("phase") != "Bound":
            self._bind(claim)

    def _bind(self, claim: Obj) -> None:
        wanted = claim["spec"].get("storageClassName", CLASS)
        if wanted != CLASS:
            text = f'storageclass.storage.k8s.io "{wanted}" not found' if wanted else "no persistent volumes available"
            if (claim.get("status") or {}).get("phase") != "Pending":
                self._cluster.put_status(CLAIMS, claim, {"phase": "Pending"})
                reason = "ProvisioningFailed" if wanted else "FailedBinding"
                self._cluster.event(claim, "Warning", reason, text, "persistentvolume-controller")
            return
        volume = self._volume(claim)
        with contextlib.suppress(StatusError):  # it is there: an earlier attempt was cut short
            self._cluster.create(VOLUMES, volume)
        made = self._cluster.find(VOLUMES, None, volume["metadata"]["name"])
        if made is not None:
            self._cluster.put_status(VOLUMES, made, {"phase": "Bound"})
        claim["spec"]["volumeName"] = volume["metadata"]["name"]
        claim["spec"]["storageClassName"] = CLASS
        claim = self._cluster.update(CLAIMS, claim)
        capacity = {"storage": claim["spec"]["resources"]["requests"]["storage"]}
        status = {"phase": "Bound", "accessModes": claim["spec"]["accessModes"], "capacity": capacity}
        self._cluster.put_status(CLAIMS, claim, status)
        text = f"Successfully provisioned volume {volume['metadata']['name']}"
        self._cluster.event(claim, "Normal", "ProvisioningSucceeded", text, PROVISIONER)

    def _volume(self, claim: Obj) -> Obj:
        metadata = claim["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"pvc-{metadata['uid']}",
                "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
            },
            "spec": {
                "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": metadata["name"],
                    "namespace": metadata["namespace"], "uid": metadata["uid"],
                },
                "hostPath": {"path": str(claim_folder(self._data, claim)), "type": "DirectoryOrCreate"},
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": CLASS,
                "volumeMode": claim["spec"].get("volumeMode", "Filesystem"),
            },
        }  # fmt: skip

    def _let_go(self, claim: Obj) -> None:
        """Remove the protection once no pod uses the claim; with the claim its volume and files go."""
        metadata = claim["metadata"]
        for pod in self._cluster.store.select(*PODS, metadata["namespace"]):
            volumes = pod["spec"].get("volumes") or ()
            used = any(
                (each.get("persistentVolumeClaim") or {}).get("claimName") == metadata["name"] for each in volumes
            )
            if used and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                return
        metadata["finalizers"] = [each for each in metadata.get("finalizers") or () if each != PROTECTION]
        self._cluster.update(CLAIMS, claim)
        volume = self._cluster.find(VOLUMES, None, f"pvc-{metadata['uid']}")
        if volume is not None and not metadata["finalizers"]:
            self._cluster.delete(VOLUMES, volume)
            shutil.rmtree(claim_folder(self._data, claim), ignore_errors=True)


def clean(cluster: Cluster, data: Path) -> None:
    """Remove the files of claims that no longer exist; blocking, at start."""
    known = {claim_folder(data, claim) for claim in cluster.store.select(*CLAIMS)}
    for folder in (data / CLAIM_FOLDERS).glob("*"):
        if folder not in known:
            shutil.rmtree(folder, ignore_errors=True)
