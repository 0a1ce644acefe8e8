"""Cluster IPs and node ports of services.

Source: pkg/registry/core/service/storage/alloc.go (v1.33).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Container
from typing import TYPE_CHECKING, Any

from lab.emulator.kube.errors import Cause, invalid
from lab.emulator.kube.objects import Object, name_of

if TYPE_CHECKING:
    from lab.emulator.kube.store import Store

NETWORK = ipaddress.ip_network("10.43.0.0/16")  # k3s' service network
_PORTS = range(30000, 32768)


def allocate(store: Store, service: Object, old: Object | None) -> None:
    """Give ``service`` the addresses and node ports its type needs; raises 422 when one is taken or changes."""
    spec = service["spec"]
    before = (old or {}).get("spec") or {}
    if spec["type"] == "ExternalName":
        if before:
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
                spec.pop(name, None)
        return
    if not spec.get("clusterIP") and before.get("clusterIP") and before.get("type") != "ExternalName":
        spec["clusterIP"] = before["clusterIP"]
    if not spec.get("clusterIP"):
        spec["clusterIP"] = _free_address(store, service)
    elif spec["clusterIP"] not in ("None", before.get("clusterIP")):
        _check_address(store, service)
    spec["clusterIPs"] = [spec["clusterIP"]]
    _node_ports(store, service, before)
    _outside(spec, before)


def _outside(spec: Object, before: Object) -> None:
    """A policy for traffic from outside goes with the type that needed it."""
    kept = spec["type"] in ("NodePort", "LoadBalancer") or spec.get("externalIPs")
    if not kept and before.get("externalTrafficPolicy") == spec.get("externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)


def _taken(store: Store) -> set[str]:
    return {str((one.get("spec") or {}).get("clusterIP")) for one in store.shelf.rows("", "services")}


def _free_address(store: Store, service: Object) -> str:
    meta = service["metadata"]
    seed = hashlib.sha256(f"{meta.get('namespace')}/{meta['name']}".encode()).digest()
    first = int.from_bytes(seed[:2], "big")
    taken = _taken(store)
    size = NETWORK.num_addresses - 2
    for offset in range(size):
        address = str(NETWORK[1 + (first + offset) % size])
        if address not in taken and address != str(NETWORK[1]):
            return address
    raise invalid("", "Service", name_of(service), [Cause("spec.clusterIPs[0]", "no address is free")])


def _check_address(store: Store, service: Object) -> None:
    address = service["spec"]["clusterIP"]
    detail = ""
    try:
        if ipaddress.ip_address(address) not in NETWORK:
            detail = (f"failed to allocate IP {address}: the provided network does not match the current range: "
                      f"the provided IP is not in the valid range. The range of valid IPs is {NETWORK}")  # fmt: skip
        elif address in _taken(store):
            detail = f"failed to allocate IP {address}: provided IP is already allocated"
    except ValueError:
        detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    if detail:
        cause = Cause.invalid("spec.clusterIPs", [address], detail)
        raise invalid("", "Service", name_of(service), [cause])


def _node_ports(store: Store, service: Object, before: Object) -> None:
    spec = service["spec"]
    if spec["type"] not in ("NodePort", "LoadBalancer"):
        for port in spec.get("ports") or []:
            if before and any(port.get("nodePort") == one.get("nodePort") for one in before.get("ports") or []):
                port.pop("nodePort", None)
        return
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        return
    taken = {port.get("nodePort") for one in store.shelf.rows("", "services")
             for port in (one.get("spec") or {}).get("ports") or []}  # fmt: skip
    earlier = {(port.get("port"), port.get("protocol")): port.get("nodePort") for port in before.get("ports") or []}
    for index, port in enumerate(spec.get("ports") or []):
        if not port.get("nodePort"):
            kept = earlier.get((port.get("port"), port.get("protocol")))
            port["nodePort"] = kept or next(number for number in _PORTS if number not in taken)
        elif port["nodePort"] not in earlier.values():
            _check_node_port(service, f"spec.ports[{index}].nodePort", port["nodePort"], taken)
        taken.add(port["nodePort"])


def _check_node_port(service: Object, path: str, number: int, taken: Container[Any]) -> None:
    detail = "provided port is already allocated" if number in taken else ""
    if number not in _PORTS:
        detail = ("provided port is not in the valid range. The range of valid ports is "
                  f"{_PORTS.start}-{_PORTS.stop - 1}")  # fmt: skip
    if detail:
        raise invalid("", "Service", name_of(service), [Cause.invalid(path, number, detail)])
