"""Runs pods as containers: an overlay of the image's files as root, and a network namespace for each pod."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k3s_node.network import GATEWAY, Network
from k3s_node.system import BALANCER, PAUSE, TRAEFIK
from k3s_node.unpack import layers
from lab.emulator.images import Image, PullError
from lab.emulator.workloads import volumes
from lab.emulator.workloads.environment import ConfigError
from lab.emulator.workloads.platform import Machine
from lab.emulator.workloads.rootfs import Mount, inside

if TYPE_CHECKING:
    from lab.emulator.workloads.pod import Pod

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KERNEL = ("proc", "sys", "dev")
_SANDBOX_RETRY = 2.0


@dataclass
class Container:
    """A mounted root file system and the command that enters it."""

    argv: list[str]
    folder: Path
    env: dict[str, str]
    missing: str
    root: Path
    enter: tuple[str, ...]

    def command(self, argv: list[str]) -> list[str] | None:
        """How to run ``argv`` inside."""
        program = found(self.root, argv[0], self.env["PATH"]) if argv else None
        return [*self.enter, program, *argv[1:]] if program else None

    def close(self) -> None:
        """Let go of the mounts."""
        unmount(self.root)


def found(root: Path, name: str, path: str) -> str | None:
    """The executable that ``name`` means in the container, as an absolute path there."""
    choices = [name] if "/" in name else [f"{folder}/{name}" for folder in path.split(":") if folder]
    for each in choices:
        place = inside(root, each)
        if place.is_file() and os.access(place, os.X_OK):
            return each
    return None


class Containers:
    """The platform of a privileged node. ``serves`` says whether pods of kube-system with a label are ready."""

    inside = GATEWAY
    system: Mapping[str, str] = {}

    def __init__(self, machine: Machine, network: Network, serves: Callable[[str], bool]) -> None:
        self.machine = machine
        self._network = network
        self._serves = serves

    def serves_ingress(self) -> bool:
        """Traefik and the load balancer in front of it are pods like others."""
        return self._serves(TRAEFIK) and self._serves(BALANCER)

    def simulates(self, image: str) -> bool:
        """Every image is pulled and run."""
        del image
        return False

    def ignored(self, spec: dict[str, Any]) -> list[str]:
        """Nothing is worth a remark."""
        del spec
        return []

    async def admit(self, pod: Pod) -> str:
        """Give the pod a namespace, or the node's when it asks for that; the sandbox has an image of its own."""
        while not await self._sandbox(pod):
            await pod.nudged(_SANDBOX_RETRY)
        return (
            self.machine.address if pod.spec.get("hostNetwork") else await self._network.attach(pod.uid, _hostname(pod))
        )

    @staticmethod
    async def _sandbox(pod: Pod) -> bool:
        """Have the image of every pod's first process."""
        if pod.node.images.held(PAUSE):
            return True
        try:
            await pod.node.images.pull(PAUSE, lambda _: None)
        except PullError as error:
            text = f'Failed to create pod sandbox: rpc error: failed to get sandbox image "{PAUSE}": {error.message}'
            pod.node.event(pod.current(), "Warning", "FailedCreatePodSandBox", text)
            return False
        return True

    def release(self, pod: Pod) -> None:
        """Unmount what is left before the pod's folder goes, and remove its namespace."""
        for root in pod.folder.glob("rootfs/*/merged"):
            unmount(root)
        self._network.detach(pod.uid)

    def variables(self, pod: Pod, spec: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
        """A container's own surroundings."""
        del spec
        return {"PATH": _PATH, "HOME": "/root", "HOSTNAME": _hostname(pod), **given}

    async def lay_out(
        self, pod: Pod, spec: Mapping[str, Any], image: Image, argv: list[str], variables: dict[str, str]
    ) -> Container:
        """Mount the image's files, the volumes and the pod's resolver below one root."""
        root = pod.folder / "rootfs" / spec["name"] / "merged"
        mounts = volumes.mounts(spec, pod.places, variables)
        await asyncio.to_thread(self._mount, pod, root, image, mounts)
        work = spec.get("workingDir") or image.config.get("WorkingDir") or "/"
        inside(root, work).mkdir(parents=True, exist_ok=True)
        user, group = account(root, pod, spec, image)
        space = () if pod.spec.get("hostNetwork") else self._network.entrance(pod.uid)
        enter = (
            "nsenter",
            *space,
            f"--root={root}",
            f"--wdns={work}",
            *(("-S", user, "-G", group) if user else ()),
            "--",
        )
        program = found(root, argv[0], variables["PATH"])
        command = [*enter, program or argv[0], *argv[1:]]
        missing = "" if program else argv[0]
        return Container(command, Path("/"), variables, missing, root, enter)

    def _mount(self, pod: Pod, root: Path, image: Image, mounts: list[Any]) -> None:
        unmount(root)
        shutil.rmtree(root.parent, ignore_errors=True)
        upper, work = root.with_name("upper"), root.with_name("work")
        for folder in (root, upper, work):
            folder.mkdir(parents=True)
        upper.chmod(0o755)
        lower = ":".join(dict.fromkeys(reversed(layers(image.rootfs))))  # overlayfs refuses a folder that comes twice
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount("-t", "overlay", "overlay", "-o", options, str(root))
        for name in _KERNEL:
            inside(root, name).mkdir(exist_ok=True)
            bind(Path("/", name), inside(root, name))
        for each in [*mounts, *self._files(pod, root)]:
            if each.source.is_dir() and not (each.source / "..data").exists():
                each.source.chmod(0o777)
            bind(each.source.resolve(), _point(root, each.path, folder=each.source.is_dir()))
        inside(root, "tmp").mkdir(exist_ok=True)

    def _files(self, pod: Pod, root: Path) -> list[Any]:
        """``/etc/resolv.conf`` and ``/etc/hosts`` of the pod."""
        folder = root.parent
        policy = pod.spec.get("dnsPolicy") or "ClusterFirst"
        if policy == "Default" or (pod.spec.get("hostNetwork") and policy == "ClusterFirst"):
            resolver = Path("/etc/resolv.conf").read_text()
        else:
            resolver = resolv_conf(pod.namespace)
        (folder / "resolv.conf").write_text(resolver)
        (folder / "hosts").write_text(f"127.0.0.1\tlocalhost\n{pod.address}\t{_hostname(pod)}\n")
        return [Mount("/etc/resolv.conf", folder / "resolv.conf"), Mount("/etc/hosts", folder / "hosts")]

    def publish(self, address: str, port: int, forward: int) -> tuple[str, int]:
        """Lead the cluster IP to the listener."""
        if (address, port) != DNS:
            self._network.publish(address, port, forward)
        return address, port

    def withdraw(self, address: str, port: int, forward: int) -> None:
        """Take the rule away."""
        self._network.withdraw(address, port, forward)


def _hostname(pod: Pod) -> str:
    return str(pod.spec.get("hostname") or pod.name)


DNS = ("10.43.0.10", 53)


def resolv_conf(namespace: str) -> str:
    """What pods resolve with (ClusterFirst)."""
    domains = f"{namespace}.svc.cluster.local svc.cluster.local cluster.local"
    return f"search {domains}\nnameserver {DNS[0]}\noptions ndots:5\n"


def account(root: Path, pod: Pod, spec: Mapping[str, Any], image: Image) -> tuple[str, str]:
    """User and group id to run as; empty for root. Raises ConfigError for a user that the image does not know."""
    contexts = (spec.get("securityContext") or {}), (pod.spec.get("securityContext") or {})
    for each in contexts:
        if each.get("runAsUser") is not None:
            group = next((str(c["runAsGroup"]) for c in contexts if c.get("runAsGroup") is not None), "0")
            return str(each["runAsUser"]), group
    name, _, group = str(image.config.get("User") or "").partition(":")
    if name and not name.isdecimal():
        name, group = _entry(root, name)
    if any(each.get("runAsNonRoot") for each in contexts) and name in ("", "0"):
        raise ConfigError("container has runAsNonRoot and image will run as root")
    return ("", "") if name in ("", "0") else (name, group or "0")


def _entry(root: Path, name: str) -> tuple[str, str]:
    for line in inside(root, "etc/passwd").read_text().splitlines():
        parts = line.split(":")
        if parts[0] == name:
            return parts[2], parts[3]
    raise ConfigError(f"unable to find user {name}: no matching entries in passwd file")


def _point(root: Path, path: str, *, folder: bool) -> Path:
    """The mount point, made when it is missing."""
    place = inside(root, path)
    if folder:
        place.mkdir(parents=True, exist_ok=True)
    elif not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return place


def bind(source: Path, target: Path) -> None:
    """Show ``source`` at ``target``, and nothing that is mounted below it."""
    mount("--bind", str(source), str(target))
    mount("--make-private", str(target))


def mount(*arguments: str) -> None:
    """Run mount; raises OSError with its words."""
    environ = {"PATH": _PATH, "LIBMOUNT_FORCE_MOUNT2": "always"}  # the new interface takes 256 characters at most
    done = subprocess.run(["mount", *arguments], env=environ, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise OSError(done.stderr.strip())


def unmount(root: Path) -> None:
    """Take away everything mounted at and below ``root``; nothing happens when that is nothing."""
    if os.path.ismount(root):
        subprocess.run(["umount", "--recursive", "--lazy", str(root)], check=False, timeout=20)
