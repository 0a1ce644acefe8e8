"""Every port of the lab: free, ours, or somebody else's, with the name of who has it."""

from __future__ import annotations

from functools import partial
from shlex import quote

from lab.doctor.finding import Check, Seen, commands
from lab.doctor.view import View
from lab.engines.ports import Owner

HOST = "127.0.0.1"
KEYS = {
    "gitlab": "GitLab",
    "registry": "registry",
    "kubernetes": "Kubernetes API",
    "argocd": "Argo CD",
    "app": "application",
}


def port(key: str, view: View) -> Seen:
    """One port; ``key`` is its name below ``ports`` in lab.yaml."""
    number = int(getattr(view.settings.ports, key))
    refusal = view.machine.refusal(HOST, number)
    if not refusal:
        return Seen("ok", f"{number} is free")
    if view.engine == "docker" and "ermission" in refusal:
        return Seen("ok", f"{number} is free, for Docker's root")  # the engine binds it, not this user
    move = f"Take another port: ports.{key} in lab.yaml, or\n" + commands(
        f"export LAB_PORTS_{key.upper()}={_other(number)}"
    )
    if "ermission" in refusal:
        return Seen("problem", f"Port {number}: only root may listen below 1024", move)
    holder, own, end = _holder(view, number)
    if own:
        return Seen("ok", f"{number} is the lab's own, {holder}")
    return Seen("problem", f"Port {number} is in use: {holder}", f"{move}\nOr {end}")


def _holder(view: View, number: int) -> tuple[str, bool, str]:
    """Who has a port, whether that is this lab itself, and how to end it."""
    container = _container(view, number)
    if container:
        name, own = container
        return f"container {name} has it", own, "stop that container:\n" + commands(f"docker stop {quote(name)}")
    emulator = view.alive("embedded/lock")
    if emulator and number in view.emulator_ports():
        return f"process {emulator}", True, ""
    owner = view.listeners.get(number, Owner(None))
    if owner.pid is None:
        return str(owner), False, "see who it is, and end it:\n" + commands(f"sudo ss -ltnp 'sport = :{number}'")
    # The command line tells it too: a lock file may be damaged, or not written yet.
    own = owner.pid == emulator or f"{view.state_folder}/embedded.json" in owner.command
    return str(owner), own, "end that program:\n" + commands(f"kill {owner.pid}")


def _other(number: int) -> int:
    """A port that is easy to remember beside a taken one, and outside of what the kernel hands out by itself."""
    return number + 10_000 if number < 22_000 else number - 10_000


def _container(view: View, number: int) -> tuple[str, bool] | None:
    """The container that publishes a port, and whether it is the lab's."""
    if view.engine != "docker":
        return None
    for container in view.docker.containers:
        if any(published.get("PublicPort") == number for published in container.get("Ports") or ()):
            return str((container.get("Names") or ["/?"])[0]).lstrip("/"), view.ours(container)
    return None


CHECKS = tuple(
    Check(
        f"port.{key}",
        f"Port of {name}",
        "Two programs cannot listen on one port; with Docker it shows only after a container was made.",
        partial(port, key),
        stops_up=True,
    )
    for key, name in KEYS.items()
)
