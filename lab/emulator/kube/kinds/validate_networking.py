"""Checks of services, endpoints and ingresses (pkg/apis/{core,networking,discovery}/validation, v1.33)."""

from __future__ import annotations

import ipaddress
from typing import Any

from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names
from lab.emulator.kube.objects import Object

_PROTOCOLS = ("SCTP", "TCP", "UDP")


def service(obj: Object) -> list[Cause]:
    """What is wrong with a service."""
    spec = obj["spec"]
    kind, ports = spec.get("type"), spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    causes = []
    if not ports and not headless and kind != "ExternalName":
        causes.append(Cause.required("spec.ports"))
    if headless and kind in ("LoadBalancer", "NodePort"):
        causes.append(Cause.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        causes += _external(spec)
    causes += _service_ports(ports, kind=str(kind))
    causes += names.labels(spec.get("selector") or {}, "spec.selector")
    if spec.get("sessionAffinity") not in ("ClientIP", "None"):
        causes.append(Cause.unsupported("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None")))
    return causes + _outside(spec)


def _outside(spec: Object) -> list[Cause]:
    """What is wrong with how a service is reached from outside."""
    kind, policy = spec.get("type"), spec.get("externalTrafficPolicy")
    addresses = spec.get("externalIPs") or []
    causes = [cause for index, ip in enumerate(addresses) for cause in _address(ip, f"spec.externalIPs[{index}]")]
    if policy and kind not in ("LoadBalancer", "NodePort") and not addresses:
        detail = "may only be set for externally-accessible services"
        causes.append(Cause.invalid("spec.externalTrafficPolicy", policy, detail))
    elif policy and policy not in ("Cluster", "Local"):
        causes.append(Cause.unsupported("spec.externalTrafficPolicy", policy, ("Cluster", "Local")))
    if spec.get("loadBalancerSourceRanges") and kind != "LoadBalancer":
        detail = "may only be used when `type` is 'LoadBalancer'"
        causes.append(Cause.forbidden("spec.LoadBalancerSourceRanges", detail))
    return causes


def _external(spec: Object) -> list[Cause]:
    name = str(spec.get("externalName") or "").removesuffix(".")
    if not name:
        return [Cause.required("spec.externalName")]
    return [Cause.invalid("spec.externalName", name, problem) for problem in names.subdomain(name)]


