"""Checks of pods and pod templates (pkg/apis/core/validation/validation.go, v1.33)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lab.emulator.kube import quantity
from lab.emulator.kube.errors import Cause
from lab.emulator.kube.kinds import names, validate_placement
from lab.emulator.kube.objects import Object, copied

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_NAMED = {"serviceAccountName": names.subdomain, "nodeName": names.subdomain, "hostname": names.label,
          "subdomain": names.label}  # fmt: skip
_MUTABLE = ("`spec.containers[*].image`", "`spec.initContainers[*].image`", "`spec.activeDeadlineSeconds`",
            "`spec.tolerations` (only additions to existing tolerations)",
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)")  # fmt: skip


def pod(obj: Object) -> list[Cause]:
    """What is wrong with a pod."""
    return pod_spec(obj.get("spec") or {}, "spec")


def template(found: Object, path: str) -> list[Cause]:
    """What is wrong with a pod template."""
    meta = found.get("metadata") or {}
    causes = names.labels(meta.get("labels") or {}, f"{path}.labels")
    return causes + pod_spec(found.get("spec") or {}, f"{path}.spec")


def pod_spec(spec: Object, path: str) -> list[Cause]:
    """What is wrong with a pod spec."""
    volumes, causes = _volumes(spec.get("volumes") or [], f"{path}.volumes")
    containers = spec.get("containers") or []
    if not containers:
        causes.append(Cause.required(f"{path}.containers"))
    seen: set[str] = set()
    causes += _containers(containers, f"{path}.containers", volumes, seen)
    causes += _containers(spec.get("initContainers") or [], f"{path}.initContainers", volumes, seen)
    causes += _choice(spec.get("restartPolicy"), f"{path}.restartPolicy", ("Always", "Never", "OnFailure"))
    causes += _choice(spec.get("dnsPolicy"), f"{path}.dnsPolicy", ("ClusterFirst", "ClusterFirstWithHostNet", "Default",
                                                                   "None"))  # fmt: skip
    causes += names.labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    for key, check in _NAMED.items():
        if spec.get(key):
            causes += [Cause.invalid(f"{path}.{key}", spec[key], problem) for problem in check(spec[key])]
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and deadline < 1:
        causes.append(Cause.invalid(f"{path}.activeDeadlineSeconds", spec["activeDeadlineSeconds"],
                                    "must be between 1 and 2147483647, inclusive"))  # fmt: skip
    for index, secret in enumerate(spec.get("imagePullSecrets") or []):
        if not secret.get("name"):
            causes.append(Cause.required(f"{path}.imagePullSecrets[{index}].name"))
    return causes + validate_placement.placement(spec, path)


def _choice(value: Any, path: str, valid: tuple[str, ...]) -> list[Cause]:
    if not value:
        return [Cause.required(path)]
    return [] if value in valid else [Cause.unsupported(path, value, valid)]


def _volumes(volumes: list[Object], path: str) -> tuple[set[str], list[Cause]]:
    known: set[str] = set()
    causes = []
    for index, volume in enumerate(volumes):
        place, name = f"{path}[{index}]", volume.get("name") or ""
        if not name:
            causes.append(Cause.required(f"{place}.name"))
        else:
            causes += [Cause.invalid(f"{place}.name", name, problem) for problem in names.label(name)]
        if name in known:
            causes.append(Cause.duplicate(f"{place}.name", name))
        known.add(name)
        causes += _volume(volume, place)
    return known, causes


_VOLUME_KEYS = {"secret": "secretName", "persistentVolumeClaim": "claimName", "hostPath": "path", "configMap": "name"}


def _volume(volume: Object, path: str) -> list[Cause]:
    kinds = [key for key in volume if key != "name"]
    if not kinds:
        return [Cause.required(path, "must specify a volume type")]
    causes = [Cause.forbidden(f"{path}.{kind}", "may not specify more than 1 volume type") for kind in kinds[1:]]
    for kind in kinds[:1]:
        key = _VOLUME_KEYS.get(kind)
        source = volume[kind]
        if key and not source.get(key):
            causes.append(Cause.required(f"{path}.{kind}.{key}"))
        for index, item in enumerate(source.get("items") or [] if isinstance(source, Mapping) else []):
            causes += [Cause.required(f"{path}.{kind}.items[{index}].{one}") for one in ("key", "path")
                       if not item.get(one) and kind in ("secret", "configMap")]  # fmt: skip
            target = str(item.get("path") or "")
            if target.startswith("/"):
                causes.append(Cause.invalid(f"{path}.{kind}.items[{index}].path", target, "must be a relative path"))
            if ".." in target.split("/"):
                causes.append(Cause.invalid(f"{path}.{kind}.items[{index}].path", target, "must not contain '..'"))
    return causes


def _containers(containers: list[Object], path: str, volumes: set[str], seen: set[str]) -> list[Cause]:
    causes = []
    for index, container in enumerate(containers):
        place, name = f"{path}[{index}]", container.get("name") or ""
        causes += _container(container, place, volumes)
        if name and name in seen:
            causes.append(Cause.duplicate(f"{place}.name", name))
        seen.add(name)
    return causes


def _container(container: Object, path: str, volumes: set[str]) -> list[Cause]:
    name = container.get("name") or ""
    causes = [Cause.required(f"{path}.name")] if not name else [
        Cause.invalid(f"{path}.name", name, problem) for problem in names.label(name)]  # fmt: skip
    if not container.get("image"):
        causes.append(Cause.required(f"{path}.image"))
    elif container["image"] != container["image"].strip():
        causes.append(
            Cause.invalid(f"{path}.image", container["image"], "must not have leading or trailing whitespace")
        )
    causes += _choice(container.get("terminationMessagePolicy"), f"{path}.terminationMessagePolicy",
                      ("File", "FallbackToLogsOnError"))  # fmt: skip
    causes += _ports(container.get("ports") or [], f"{path}.ports")
    causes += _environment(container, path)
    causes += _mounts(container.get("volumeMounts") or [], f"{path}.volumeMounts", volumes)
    causes += _choice(container.get("imagePullPolicy"), f"{path}.imagePullPolicy", ("Always", "IfNotPresent", "Never"))
    causes += resources(container.get("resources") or {}, f"{path}.resources")
    causes += validate_placement.users(container.get("securityContext") or {}, f"{path}.securityContext")
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(key) is not None:
            causes += _probe(container[key], f"{path}.{key}", once=key != "readinessProbe")
    for key, handler in (container.get("lifecycle") or {}).items():
        if isinstance(handler, dict):
            causes += _handler(handler, f"{path}.lifecycle.{key}", (*_HANDLERS[:3], "sleep"))
    return causes


def _ports(ports: list[Object], path: str) -> list[Cause]:
    causes = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        place, name = f"{path}[{index}]", port.get("name")
        if name:
            causes += [Cause.invalid(f"{place}.name", name, problem) for problem in names.port_name(name)]
            if name in seen:
                causes.append(Cause.duplicate(f"{place}.name", name))
            seen.add(name)
        if not port.get("containerPort"):
            causes.append(Cause.required(f"{place}.containerPort"))
        else:
            causes += [Cause.invalid(f"{place}.containerPort", port["containerPort"], problem)
                       for problem in names.port(port["containerPort"])]  # fmt: skip
        if port.get("hostPort"):
            causes += [Cause.invalid(f"{place}.hostPort", port["hostPort"], problem)
                       for problem in names.port(port["hostPort"])]  # fmt: skip
        causes += _choice(port.get("protocol"), f"{place}.protocol", _PROTOCOLS)
    return causes


def _environment(container: Object, path: str) -> list[Cause]:
    causes = []
    for index, variable in enumerate(container.get("env") or []):
        place, name = f"{path}.env[{index}]", variable.get("name") or ""
        if not name:
            causes.append(Cause.required(f"{place}.name"))
        else:
            causes += [Cause.invalid(f"{place}.name", name, problem) for problem in names.environment(name)]
        source = variable.get("valueFrom")
        if source is not None:
            if variable.get("value"):
                detail = "may not be specified when `value` is not empty"
                causes.append(Cause.invalid(f"{place}.valueFrom", "", detail))
            kinds = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
            given = [kind for kind in kinds if kind in source]
            if len(given) != 1:
                detail = ("must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
                          if not given else "may not have more than one field specified at a time")  # fmt: skip
                causes.append(Cause.invalid(f"{place}.valueFrom", "", detail))
            for kind in given:
                if kind == "fieldRef":
                    causes += _field(source[kind], f"{place}.valueFrom.fieldRef.fieldPath")
                if kind.endswith("KeyRef"):
                    causes += [Cause.required(f"{place}.valueFrom.{kind}.{key}") for key in ("name", "key")
                               if not source[kind].get(key)]  # fmt: skip
    for index, source in enumerate(container.get("envFrom") or []):
        place = f"{path}.envFrom[{index}]"
        given = [kind for kind in ("configMapRef", "secretRef") if kind in source]
        if len(given) != 1:
            detail = "must specify one of: `configMapRef` or `secretRef`" if not given else (
                "may not have more than one field specified at a time")  # fmt: skip
            causes.append(Cause.invalid(place, "", detail))
        causes += [Cause.required(f"{place}.{kind}.name") for kind in given if not source[kind].get("name")]
    return causes


_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
           "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")  # fmt: skip
_KEYED = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]\Z")


def _field(found: Object, path: str) -> list[Cause]:
    field = found.get("fieldPath") or ""
    if not field:
        return [Cause.required(path)]
    if field in _FIELDS or _KEYED.match(field):
        return []
    if field in ("metadata.labels", "metadata.annotations"):
        return [Cause.unsupported(path, field, _FIELDS)]
    return [Cause.invalid(path, field, f"error converting fieldPath: field label not supported: {field}")]


def _mounts(mounts: list[Object], path: str, volumes: set[str]) -> list[Cause]:
    causes = []
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        place = f"{path}[{index}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            causes.append(Cause.required(f"{place}.name"))
        if name not in volumes:
            causes.append(Cause.not_found(f"{place}.name", name))
        if not target:
            causes.append(Cause.required(f"{place}.mountPath"))
        if target in seen:
            causes.append(Cause.invalid(f"{place}.mountPath", target, "must be unique"))
        seen.add(target)
        sub = mount.get("subPath") or ""
        if sub.startswith("/"):
            causes.append(Cause.invalid(f"{path}.subPath", sub, "must be a relative path"))
        if ".." in sub.split("/"):
            causes.append(Cause.invalid(f"{path}.subPath", sub, "must not contain '..'"))
    return causes


def resources(found: Object, path: str) -> list[Cause]:
    """What is wrong with resource requests and limits."""
    causes = []
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    for kind, listed in (("limits", limits), ("requests", requests)):
        for name, amount in listed.items():
            if quantity.value(amount) < 0:
                causes.append(Cause.invalid(f"{path}.{kind}[{name}]", amount, "must be greater than or equal to 0"))
            if (
                "/" not in name
                and name not in ("cpu", "memory", "ephemeral-storage")
                and not name.startswith("hugepages-")
            ):
                causes.append(Cause.invalid(f"{path}.{kind}[{name}]", name,
                                            "must be a standard resource type or fully qualified"))  # fmt: skip
    for name, amount in requests.items():
        if name in limits and quantity.value(amount) > quantity.value(limits[name]):
            causes.append(Cause.invalid(f"{path}.requests", amount,
                                        f"must be less than or equal to {name} limit of {limits[name]}"))  # fmt: skip
    return causes


def _handler(handler: Object, path: str, kinds: tuple[str, ...] = _HANDLERS) -> list[Cause]:
    given = [kind for kind in kinds if kind in handler]
    if not given:
        return [Cause.required(path, "must specify a handler type")]
    causes = [Cause.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:]]
    kind, action = given[0], handler[given[0]]
    if kind == "exec" and not action.get("command"):
        causes.append(Cause.required(f"{path}.exec.command"))
    if kind in ("httpGet", "tcpSocket", "grpc"):
        causes += _action_port(action.get("port"), f"{path}.{kind}.port")
    if kind == "httpGet":
        if not action.get("path"):
            causes.append(Cause.required(f"{path}.httpGet.path"))
        if action.get("scheme") not in ("HTTP", "HTTPS"):
            causes.append(Cause.unsupported(f"{path}.httpGet.scheme", action.get("scheme"), ("HTTP", "HTTPS")))
    return causes


def _action_port(port: Any, path: str) -> list[Cause]:
    if isinstance(port, str):
        return [Cause.invalid(path, port, problem) for problem in names.port_name(port)]
    return [Cause.invalid(path, port or 0, problem) for problem in names.port(port or 0)]


def _probe(probe: Object, path: str, *, once: bool) -> list[Cause]:
    causes = _handler(probe, path)
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if (probe.get(key) or 0) < 0:
            causes.append(Cause.invalid(f"{path}.{key}", probe[key], "must be greater than or equal to 0"))
    if once and probe.get("successThreshold", 1) != 1:
        causes.append(Cause.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    return causes


def pod_change(new: Object, old: Object) -> list[Cause]:
    """What may not change in a pod."""
    before, after = old["spec"], copied(new["spec"])
    for key in ("containers", "initContainers"):
        if len(after.get(key) or []) != len(before.get(key) or []):
            return [Cause.forbidden(f"spec.{key}", "pod updates may not add or remove containers")]
        for one, earlier in zip(after.get(key) or [], before.get(key) or [], strict=True):
            one["image"] = earlier.get("image")
    added = after.get("tolerations") or []
    if any(one not in added for one in before.get("tolerations") or []):
        return [
            Cause.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
        ]
    for key in ("activeDeadlineSeconds", "tolerations", "nodeName"):
        if key == "nodeName" and before.get(key):
            continue  # a pod may be bound to a node once
        after.pop(key, None)
        if key in before:
            after[key] = before[key]
    if after != before:
        listed = ",".join(_MUTABLE)
        return [Cause.forbidden("spec", f"pod updates may not change fields other than {listed}")]
    return []
