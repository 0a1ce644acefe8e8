"""The flags of ``k3s server`` and ``k3s agent`` that k3d and its users pass; an unknown one is refused."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

VERSION = "v1.34.9+k3s1"
_SWITCHES = (
    "disable-default-registry-endpoint",
    "cluster-init",
    "disable-network-policy",
    "flannel-ipv6-masq",
    "debug",
)
_VALUES = ("token", "server", "flannel-backend", "data-dir", "cluster-domain", "write-kubeconfig-mode", "node-name")
_LISTS = (
    "tls-san", "disable", "kubelet-arg", "kube-apiserver-arg", "kube-controller-manager-arg", "kube-scheduler-arg",
    "kube-proxy-arg", "node-label", "node-taint",
)  # fmt: skip
_KUBELET = {
    "fail-cgroupv1", "eviction-hard", "eviction-soft", "eviction-minimum-reclaim", "eviction-soft-grace-period",
    "image-gc-high-threshold", "image-gc-low-threshold", "max-pods", "feature-gates", "cgroup-driver",
    "serialize-image-pulls", "max-parallel-image-pulls", "registry-qps", "registry-burst", "system-reserved",
    "kube-reserved", "v", "allowed-unsafe-sysctls", "container-log-max-size", "node-status-update-frequency",
}  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """Words its refusal as k3s does (urfave/cli)."""

    def error(self, message: str) -> NoReturn:
        print(f"Incorrect Usage: {message}", file=sys.stderr)
        raise SystemExit(1)


def parse(role: str, given: list[str]) -> argparse.Namespace:
    """The flags of ``k3s ROLE``; ends the process with 1 when one is unknown."""
    parser = _Parser(prog=f"k3s {role}", allow_abbrev=False)
    for name in _SWITCHES:
        parser.add_argument(f"--{name}", action="store_true")
    for name in _VALUES:
        parser.add_argument(f"--{name}", default="")
    for name in _LISTS:
        parser.add_argument(f"--{name}", action="append", default=[])
    found, unknown = parser.parse_known_args(given)
    if unknown:
        parser.error(f"flag provided but not defined: {unknown[0].partition('=')[0].replace('--', '-')}")
    for each in found.kubelet_arg:
        if each.partition("=")[0] not in _KUBELET:
            print(f'level=fatal msg="kubelet exited: unknown flag: --{each.partition("=")[0]}"', file=sys.stderr)
            raise SystemExit(1)
    found.token = found.token or os.environ.get("K3S_TOKEN", "")
    found.server = found.server or os.environ.get("K3S_URL", "")
    return found
