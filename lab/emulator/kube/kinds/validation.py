"""Checks of objects before they are stored: metadata, and what each built-in kind asks for.

Texts are upstream's: pkg/apis/*/validation, k8s.io/apimachinery pkg/api/validation (v1.33).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import (
    names,
    validate_access,
    validate_apps,
    validate_batch,
    validate_config,
    validate_definition,
    validate_networking,
    validate_pod,
    validate_policy,
    validate_storage,
)
from lab.emulator.kube.objects import Object
from lab.emulator.kube.resources import Resource

Check = Callable[[Object], list[Cause]]
ChangeCheck = Callable[[Object, Object], list[Cause]]

_ANNOTATIONS_LIMIT = 256 * 1024

_NAMES: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("", "namespaces"): names.label,
    ("", "services"): names.label_1035,
    ("apps", "statefulsets"): names.label,
    ("rbac.authorization.k8s.io", "roles"): names.path_segment,
    ("rbac.authorization.k8s.io", "rolebindings"): names.path_segment,
    ("rbac.authorization.k8s.io", "clusterroles"): names.path_segment,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): names.path_segment,
    ("apiregistration.k8s.io", "apiservices"): names.path_segment,
    ("", "events"): lambda _: [],
}

_CHECKS: Mapping[tuple[str, str], Check] = {
    ("", "pods"): validate_pod.pod,
    ("", "configmaps"): validate_config.config_map,
    ("", "secrets"): validate_config.secret,
    ("", "services"): validate_networking.service,
    ("", "endpoints"): validate_networking.endpoints,
    ("", "events"): validate_config.event,
    ("", "persistentvolumeclaims"): validate_storage.claim,
    ("", "persistentvolumes"): validate_storage.volume,
    ("", "replicationcontrollers"): validate_apps.replication_controller,
    ("apps", "deployments"): validate_apps.deployment,
    ("apps", "replicasets"): validate_apps.replica_set,
    ("apps", "statefulsets"): validate_apps.stateful_set,
    ("apps", "daemonsets"): validate_apps.daemon_set,
    ("batch", "jobs"): validate_batch.job,
    ("batch", "cronjobs"): validate_batch.cron_job,
    ("networking.k8s.io", "ingresses"): validate_networking.ingress,
    ("networking.k8s.io", "ingressclasses"): validate_networking.ingress_class,
    ("discovery.k8s.io", "endpointslices"): validate_networking.endpoint_slice,
    ("rbac.authorization.k8s.io", "roles"): validate_access.role,
    ("rbac.authorization.k8s.io", "clusterroles"): validate_access.role,
    ("rbac.authorization.k8s.io", "rolebindings"): validate_access.binding,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): validate_access.binding,
    ("storage.k8s.io", "storageclasses"): validate_storage.storage_class,
    ("autoscaling", "horizontalpodautoscalers"): validate_batch.autoscaler,
    ("policy", "poddisruptionbudgets"): validate_batch.budget,
    ("networking.k8s.io", "networkpolicies"): validate_policy.network_policy,
    ("scheduling.k8s.io", "priorityclasses"): validate_policy.priority_class,
    ("coordination.k8s.io", "leases"): validate_policy.lease,
    ("", "resourcequotas"): validate_policy.quota,
    ("", "limitranges"): validate_policy.limit_range,
    ("apiextensions.k8s.io", "customresourcedefinitions"): validate_definition.definition,
}

_CHANGES: Mapping[tuple[str, str], ChangeCheck] = {
    ("", "pods"): validate_pod.pod_change,
    ("", "configmaps"): validate_config.config_map_change,
    ("", "secrets"): validate_config.secret_change,
    ("", "services"): validate_networking.service_change,
    ("", "persistentvolumeclaims"): validate_storage.claim_change,
    ("", "persistentvolumes"): validate_storage.volume_change,
    ("scheduling.k8s.io", "priorityclasses"): validate_policy.priority_class_change,
    ("apps", "deployments"): validate_apps.selector_change,
    ("apps", "replicasets"): validate_apps.selector_change,
    ("apps", "daemonsets"): validate_apps.selector_change,
    ("apps", "statefulsets"): validate_apps.stateful_set_change,
    ("batch", "jobs"): validate_batch.job_change,
    ("rbac.authorization.k8s.io", "rolebindings"): validate_access.binding_change,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): validate_access.binding_change,
    ("storage.k8s.io", "storageclasses"): validate_storage.storage_class_change,
    ("apiextensions.k8s.io", "customresourcedefinitions"): validate_definition.definition_change,
}


def check(group: str, plural: str, obj: Object) -> list[Cause]:
    """What is wrong with an object of a built-in kind."""
    found = _CHECKS.get((group, plural))
    return found(obj) if found else []


def check_change(group: str, plural: str, new: Object, old: Object) -> list[Cause]:
    """What a change of an object may not change."""
    found = _CHANGES.get((group, plural))
    return found(new, old) if found else []


def metadata(resource: Resource, obj: Object) -> list[Cause]:
    """What is wrong with an object's metadata."""
    meta = obj["metadata"]
    check_name = _NAMES.get((resource.group, resource.plural), names.subdomain)
    causes = [Cause.invalid("metadata.name", meta["name"], problem) for problem in check_name(meta["name"])]
    causes += names.labels(meta.get("labels") or {}, "metadata.labels")
    causes += _annotations(meta.get("annotations") or {})
    for finalizer in meta.get("finalizers") or []:
        causes += [Cause.invalid("metadata.finalizers", finalizer, problem) for problem in names.qualified(finalizer)]
    return causes + _owners(meta.get("ownerReferences") or [])


def _annotations(found: Mapping[str, Any]) -> list[Cause]:
    path = "metadata.annotations"
    causes = [Cause.invalid(path, key, one) for key in found for one in names.qualified(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in found.items()) > _ANNOTATIONS_LIMIT:
        causes.append(Cause.too_long(path, _ANNOTATIONS_LIMIT))
    return causes


def _owners(owners: list[Mapping[str, Any]]) -> list[Cause]:
    path = "metadata.ownerReferences"
    causes = []
    for index, owner in enumerate(owners):
        for key, detail in (("apiVersion", "version must not be empty"), ("kind", "must not be empty"),
                            ("name", "must not be empty"), ("uid", "must not be empty")):  # fmt: skip
            if not owner.get(key):
                causes.append(Cause.invalid(f"{path}[{index}].{key}", owner.get(key, ""), detail))
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        detail = (f'Only one reference can have Controller set to true. Found "true" in references for '
                  f"{controllers[0].get('kind')}/{controllers[0].get('name')} and "
                  f"{controllers[1].get('kind')}/{controllers[1].get('name')}")  # fmt: skip
        causes.append(Cause(path, f"Invalid value: {detail}"))
    return causes


def service_early(obj: Object) -> list[Cause]:
    """What must be right with a service before it gets addresses."""
    kind = obj["spec"]["type"]
    valid = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    return [] if kind in valid else [Cause.unsupported("spec.type", kind, valid)]
