"""What this server stores without doing it: said to whoever creates it, as a warning or as a refusal.

kubectl prints a response's warnings; a refusal is an error that names what is missing.
"""

from __future__ import annotations

import json

from lab.emulator.kube.errors import not_emulated
from lab.emulator.kube.objects import Object
from lab.emulator.kube.resources import Resource

_RBAC = "rbac.authorization.k8s.io"
_ACCESS = "access rules are stored, but the administrator is the only user"
_STORED = {
    ("", "replicationcontrollers"): "replication controllers are stored, but no pods are made for them",
    ("", "resourcequotas"): "resource quotas are stored, but nothing is counted or limited",
    ("", "limitranges"): "limit ranges are stored, but nothing is defaulted or limited by them",
    ("networking.k8s.io", "networkpolicies"): "network policies are stored, but no traffic is filtered",
    ("autoscaling", "horizontalpodautoscalers"): "autoscalers are stored, but nothing is measured or scaled",
    ("policy", "poddisruptionbudgets"): "the status of disruption budgets is not kept (evictions do ask them)",
    ("certificates.k8s.io", "certificatesigningrequests"): "signing requests are stored, but nobody signs them",
    (_RBAC, "roles"): _ACCESS,
    (_RBAC, "clusterroles"): _ACCESS,
    (_RBAC, "rolebindings"): _ACCESS,
    (_RBAC, "clusterrolebindings"): _ACCESS,
}


def notice(resource: Resource, obj: Object, warnings: list[str]) -> None:
    """Warn of what the object will not bring about.

    Raises:
        StatusError: 501, an object that would do nothing but pretend.
    """
    place = (resource.group, resource.plural)
    if place in _STORED:
        warnings.append(f"not emulated: {_STORED[place]}")
    elif resource.group == "admissionregistration.k8s.io":
        raise not_emulated(f"admission webhooks ({resource.kind})")
    elif resource.plural == "apiservices" and (obj.get("spec") or {}).get("service"):
        raise not_emulated("API servers behind the aggregation layer (APIService with a service)")
    elif resource.plural == "customresourcedefinitions":
        _definition(obj, warnings)


def _definition(obj: Object, warnings: list[str]) -> None:
    spec = obj["spec"]
    if (spec.get("conversion") or {}).get("strategy") == "Webhook":
        raise not_emulated("conversion webhooks (spec.conversion.strategy: Webhook)")
    if "x-kubernetes-validations" in json.dumps(spec.get("versions") or []):
        warnings.append(
            "not emulated: validation rules in CEL (x-kubernetes-validations) are stored, but not evaluated"
        )
