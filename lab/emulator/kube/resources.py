"""The kinds that the API server serves: built-in ones and those that CustomResourceDefinitions add."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.emulator.kube.errors import StatusError

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

Reader = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Resource:
    """One kind: its names, versions and what the server does for it."""

    group: str
    versions: tuple[str, ...]
    """Served versions; objects are stored in the first one."""
    plural: str
    kind: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    """Whether ``/status`` is a resource of its own, so that main writes leave the status alone."""
    scale: bool = False
    generation: bool = False
    """Whether ``metadata.generation`` counts changes of what is asked for."""
    custom: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """The CustomResourceDefinition's spec; None for a built-in kind."""
    selectable: Mapping[str, Reader] = field(default_factory=dict, repr=False, compare=False)
    """Fields that a field selector may name, beside ``metadata.name`` and ``metadata.namespace``."""
    verbs: tuple[str, ...] = VERBS

    @property
    def version(self) -> str:
        """The version that objects are stored in."""
        return self.versions[0]

    @property
    def api_version(self) -> str:
        """``apiVersion`` of stored objects."""
        return self.api_version_of(self.version)

    def api_version_of(self, version: str) -> str:
        """``apiVersion`` of objects served as ``version``."""
        return f"{self.group}/{version}" if self.group else version

    @property
    def qualified(self) -> str:
        """The name that messages use: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular_name(self) -> str:
        """The name for one: ``pod``."""
        return self.singular or self.kind.lower()


def _path(*keys: str, default: str = "") -> Reader:
    def read(obj: Mapping[str, Any]) -> str:
        value: Any = obj
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, bool):
            return str(value).lower()
        return default if value is None else str(value)

    return read


def _at(*paths: str) -> dict[str, Reader]:
    return {path: _path(*path.split(".")) for path in paths}


_POD_FIELDS = {
    **_at("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
          "status.phase", "status.podIP", "status.nominatedNodeName"),
    "spec.hostNetwork": _path("spec", "hostNetwork", default="false"),
}  # fmt: skip
_EVENT_FIELDS = {
    **_at("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
          "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
          "reason", "reportingComponent", "type"),
    "source": lambda obj: str((obj.get("source") or {}).get("component") or obj.get("reportingComponent") or ""),
}  # fmt: skip

_ALL = ("all",)
_WORKLOAD: dict[str, Any] = {"status": True, "scale": True, "generation": True, "categories": _ALL}


def _core(plural: str, kind: str, **more: Any) -> Resource:
    return Resource("", ("v1",), plural, kind, **more)


def _of(group: str, plural: str, kind: str, *, versions: tuple[str, ...] = ("v1",), **more: Any) -> Resource:
    return Resource(group, versions, plural, kind, **more)


def _cluster(group: str, plural: str, kind: str, **more: Any) -> Resource:
    return _of(group, plural, kind, namespaced=False, **more)


BUILT_IN: tuple[Resource, ...] = (
    _core("namespaces", "Namespace", namespaced=False, short_names=("ns",), status=True,
          selectable=_at("status.phase")),
    _core("nodes", "Node", namespaced=False, short_names=("no",), status=True,
          selectable=_at("spec.unschedulable")),
    _core("pods", "Pod", short_names=("po",), categories=_ALL, status=True, selectable=_POD_FIELDS),
    _core("services", "Service", short_names=("svc",), categories=_ALL, status=True,
          selectable=_at("spec.clusterIP", "spec.type")),
    _core("configmaps", "ConfigMap", short_names=("cm",)),
    _core("secrets", "Secret", selectable=_at("type")),
    _core("serviceaccounts", "ServiceAccount", short_names=("sa",)),
    _core("endpoints", "Endpoints", singular="endpoints", short_names=("ep",)),
    _core("events", "Event", short_names=("ev",), selectable=_EVENT_FIELDS),
    _core("persistentvolumes", "PersistentVolume", namespaced=False, short_names=("pv",), status=True),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", short_names=("pvc",), status=True),
    _core("replicationcontrollers", "ReplicationController", short_names=("rc",), **_WORKLOAD),
    _core("resourcequotas", "ResourceQuota", short_names=("quota",), status=True),
    _core("limitranges", "LimitRange", short_names=("limits",)),
    _core("podtemplates", "PodTemplate"),
    _of("apps", "deployments", "Deployment", short_names=("deploy",), **_WORKLOAD),
    _of("apps", "replicasets", "ReplicaSet", short_names=("rs",), **_WORKLOAD),
    _of("apps", "statefulsets", "StatefulSet", short_names=("sts",), **_WORKLOAD),
    _of("apps", "daemonsets", "DaemonSet", short_names=("ds",), categories=_ALL, status=True, generation=True),
    _of("apps", "controllerrevisions", "ControllerRevision"),
    _of("batch", "jobs", "Job", categories=_ALL, status=True, generation=True,
        selectable=_at("status.successful")),
    _of("batch", "cronjobs", "CronJob", short_names=("cj",), categories=_ALL, status=True, generation=True),
    _of("networking.k8s.io", "ingresses", "Ingress", short_names=("ing",), status=True, generation=True),
    _cluster("networking.k8s.io", "ingressclasses", "IngressClass", generation=True),
    _of("networking.k8s.io", "networkpolicies", "NetworkPolicy", short_names=("netpol",), generation=True),
    _of("discovery.k8s.io", "endpointslices", "EndpointSlice", generation=True),
    _of("rbac.authorization.k8s.io", "roles", "Role"),
    _of("rbac.authorization.k8s.io", "rolebindings", "RoleBinding"),
    _cluster("rbac.authorization.k8s.io", "clusterroles", "ClusterRole"),
    _cluster("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding"),
    _of("coordination.k8s.io", "leases", "Lease"),
    _cluster("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition",
             short_names=("crd", "crds"), categories=("api-extensions",), status=True, generation=True),
    _cluster("storage.k8s.io", "storageclasses", "StorageClass", short_names=("sc",)),
    _cluster("storage.k8s.io", "csidrivers", "CSIDriver", generation=True),
    _cluster("storage.k8s.io", "csinodes", "CSINode"),
    _of("storage.k8s.io", "csistoragecapacities", "CSIStorageCapacity"),
    _cluster("node.k8s.io", "runtimeclasses", "RuntimeClass"),
    _cluster("certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest", short_names=("csr",),
             status=True, selectable=_at("spec.signerName")),
    _cluster("storage.k8s.io", "volumeattachments", "VolumeAttachment", status=True),
    _cluster("scheduling.k8s.io", "priorityclasses", "PriorityClass", short_names=("pc",), generation=True),
    _of("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", versions=("v2", "v1"),
        short_names=("hpa",), categories=_ALL, status=True),
    _of("policy", "poddisruptionbudgets", "PodDisruptionBudget", short_names=("pdb",), status=True, generation=True),
    _cluster("admissionregistration.k8s.io", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration",
             categories=("api-extensions",), generation=True),
    _cluster("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration",
             categories=("api-extensions",), generation=True),
    _cluster("apiregistration.k8s.io", "apiservices", "APIService", categories=("api-extensions",), status=True),
)  # fmt: skip

GROUP_ORDER = (
    "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
    "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
    "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
    "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io",
)  # fmt: skip


class Resources:
    """The registry of kinds; CustomResourceDefinitions change it at run time."""

    def __init__(self, kinds: tuple[Resource, ...] = BUILT_IN) -> None:
        self._by_plural: dict[tuple[str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self.generation = 0
        """Counts changes; caches of discovery documents compare it."""
        for kind in kinds:
            self.add(kind)

    def add(self, resource: Resource) -> None:
        """Serve ``resource``, in place of an earlier one with its names."""
        self._by_plural[resource.group, resource.plural] = resource
        self._by_kind[resource.group, resource.kind] = resource
        self.generation += 1

    def remove(self, group: str, plural: str) -> None:
        """Stop serving a kind."""
        found = self._by_plural.pop((group, plural), None)
        if found:
            self._by_kind.pop((group, found.kind), None)
            self.generation += 1

    def find(self, group: str, plural: str) -> Resource | None:
        """The kind with this plural name, or None."""
        return self._by_plural.get((group, plural))

    def get(self, group: str, plural: str) -> Resource:
        """The kind with this plural name.

        Raises:
            StatusError: 404, there is none.
        """
        found = self.find(group, plural)
        if not found:
            raise no_such_resource()
        return found

    def of_kind(self, api_version: str, kind: str) -> Resource:
        """The kind that an object's ``apiVersion`` and ``kind`` name.

        Raises:
            StatusError: 404, there is none; the message is client-go's.
        """
        group, _, version = api_version.rpartition("/")
        found = self._by_kind.get((group, kind))
        if not found or version not in found.versions:
            raise StatusError(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"')
        return found

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._by_plural.values()))

    def groups(self) -> dict[str, list[str]]:
        """Every group with its versions, in the order in which discovery lists them; the preferred version first."""
        found: dict[str, list[str]] = {}
        for resource in self._by_plural.values():
            versions = found.setdefault(resource.group, [])
            versions += [version for version in resource.versions if version not in versions]
        rank = {group: index for index, group in enumerate(GROUP_ORDER)}
        return {group: found[group] for group in sorted(found, key=lambda group: (rank.get(group, 99), group))}


def no_such_resource() -> StatusError:
    """404 of a path that no kind is served under."""
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message, {})
