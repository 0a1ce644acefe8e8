"""The Docker engine: whether it answers, what it is, and what earlier attempts left on it."""

from __future__ import annotations

import re
from shlex import quote

from lab.doctor.finding import Check, Seen, commands, wslconfig
from lab.doctor.machine import Reply
from lab.doctor.view import View

_OLDEST = (20, 10, 10)
"""GitLab's image needs clone3 allowed by seccomp (contracts A.1)."""
_TOKEN = "https://auth.docker.io/token?service=registry.docker.io&scope=repository:ratelimitpreview/test:pull"  # noqa: S105 - an address
_QUOTA = "https://registry-1.docker.io/v2/ratelimitpreview/test/manifests/latest"
_PULLS = 10
"""Images from Docker Hub that a first `up` pulls: GitLab, runner, k3s with its own, docker, the sample's."""
_IMAGES = {
    "gitlab/gitlab-ce": ("amd64", "arm64"),
    "gitlab/gitlab-runner": ("amd64", "arm64", "arm", "ppc64le", "s390x", "riscv64"),
    "rancher/k3s": ("amd64", "arm64", "arm"),
    "ghcr.io/k3d-io/k3d-proxy": ("amd64", "arm64", "arm"),
    "ghcr.io/k3d-io/k3d-tools": ("amd64", "arm64", "arm"),
    "quay.io/argoproj/argocd": ("amd64", "arm64", "ppc64le", "s390x"),
    "docker": ("amd64", "arm64", "arm"),
    "python": ("amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64"),
    "mysql": ("amd64", "arm64"),
    "redis": ("amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64"),
}
"""The images of the lab and of its sample, with the architectures they are published for."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}
_EMBEDDED = "Or run without Docker:\n" + commands("invoke up --engine embedded")


def reachable(view: View) -> Seen:
    """Whether an engine answers, and if not, which of the usual reasons it is."""
    docker = view.docker
    if not docker.failure:
        return Seen("ok", f"{docker.address} answers")
    path = docker.address.removeprefix("unix://")
    measured = f"{docker.address}: {docker.failure}"
    if "ermission denied" in docker.failure:
        remedy = commands(f"sudo usermod -aG docker {_user(view)}")
        return Seen("problem", measured, f"{remedy}\nThen log out and in again (WSL: wsl --shutdown on Windows).")
    others = [
        f"/run/user/{view.machine.facts.uid}/docker.sock",
        f"{view.machine.facts.home}/.docker/desktop/docker.sock",
    ]
    found = [other for other in others if other != path and view.machine.entry(other)]
    if found:
        return Seen(
            "problem", f"{measured}; there is one at {found[0]}", commands(f"export DOCKER_HOST=unix://{found[0]}")
        )
    if view.wsl and view.machine.entry("/mnt/c/Program Files/Docker/Docker/Docker Desktop.exe"):
        remedy = (
            "Start Docker Desktop on Windows, and switch this distribution on: Settings > Resources > WSL integration."
        )
    elif view.machine.entry("/usr/bin/dockerd"):
        start = (
            "service docker start"
            if view.read("/proc/1/comm").strip() != "systemd"
            else "systemctl enable --now docker"
        )
        remedy = commands(f"sudo {start}")
    else:
        remedy = commands("curl -fsSL https://get.docker.com | sudo sh", f"sudo usermod -aG docker {_user(view)}")
    return Seen("problem", measured, f"{remedy}\n{_EMBEDDED}")


def version(view: View) -> Seen:
    """The engine's version, and the API versions it speaks."""
    if view.docker.failure:
        return _absent()
    said = view.docker.version
    number, api = str(said.get("Version", "")), said.get("ApiVersion", "?")
    if any("podman" in str(part.get("Name", "")).lower() for part in said.get("Components") or ()):
        return Seen("warning", f"Podman {number}, not Docker", "Podman is not tested with this lab; install Docker.")
    measured = f"Docker {number}, API {said.get('MinAPIVersion', '?')} to {api}"
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", number)
    if not found:
        return Seen("unknown", measured)
    if tuple(map(int, found.groups())) < _OLDEST:
        return Seen("problem", measured, commands("curl -fsSL https://get.docker.com | sudo sh"))
    return Seen("ok", measured)


def kind(view: View) -> Seen:
    """Docker Desktop or an engine of this very system."""
    if view.docker.failure:
        return _absent()
    name = view.docker.info.get("OperatingSystem", "?")
    if not view.docker.desktop:
        return Seen("ok", f"native, on {name}")
    return Seen("ok", "Docker Desktop: containers are in a machine of their own, only published ports reach them")


