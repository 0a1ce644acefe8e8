"""How much of everything there is: processors, memory, disk, inotify; and the state of .lab/."""

from __future__ import annotations

import math
import re
from shlex import quote

from lab.doctor.finding import Check, Seen, commands, wslconfig
from lab.doctor.view import GIB, View, megabytes

_EMBEDDED_MEMORY = 0.25 * GIB
_LEAST_MEMORY = 4.5 * GIB
"""GitLab 2 GB and 1 GB of swap (contracts A.7); k3s with Argo CD, and dind while a job builds, the rest."""
_GOOD_MEMORY = 7.5 * GIB
_EMBEDDED_DISK = 0.2 * GIB
_LEAST_DISK = 10 * GIB
_GOOD_DISK = 20 * GIB
"""GitLab's documented floor (contracts A.7)."""
_EVICTION, _LAB_EVICTION = 0.10, 0.01
"""Free share below which a kubelet evicts pods: as it comes, and as k8s/k3d.yaml sets it (contracts E.6)."""
_INSTANCES, _WATCHES = 512, 524288
"""What kind documents for clusters in containers (contracts E.6)."""


def cpu(view: View) -> Seen:
    """Processors, and what a control group leaves of them."""
    count: float = view.machine.facts.cpus
    quota, _, period = view.read("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    if quota.isdigit() and period.isdigit():
        count = min(count, int(quota) / int(period))
    measured = f"{count:g} processor{'s' if count != 1 else ''}"
    if view.engine == "docker" and count < 2:
        remedy = "processors=2 below [wsl2] in %UserProfile%\\.wslconfig" if view.wsl else "Give the machine two."
        return Seen("warning", f"{measured}: GitLab's first start takes 10 minutes and more", remedy)
    return Seen("ok", measured)


def memory(view: View) -> Seen:
    """Memory and swap against what the engine needs."""
    found = view.memory()
    if "MemTotal" not in found:
        return Seen("unknown", "no /proc/meminfo")
    available, swap = found.get("MemAvailable", found["MemTotal"]), found.get("SwapTotal", 0)
    if view.engine == "embedded":
        measured = f"{megabytes(available)} available"
        if available < _EMBEDDED_MEMORY:
            return Seen("warning", measured, "End programs that you do not need.")
        return Seen("ok", measured)
    total = min(found["MemTotal"], int(view.docker.info.get("MemTotal") or found["MemTotal"]), _limit(view))
    measured = f"{megabytes(total)} and {megabytes(swap)} swap"
    if total + swap < _LEAST_MEMORY:
        return Seen("problem", measured, _more_memory(view, total))
    if total < _GOOD_MEMORY:
        return Seen("warning", f"{measured}: enough, and slow", _more_memory(view, total))
    return Seen("ok", measured)


def _limit(view: View) -> float:
    """What the control group allows, when this runs in a container itself."""
    limit = view.read("/sys/fs/cgroup/memory.max").strip()
    return int(limit) if limit.isdigit() else math.inf


def _more_memory(view: View, total: float) -> str:
    embedded = "Or take the engine that needs 120 MB:\n" + commands("invoke up --engine embedded")
    if view.wsl:
        # By default WSL gets half of Windows' memory; three quarters leave Windows enough.
        gigabytes = min(8, max(3, round(total * 2 / GIB * 0.75)))
        return wslconfig(f"memory={gigabytes}GB", "swap=4GB") + f"\n{embedded}"
    swapfile = commands(
        "sudo fallocate -l 4G /swapfile && sudo chmod 600 /swapfile",
        "sudo mkswap /swapfile && sudo swapon /swapfile",
        "echo '/swapfile none swap sw 0 0' | sudo tee -a /etc/fstab",
    )
    return f"Swap lets it start:\n{swapfile}\n{embedded}"


def disk(view: View) -> Seen:
    """Room for the lab's data, and for Docker's images."""
    docker = view.engine == "docker"
    root = str(view.docker.info.get("DockerRootDir") or "/var/lib/docker")
    if docker and view.docker.desktop:
        return Seen(
            "unknown",
            "Docker Desktop keeps images in a disk of its own",
            "Look at it:\n" + commands("docker system df"),
        )
    place = root if docker else view.machine.home
    space = view.machine.space(place)
    if not space:
        return Seen("unknown", f"{place} cannot be read")
    least, good = (_LEAST_DISK, _GOOD_DISK) if docker else (_EMBEDDED_DISK, 2 * _EMBEDDED_DISK)
    measured = f"{megabytes(space.free)} free of {megabytes(space.total)} at {place}"
    if space.files and space.files_free < 20_000:
        return Seen("problem", f"{space.files_free} files can still be made at {place}", _more_disk(docker=docker))
    if space.free < least:
        return Seen("problem", measured, _more_disk(docker=docker))
    return Seen("warning", measured, _more_disk(docker=docker)) if space.free < good else Seen("ok", measured)


def _more_disk(*, docker: bool) -> str:
    if not docker:
        return "Find what fills it:\n" + commands("du -xh --max-depth=2 ~ | sort -h | tail -20")
    return "Images and build caches that no container uses:\n" + commands(
        "docker system df", "docker image prune --all", "docker builder prune"
    )


def eviction(view: View) -> Seen:
    """How far the disk is from the point at which a kubelet throws pods out."""
    place = str(view.docker.info.get("DockerRootDir") or "/var/lib/docker")
    space = None if view.docker.desktop else view.machine.space(place)
    if not space or not space.total:
        return Seen("unknown", "Docker's disk is not visible from here")
    free = space.free / space.total
    measured = f"{free:.0%} free at {place}; the lab's cluster evicts below {_LAB_EVICTION:.0%}"
    if free < 2 * _LAB_EVICTION:
        return Seen("problem", measured, _more_disk(docker=True))
    if free < _EVICTION:
        return Seen("warning", f"{measured}, any other cluster below 10%", _more_disk(docker=True))
    return Seen("ok", measured)


def inotify(view: View) -> Seen:
    """The limits that every container of the machine shares."""
    folder = "/proc/sys/fs/inotify"
    instances, watches = (view.read(f"{folder}/max_user_{name}").strip() for name in ("instances", "watches"))
    if not (instances.isdigit() and watches.isdigit()):
        return Seen("unknown", f"no {folder}")
    measured = f"{instances} instances, {watches} watches"
    if int(instances) >= _INSTANCES and int(watches) >= _WATCHES:
        return Seen("ok", measured)
    values = "fs.inotify.max_user_instances=1280\\nfs.inotify.max_user_watches=655360\\n"
    remedy = commands(f"printf '{values}' | sudo tee /etc/sysctl.d/99-lab.conf", "sudo sysctl --system")
    return Seen("warning", f"{measured}; {_INSTANCES} and {_WATCHES} are recommended", remedy)


def state_folder(view: View) -> Seen:
    """Whether .lab/ is ours and nobody else's to read."""
    folder = view.state_folder
    seen = view.machine.entry(folder)
    if not seen:
        above = view.machine.entry(view.machine.home)
        if above and not above.writable:
            return Seen("problem", f"{view.machine.home} cannot be written", _own(view, view.machine.home))
        return Seen("ok", f"{folder} is not there yet")
    foreign = [path for path in (folder, *secrets(view)) if _foreign(view, path)]
    if not seen.writable or foreign:
        return Seen("problem", f"{(foreign or [folder])[0]} belongs to somebody else", _own(view, folder))
    loose = loose_modes(view)
    if loose:
        fix = commands(*(f"chmod {mode:o} {quote(path)}" for path, mode in loose.items()))
        return Seen("problem", f"others may read {', '.join(loose)}", fix, fixable=True, stops_up=False)
    return Seen("ok", f"{folder} is closed to others")


def _own(view: View, path: str) -> str:
    return commands(f"sudo chown -R {quote(view.machine.facts.user or str(view.machine.facts.uid))} {quote(path)}")


def _foreign(view: View, path: str) -> bool:
    seen = view.machine.entry(path)
    return bool(seen and view.machine.facts.uid not in (0, seen.uid))


def secrets(view: View) -> list[str]:
    """The files with secrets in .lab/."""
    folder = f"{view.state_folder}/secrets"
    return [f"{folder}/{name}" for name in view.machine.names(folder)]


def loose_modes(view: View) -> dict[str, int]:
    """What others may read although they must not, with the mode that it should have."""
    wanted = {view.state_folder: 0o700, f"{view.state_folder}/secrets": 0o700} | dict.fromkeys(secrets(view), 0o600)
    seen = {path: view.machine.entry(path) for path in wanted}
    return {path: mode for path, mode in wanted.items() if (entry := seen[path]) and entry.mode & 0o077 & ~mode}


def leftovers(view: View) -> Seen:
    """What a killed task left in .lab/ that nobody will use again."""
    found = stale(view)
    if not found:
        return Seen("ok", "nothing left behind")
    fix = commands(*(f"rm -f {quote(path)}" for path in found))
    return Seen("warning", f"left by a killed task: {', '.join(found)}", fix, fixable=True)


def stale(view: View) -> list[str]:
    """Half-written files of .lab/ and the emulator's "ready", while no process of this lab runs."""
    folder = view.state_folder
    if any(view.alive(lock) for lock in ("lock", "embedded/lock")):
        return []
    parts = [
        f"{place}/{name}"
        for place in (folder, f"{folder}/secrets")
        for name in view.machine.names(place)
        if re.fullmatch(r"\.[a-z0-9_]{8}", name)  # as tempfile.mkstemp names what State writes
    ]
    ready = f"{folder}/embedded/ready"
    return parts + ([ready] if view.machine.entry(ready) else [])


CHECKS = (
    Check("system.cpu", "Processors", "GitLab's start is bound by them.", cpu),
    Check(
        "system.memory",
        "Memory",
        "When it runs out, the kernel ends GitLab's processes one by one and everything answers 502.",
        memory,
        stops_up=True,
    ),
    Check(
        "disk.free",
        "Disk",
        "Images, repositories and the registry need room; a full disk damages databases.",
        disk,
        stops_up=True,
    ),
    Check(
        "disk.eviction",
        "Eviction headroom",
        "On a disk that is nearly full Kubernetes removes pods and images (DiskPressure), again and again.",
        eviction,
        engines=("docker",),
    ),
    Check(
        "system.inotify",
        "inotify limits",
        "All containers share them; when they are used up, pods crash with 'too many open files'.",
        inotify,
        engines=("docker",),
    ),
    Check(
        "lab.folder",
        "Folder .lab/",
        "It holds tokens and passwords; a task run with sudo leaves files that block later ones.",
        state_folder,
        stops_up=True,
    ),
    Check("lab.leftovers", "Leftovers in .lab/", "They do no harm, and mislead whoever looks.", leftovers),
)
