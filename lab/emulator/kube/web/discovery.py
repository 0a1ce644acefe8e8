"""Discovery: which groups, versions and kinds there are, in the old form and aggregated.

Source: apiserver pkg/endpoints/discovery and its ``aggregated`` package (v0.33).
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from lab.emulator.kube.resources import Resource, Resources, no_such_resource

VERSION = {
    "major": "1", "minor": "33", "gitVersion": "v1.33.5+emulator", "gitCommit": "", "gitTreeState": "clean",
    "emulationMajor": "1", "emulationMinor": "33", "minCompatibilityMajor": "1", "minCompatibilityMinor": "32",
    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
}  # fmt: skip
"""``/version``. A minor of 33 is what the served kinds, defaults and texts were taken from."""

REVIEWS = {
    "authorization.k8s.io": (
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
        ("subjectaccessreviews", "SubjectAccessReview", False),
        ("localsubjectaccessreviews", "LocalSubjectAccessReview", True),
    ),
    "authentication.k8s.io": (
        ("tokenreviews", "TokenReview", False),
        ("selfsubjectreviews", "SelfSubjectReview", False),
    ),
}

_SUBRESOURCES: dict[tuple[str, str], tuple[tuple[str, str, str, str, tuple[str, ...]], ...]] = {
    ("", "pods"): (
        ("log", "", "", "Pod", ("get",)),
        ("binding", "", "", "Binding", ("create",)),
        ("eviction", "policy", "v1", "Eviction", ("create",)),
        ("exec", "", "", "PodExecOptions", ("create", "get")),
        ("attach", "", "", "PodAttachOptions", ("create", "get")),
        ("portforward", "", "", "PodPortForwardOptions", ("create", "get")),
        ("proxy", "", "", "PodProxyOptions", ("create", "delete", "get", "patch", "update")),
        ("ephemeralcontainers", "", "", "Pod", ("get", "patch", "update")),
        ("resize", "", "", "Pod", ("get", "patch", "update")),
    ),
    ("", "namespaces"): (("finalize", "", "", "Namespace", ("update",)),),
    ("", "serviceaccounts"): (("token", "authentication.k8s.io", "v1", "TokenRequest", ("create",)),),
    ("", "services"): (("proxy", "", "", "ServiceProxyOptions", ("create", "delete", "get", "patch", "update")),),
    ("", "nodes"): (("proxy", "", "", "NodeProxyOptions", ("create", "delete", "get", "patch", "update")),),
}


def _hash(*parts: str) -> str:
    return base64.b64encode(hashlib.sha256("/".join(parts).encode()).digest()[:8]).decode()


class Discovery:
    """Discovery documents, made again when the kinds change."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def api_versions(self, address: str) -> dict[str, Any]:
        """``/api``."""
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }

    def _groups(self) -> dict[str, list[str]]:
        found = self._resources.groups()
        for group in REVIEWS:
            found.setdefault(group, ["v1"])
        return found

    def group_list(self) -> dict[str, Any]:
        """``/apis``."""
        groups = [self._group(group, versions) for group, versions in self._groups().items() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def group(self, name: str) -> dict[str, Any]:
        """``/apis/GROUP``; raises 404."""
        versions = self._groups().get(name)
        if not versions or not name:
            raise no_such_resource()
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name, versions)}

    def _group(self, name: str, versions: list[str]) -> dict[str, Any]:
        listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
        return {"name": name, "versions": listed, "preferredVersion": listed[0]}

    def resource_list(self, group: str, version: str) -> dict[str, Any]:
        """``/api/v1`` and ``/apis/GROUP/VERSION``; raises 404."""
        if version not in self._groups().get(group, ()):
            raise no_such_resource()
        listed: list[dict[str, Any]] = []
        for resource in self._of(group, version):
            listed += self._entries(resource, version)
        listed += [
            {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": ["create"]}
            for plural, kind, namespaced in REVIEWS.get(group, ())
        ]
        name = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed}

    def _of(self, group: str, version: str) -> list[Resource]:
        found = [one for one in self._resources if one.group == group and version in one.versions]
        return sorted(found, key=lambda one: one.plural)

    def _entries(self, resource: Resource, version: str) -> list[dict[str, Any]]:
        entry: dict[str, Any] = {
            "name": resource.plural, "singularName": resource.singular_name, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": list(resource.verbs),
        }  # fmt: skip
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        entry["storageVersionHash"] = _hash(resource.group, version, resource.kind)
        found = [entry]
        for name, group, sub_version, kind, verbs in self._subresources(resource):
            one: dict[str, Any] = {"name": f"{resource.plural}/{name}", "singularName": "",
                                   "namespaced": resource.namespaced}  # fmt: skip
            if group:
                one["group"] = group
            if sub_version:
                one["version"] = sub_version
            found.append({**one, "kind": kind, "verbs": list(verbs)})
        return found

    def _subresources(self, resource: Resource) -> list[tuple[str, str, str, str, tuple[str, ...]]]:
        found = list(_SUBRESOURCES.get((resource.group, resource.plural), ()))
        if resource.scale:
            found.append(("scale", "autoscaling", "v1", "Scale", ("get", "patch", "update")))
        if resource.status:
            found.append(("status", "", "", resource.kind, ("get", "patch", "update")))
        return found

    def aggregated(self, *, core: bool, version: str = "v2") -> dict[str, Any]:
        """``/api`` or ``/apis`` in one document, for clients that ask for APIGroupDiscoveryList."""
        groups = [
            {"metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
             "versions": [self._aggregated_version(group, one) for one in versions]}
            for group, versions in self._groups().items() if bool(group) != core
        ]  # fmt: skip
        return {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {},
                "items": groups}  # fmt: skip

    def _aggregated_version(self, group: str, version: str) -> dict[str, Any]:
        listed = [self._aggregated_resource(resource, version) for resource in self._of(group, version)]
        for plural, kind, namespaced in REVIEWS.get(group, ()):
            answered = {"group": group, "version": version, "kind": kind}
            listed.append({"resource": plural, "responseKind": answered, "scope": _scope(namespaced),
                           "singularResource": kind.lower(), "verbs": ["create"]})  # fmt: skip
        return {"version": version, "resources": listed, "freshness": "Current"}

    def _aggregated_resource(self, resource: Resource, version: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "resource": resource.plural,
            "responseKind": {"group": resource.group, "version": version, "kind": resource.kind},
            "scope": _scope(resource.namespaced), "singularResource": resource.singular_name,
            "verbs": list(resource.verbs),
        }  # fmt: skip
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        subs = [
            {"subresource": name, "responseKind": {"group": group or (resource.group if not sub_version else group),
                                                   "version": sub_version or version, "kind": kind},
             "verbs": list(verbs)}
            for name, group, sub_version, kind, verbs in self._subresources(resource)
        ]  # fmt: skip
        if subs:
            entry["subresources"] = subs
        return entry


def _scope(namespaced: bool) -> str:
    return "Namespaced" if namespaced else "Cluster"


def etag(document: Any) -> str:
    """A hash of a document, as ETag headers carry it."""
    return '"' + hashlib.sha512(json.dumps(document, sort_keys=True).encode()).hexdigest().upper() + '"'