def _service_ports(ports: list[Object], *, kind: str) -> list[Cause]:
    causes = []
    seen_names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            causes.append(Cause.required(f"{path}.name"))
        elif name:
            causes += [Cause.invalid(f"{path}.name", name, problem) for problem in names.label(name)]
            if name in seen_names:
                causes.append(Cause.duplicate(f"{path}.name", name))
            seen_names.add(name)
        number = port.get("port") or 0
        causes += [Cause.invalid(f"{path}.port", number, problem) for problem in names.port(number)]
        if port.get("protocol") not in _PROTOCOLS:
            causes.append(Cause.unsupported(f"{path}.protocol", port.get("protocol"), _PROTOCOLS))
        causes += _target(port.get("targetPort"), f"{path}.targetPort")
        if port.get("nodePort") and kind == "ClusterIP":
            causes.append(Cause.forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'"))
        key = (port.get("protocol"), number)
        if key in seen:
            shown = (
                f'core.ServicePort{{Name:"", Protocol:"{key[0]}", AppProtocol:(*string)(nil), Port:{number}, '
                'TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:""}, NodePort:0}'
            )
            causes.append(Cause(path, f"Duplicate value: {shown}", "FieldValueDuplicate"))
        seen.add(key)
    return causes


def _target(port: Any, path: str) -> list[Cause]:
    if isinstance(port, str):
        return [Cause.invalid(path, port, problem) for problem in names.port_name(port)]
    return [Cause.invalid(path, port or 0, problem) for problem in names.port(port or 0)]


def service_change(new: Object, old: Object) -> list[Cause]:
    """The cluster IP stays, unless the type changes from or to ExternalName."""
    before, after = old["spec"], new["spec"]
    if "ExternalName" in (before.get("type"), after.get("type")) or not before.get("clusterIP"):
        return []
    if after.get("clusterIP") != before["clusterIP"]:
        return [Cause.invalid("spec.clusterIPs[0]", [after.get("clusterIP")], "may not change once set")]
    return []


def _address(text: str, path: str) -> list[Cause]:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return [Cause.invalid(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
    return []


def endpoints(obj: Object) -> list[Cause]:
    """What is wrong with Endpoints."""
    causes = []
    for index, subset in enumerate(obj.get("subsets") or []):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(Cause.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for place, one in enumerate(subset.get("addresses") or []):
            causes += _address(one.get("ip") or "", f"{path}.addresses[{place}].ip")
        ports = subset.get("ports") or []
        for place, port in enumerate(ports):
            if len(ports) > 1 and not port.get("name"):
                causes.append(Cause.required(f"{path}.ports[{place}].name"))
            number = port.get("port") or 0
            causes += [Cause.invalid(f"{path}.ports[{place}].port", number, problem) for problem in names.port(number)]
    return causes


def endpoint_slice(obj: Object) -> list[Cause]:
    """What is wrong with an EndpointSlice."""
    causes = []
    kind = obj.get("addressType")
    if not kind:
        causes.append(Cause.required("addressType"))
    elif kind not in ("FQDN", "IPv4", "IPv6"):
        causes.append(Cause.unsupported("addressType", kind, ("FQDN", "IPv4", "IPv6")))
    for index, one in enumerate(obj.get("endpoints") or []):
        if not one.get("addresses"):
            causes.append(Cause.required(f"endpoints[{index}].addresses", "must contain at least 1 address"))
    return causes


def ingress_class(obj: Object) -> list[Cause]:
    """What is wrong with an IngressClass."""
    controller = (obj.get("spec") or {}).get("controller") or ""
    return [] if controller else [Cause.required("spec.controller")]


def ingress(obj: Object) -> list[Cause]:
    """What is wrong with an ingress."""
    spec = obj.get("spec") or {}
    causes = []
    if not spec.get("rules") and not spec.get("defaultBackend"):
        detail = "either `defaultBackend` or `rules` must be specified"
        causes.append(Cause("spec", f"Invalid value: []networking.IngressRule(nil): {detail}"))
    if spec.get("defaultBackend"):
        causes += _backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(spec.get("rules") or []):
        causes += _rule(rule, f"spec.rules[{index}]")
    if spec.get("ingressClassName"):
        name = spec["ingressClassName"]
        causes += [Cause.invalid("spec.ingressClassName", name, problem) for problem in names.subdomain(name)]
    return causes


def _rule(rule: Object, path: str) -> list[Cause]:
    causes = []
    host = str(rule.get("host") or "")
    if host:
        bare = host.removeprefix("*.")
        if _is_address(bare):
            causes.append(Cause.invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
        else:
            causes += [Cause.invalid(f"{path}.host", host, problem) for problem in names.subdomain(bare)]
    http = rule.get("http")
    if http is not None and not http.get("paths"):
        causes.append(Cause.required(f"{path}.http.paths"))
    for index, one in enumerate((http or {}).get("paths") or []):
        causes += _path(one, f"{path}.http.paths[{index}]")
    return causes


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _path(found: Object, path: str) -> list[Cause]:
    kind, text = found.get("pathType"), str(found.get("path") or "")
    if not kind:
        return [Cause.required(f"{path}.pathType", "pathType must be specified")]
    causes = []
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            causes.append(Cause.invalid(f"{path}.path", text, "must be an absolute path"))
        causes += [Cause.invalid(f"{path}.path", text, f"must not contain '{part}'")
                   for part in ("//", "/./", "/../", "%2f", "%2F") if part in text]  # fmt: skip
        causes += [Cause.invalid(f"{path}.path", text, f"cannot end with '{part}'")
                   for part in ("/..", "/.") if text.endswith(part)]  # fmt: skip
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            causes.append(Cause.invalid(f"{path}.path", text, "must be an absolute path"))
    else:
        causes.append(Cause.unsupported(f"{path}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix")))
    return causes + _backend(found.get("backend") or {}, f"{path}.backend")


def _backend(backend: Object, path: str) -> list[Cause]:
    target, resource = backend.get("service"), backend.get("resource")
    if target and resource:
        return [Cause.invalid(path, "", "cannot set both resource and service backends")]
    if resource:
        return []
    if not target:
        return [Cause.invalid(path, "", "resource or service backend is required")]
    causes = []
    if not target.get("name"):
        causes.append(Cause.required(f"{path}.service.name"))
    else:
        causes += [Cause.invalid(f"{path}.service.name", target["name"], problem)
                   for problem in names.label_1035(target["name"])]  # fmt: skip
    port = target.get("port") or {}
    if port.get("name") and port.get("number"):
        causes.append(Cause.invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        causes += [Cause.invalid(f"{path}.service.port.name", port["name"], problem)
                   for problem in names.port_name(port["name"])]  # fmt: skip
    elif port.get("number"):
        causes += [Cause.invalid(f"{path}.service.port.number", port["number"], problem)
                   for problem in names.port(port["number"])]  # fmt: skip
    else:
        causes.append(Cause.required(path, "port name or number is required"))
    return causes
