"""A container's environment: image, services, ConfigMaps, Secrets, downward API, and what the emulator adds.

Source: pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables), pkg/kubelet/envvars (v1.33).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lab.emulator.workloads.cluster import CONFIG_MAPS, SECRETS, Kind
from lab.emulator.workloads.expansion import expand
from lab.emulator.workloads.objects import Obj
from lab.emulator.workloads.ports import LOOPBACK
from lab.emulator.workloads.resources import resource_field

Lookup = Callable[[Kind, str], Obj | None]
"""Finds an object of the pod's namespace by kind and name."""

_FIELD_KEY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")


class ConfigError(Exception):
    """The container cannot be created: what it refers to is missing (CreateContainerConfigError)."""


def content(kind: Kind, obj: Obj) -> dict[str, bytes]:
    """Every key of a ConfigMap or Secret with its value."""
    if kind == SECRETS:
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    plain = {key: str(value).encode() for key, value in (obj.get("data") or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def service_variables(services: Iterable[tuple[Obj, Mapping[str, tuple[str, int]]]]) -> dict[str, str]:
    """What a pod learns about services: ``<NAME>_SERVICE_HOST``, ``_SERVICE_PORT`` and Docker's link variables.

    Each service comes with address and port per service port name (see `proxy`). A headless one gives nothing.
    """
    result: dict[str, str] = {}
    for service, local in services:
        ports = service["spec"].get("ports") or ()
        if service["spec"].get("clusterIP") in (None, "", "None") or not ports:
            continue
        name = shell_name(service["metadata"]["name"])
        for index, port in enumerate(ports):
            found = local.get(port.get("name", ""))
            if found is None:
                continue
            host, number = found
            if index == 0:
                result[f"{name}_SERVICE_HOST"] = host
                result[f"{name}_SERVICE_PORT"] = str(number)
                result[f"{name}_PORT"] = f"tcp://{host}:{number}"
            if port.get("name"):
                result[f"{name}_SERVICE_PORT_{shell_name(port['name'])}"] = str(number)
            protocol = port.get("protocol", "TCP").lower()
            link = f"{name}_PORT_{port['port']}_{protocol.upper()}"
            result[link] = f"{protocol}://{host}:{number}"
            result[f"{link}_PROTO"], result[f"{link}_PORT"] = protocol, str(number)
            result[f"{link}_ADDR"] = host
    return result


def shell_name(name: str) -> str:
    """A name as part of a variable's name: upper case, ``-`` and ``.`` as ``_``."""
    return name.upper().replace("-", "_").replace(".", "_")


def port_variables(container: Mapping[str, Any], ports: Mapping[int, int]) -> dict[str, str]:
    """Where the container is to listen: ``PORT`` for its first port, ``PORT_<NAME>`` for each (number if unnamed)."""
    declared = [port for port in container.get("ports") or () if int(port["containerPort"]) in ports]
    result = {}
    for port in declared:
        name = shell_name(port.get("name") or str(port["containerPort"]))
        result[f"PORT_{name}"] = str(ports[int(port["containerPort"])])
    first = int(declared[0]["containerPort"]) if declared else 0
    return {"PORT": str(ports[first]), **result} if first in ports else result


def pod_variables(pod: Obj, container: Mapping[str, Any], lookup: Lookup, known: Mapping[str, str]) -> dict[str, str]:
    """The variables that the pod's spec gives, expanded; ``known`` are those that ``$(NAME)`` may also refer to.

    Raises:
        ConfigError: a ConfigMap, Secret or key is missing and not optional.
    """
    result: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        result.update(_from_source(source, lookup))
    for variable in container.get("env") or ():
        if variable.get("valueFrom"):
            value = _value_from(pod, container, variable["valueFrom"], lookup)
            if value is None:
                continue
        else:
            value = expand(variable.get("value") or "", {**known, **result})
        result[variable["name"]] = value
    return result


def _from_source(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    for key, kind, word in (("configMapRef", CONFIG_MAPS, "configmap"), ("secretRef", SECRETS, "secret")):
        reference = source.get(key)
        if reference is None:
            continue
        found = lookup(kind, reference["name"])
        if found is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(f'{word} "{reference["name"]}" not found')
        prefix = source.get("prefix") or ""
        values = content(kind, found).items()
        return {prefix + name: text for name, value in values if (text := _text(value)) is not None}
    return {}


def _text(value: bytes) -> str | None:
    """A value as a variable can hold it, or None."""
    text = value.decode(errors="surrogateescape")
    return None if "\0" in text else text


def _value_from(pod: Obj, container: Mapping[str, Any], source: Mapping[str, Any], lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return pod_field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_field(pod, container, source["resourceFieldRef"])
    for key, kind, word in (("configMapKeyRef", CONFIG_MAPS, "ConfigMap"), ("secretKeyRef", SECRETS, "Secret")):
        if key in source:
            return _key(pod, kind, word, source[key], lookup)
    raise ConfigError(f"not emulated: a variable's source {', '.join(source)}")


def _key(pod: Obj, kind: Kind, word: str, reference: Mapping[str, Any], lookup: Lookup) -> str | None:
    name, key = reference["name"], reference["key"]
    found = lookup(kind, name)
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{word.lower()} "{name}" not found')
    values = content(kind, found)
    if key not in values:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {key} in {word} {pod['metadata']['namespace']}/{name}")
    return _text(values[key])


def pod_field(pod: Obj, path: str) -> str:
    """A field of the pod as the downward API offers it; raises ConfigError for one that it does not."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    match = _FIELD_KEY.match(path)
    if match:
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    fields: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": status.get("hostIP", LOOPBACK),
        "status.hostIPs": LOOPBACK,
        "status.podIP": status.get("podIP", LOOPBACK),
        "status.podIPs": status.get("podIP", LOOPBACK),
    }
    if path not in fields:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(fields[path])


def pod_fields_file(pod: Obj, path: str) -> str:
    """A field as a downward API volume shows it: labels and annotations as lines ``key="value"``."""
    if path in {"metadata.labels", "metadata.annotations"}:
        values = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(values.items()))
    return pod_field(pod, path)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
