"""Checks of volumes, claims and storage classes (pkg/apis/{core,storage}/validation, v1.33)."""

from __future__ import annotations

from lab.emulator.kube import quantity
from lab.emulator.kube.errors import Cause
from lab.emulator.kube.objects import Object, copied

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_SOURCES = ("accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
            "storageClassName", "volumeAttributesClassName", "volumeMode")  # fmt: skip


def _modes(spec: Object) -> list[Cause]:
    modes = spec.get("accessModes") or []
    if not modes:
        return [Cause.required("spec.accessModes", "at least 1 access mode is required")]
    return [Cause.unsupported("spec.accessModes", mode, _MODES) for mode in modes if mode not in _MODES]


def claim(obj: Object) -> list[Cause]:
    """What is wrong with a claim."""
    spec = obj["spec"]
    causes = _modes(spec)
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        causes.append(Cause.required("spec.resources[storage]"))
    elif quantity.value(storage) <= 0:
        causes.append(Cause.invalid("spec.resources[storage]", storage, "must be greater than zero"))
    return causes


def claim_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in a claim."""
    before, after = copied(old["spec"]), copied(new["spec"])
    bound = (old.get("status") or {}).get("phase") == "Bound"
    sizes = [((spec.get("resources") or {}).get("requests") or {}).get("storage", "0") for spec in (before, after)]
    if bound and quantity.value(sizes[1]) < quantity.value(sizes[0]):
        return [Cause.forbidden("spec.resources.requests.storage", "field can not be less than previous value")]
    for spec in (before, after):
        spec.pop("volumeAttributesClassName", None)
        if bound:
            (spec.get("resources") or {}).get("requests", {}).pop("storage", None)
    if not before.get("volumeName"):  # a controller may bind it once
        before.pop("volumeName", None)
        after.pop("volumeName", None)
    if before.get("storageClassName") is None:
        before.pop("storageClassName", None)
        after.pop("storageClassName", None)
    if before == after:
        return []
    return [Cause.forbidden("spec", "spec is immutable after creation except resources.requests and "
                            "volumeAttributesClassName for bound claims")]  # fmt: skip


def volume(obj: Object) -> list[Cause]:
    """What is wrong with a volume."""
    spec = obj["spec"]
    causes = _modes(spec)
    if not (spec.get("capacity") or {}).get("storage"):
        causes.append(Cause.required("spec.capacity"))
    sources = [key for key in spec if key not in _SOURCES]
    if not sources:
        causes.append(Cause.required("spec", "must specify a volume type"))
    causes += [Cause.forbidden(f"spec.{key}", "may not specify more than 1 volume type") for key in sources[1:]]
    return causes


def volume_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in a volume."""
    sources = [{key: value for key, value in obj["spec"].items() if key not in _SOURCES} for obj in (new, old)]
    if sources[0] == sources[1]:
        return []
    text = "spec.persistentvolumesource is immutable after creation"
    return [Cause.forbidden("spec.persistentvolumesource", text)]


def storage_class(obj: Object) -> list[Cause]:
    """What is wrong with a storage class."""
    causes = [] if obj.get("provisioner") else [Cause.required("provisioner")]
    if obj.get("reclaimPolicy") not in ("Delete", "Retain"):
        causes.append(Cause.unsupported("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain")))
    valid = ("Immediate", "WaitForFirstConsumer")
    if obj.get("volumeBindingMode") not in valid:
        causes.append(Cause.unsupported("volumeBindingMode", obj.get("volumeBindingMode"), valid))
    return causes


def storage_class_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in a storage class."""
    causes = []
    for key in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        if new.get(key) != old.get(key):
            detail = "updates to {} are forbidden."
            causes.append(Cause.forbidden(key, detail.format(key)))
    return causes