def rootless(view: View) -> Seen:
    """An engine without root needs control groups delegated to it, or k3s does not start."""
    if view.docker.failure:
        return _absent()
    if not view.docker.rootless:
        return Seen("ok", "the engine runs as root")
    uid = view.machine.facts.uid
    own = view.read(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers").split()
    system = "Or use the system's engine:\n" + commands("export DOCKER_HOST=unix:///var/run/docker.sock")
    if "cpuset" in own and "cpu" in own:
        return Seen("warning", "rootless, with control groups delegated; not what the lab is tested on", system)
    delegate = commands(
        "sudo mkdir -p /etc/systemd/system/user@.service.d",
        "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n'"
        " | sudo tee /etc/systemd/system/user@.service.d/delegate.conf",
        "sudo systemctl daemon-reload",
    )
    has = ", ".join(own) or "none"
    return Seen(
        "problem",
        f"rootless; delegated control groups: {has} (cpuset is missing)",
        f"{delegate}\nThen log in again.\n{system}",
    )


def cgroup(view: View) -> Seen:
    """The version of control groups that containers see."""
    info = str(view.docker.info.get("CgroupVersion", ""))
    hybrid = view.machine.entry("/sys/fs/cgroup/unified") is not None
    found = info or ("2" if view.read("/sys/fs/cgroup/cgroup.controllers") else "1" if hybrid else "")
    if not found:
        return Seen("unknown", "neither Docker nor /sys/fs/cgroup says")
    if found != "1":
        return Seen("ok", f"version {found}")
    if view.wsl:
        remedy = wslconfig("kernelCommandLine=cgroup_no_v1=all")
    else:
        switch = """sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub"""
        remedy = commands(switch, "sudo update-grub") + "\nThen restart the machine."
    note = "version 1; k8s/k3d.yaml tells k3s to accept it, other clusters refuse to start"
    return Seen("warning", note, remedy)


def storage(view: View) -> Seen:
    """The storage driver."""
    if view.docker.failure:
        return _absent()
    driver = str(view.docker.info.get("Driver", "?"))
    if driver in ("overlay2", "overlayfs", "fuse-overlayfs"):
        return Seen("ok", driver)
    remedy = "In /etc/docker/daemon.json, on an ext4 or xfs disk, then restart Docker (images are pulled again):"
    return Seen("warning", f"{driver}: slow, large, or unknown to k3s", f'{remedy}\n{{"storage-driver": "overlay2"}}')


def architecture(view: View) -> Seen:
    """Whether each image exists for this processor."""
    name = str(view.docker.info.get("Architecture") or view.machine.facts.architecture)
    wanted = _ARCHITECTURES.get(name, name)
    missing = [image for image, known in _IMAGES.items() if wanted not in known]
    if not missing:
        return Seen("ok", f"{wanted}: every image exists for it")
    stops = any("/" in image for image in missing)
    return Seen("problem", f"{wanted}: not published for it: {', '.join(missing)}", _EMBEDDED, stops_up=stops)


def quota(view: View) -> Seen:
    """What Docker Hub still gives to this address without a login; a HEAD request costs nothing."""
    token = view.machine.fetch("GET", _TOKEN, {}, 0.9)
    found = re.search(r'"token"\s*:\s*"([^"]+)"', token.body) if isinstance(token, Reply) else None
    if not found:
        return Seen("unknown", f"Docker Hub: {token if isinstance(token, str) else f'HTTP {token.status}'}")
    reply = view.machine.fetch("HEAD", _QUOTA, {"Authorization": f"Bearer {found[1]}"}, 0.9)
    if isinstance(reply, str):
        return Seen("unknown", f"Docker Hub: {reply}")
    login = "With a login there are more:\n" + commands("docker login")
    if reply.status == 429:
        return Seen("problem", "used up (429)", f"Wait up to six hours, or:\n{login}", stops_up=False)
    left, limit = (reply.headers.get(f"ratelimit-{name}", "").partition(";")[0] for name in ("remaining", "limit"))
    if not left.isdigit():
        return Seen("ok", "no limit for this address")
    measured = f"{left} of {limit} pulls left for this address"
    return (
        Seen("warning", f"{measured}; a first `up` needs about {_PULLS}", login)
        if int(left) < _PULLS
        else Seen("ok", measured)
    )


def packages(view: View) -> Seen:
    """A GitLab, a runner or a k3s that was installed on the machine itself."""
    entry = view.machine.entry
    found = {
        "GitLab (package)": (
            entry("/opt/gitlab/bin/gitlab-ctl"),
            "sudo gitlab-ctl stop && sudo systemctl disable --now gitlab-runsvdir",
        ),
        "gitlab-runner (package)": (
            entry("/etc/gitlab-runner/config.toml") or entry("/usr/lib/gitlab-runner/gitlab-runner"),
            "sudo systemctl disable --now gitlab-runner",
        ),
        "k3s (service)": (entry("/etc/systemd/system/k3s.service"), "sudo systemctl disable --now k3s"),
    }
    there = {name: command for name, (seen, command) in found.items() if seen}
    if not there:
        return Seen("ok", "none")
    return Seen("warning", ", ".join(there), "This stops them and keeps their data:\n" + commands(*there.values()))


def clusters(view: View) -> Seen:
    """Other clusters and GitLab containers of earlier attempts, running on this engine."""
    if view.docker.failure:
        return _absent()
    stops = _strangers(view)
    if not stops:
        return Seen("ok", "none is running")
    return Seen(
        "warning", f"running: {', '.join(stops)}", "This stops them and keeps their data:\n" + commands(*stops.values())
    )


def _strangers(view: View) -> dict[str, str]:
    """What runs and is not ours, with the command that stops it."""
    found: dict[str, str] = {}
    for container in view.docker.containers:
        if view.ours(container) or container.get("State") != "running":
            continue
        labels, name = container.get("Labels") or {}, str((container.get("Names") or ["/?"])[0]).lstrip("/")
        if "k3d.cluster" in labels:
            cluster = labels["k3d.cluster"]
            found[f"k3d cluster {cluster}"] = f"k3d cluster stop {quote(cluster)}"
        elif "io.x-k8s.kind.cluster" in labels:
            found[f"kind cluster {labels['io.x-k8s.kind.cluster']}"] = f"docker stop {quote(name)}"
        elif labels.get("name.minikube.sigs.k8s.io"):
            found[f"minikube {name}"] = f"minikube stop -p {quote(name)}"
        elif re.match(r"(docker\.io/)?gitlab/gitlab-", str(container.get("Image"))):
            found[f"container {name} ({container['Image']})"] = f"docker stop {quote(name)}"
    return found


def _user(view: View) -> str:
    return quote(view.machine.facts.user) if view.machine.facts.user else '"$USER"'


def _absent() -> Seen:
    return Seen("unknown", "Docker does not answer")


_ONLY = ("docker",)
CHECKS = (
    Check(
        "docker.reachable",
        "Docker answers",
        "GitLab, the runner and the cluster are containers.",
        reachable,
        _ONLY,
        stops_up=True,
    ),
    Check(
        "docker.version",
        "Docker's version",
        "Old engines refuse system calls that GitLab's image makes.",
        version,
        _ONLY,
        stops_up=True,
    ),
    Check(
        "docker.kind",
        "Desktop or native",
        "It decides where containers, their addresses and their disk are.",
        kind,
        _ONLY,
    ),
    Check(
        "docker.rootless",
        "Rootless",
        "k3s ends at once without the cpuset control group.",
        rootless,
        _ONLY,
        stops_up=True,
    ),
    Check(
        "docker.cgroup",
        "cgroup version",
        "From Kubernetes 1.35 on a kubelet refuses version 1 unless told otherwise.",
        cgroup,
        _ONLY,
    ),
    Check(
        "docker.storage",
        "Storage driver",
        "k3s puts its own overlay on top, which not every driver bears.",
        storage,
        _ONLY,
    ),
    Check(
        "docker.architecture",
        "Architecture",
        "An image for another processor ends with 'exec format error'.",
        architecture,
        _ONLY,
        stops_up=True,
    ),
    Check(
        "docker.quota",
        "Docker Hub quota",
        "Without a login Docker Hub counts pulls by address, classrooms share one.",
        quota,
        _ONLY,
    ),
    Check(
        "earlier.packages",
        "GitLab, runner or k3s on the machine",
        "An installed one takes the same ports and 4 GB, and its runner takes the lab's jobs.",
        packages,
        _ONLY,
    ),
    Check(
        "earlier.clusters",
        "Other clusters and GitLabs",
        "Each takes memory, ports and inotify instances.",
        clusters,
        _ONLY,
    ),
)
