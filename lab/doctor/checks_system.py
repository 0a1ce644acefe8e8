"""The machine itself: its kernel, WSL, the clone, the clock."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from shlex import quote

from lab.doctor.finding import Check, Seen, commands, wslconfig
from lab.doctor.machine import Reply
from lab.doctor.view import View

_CLOCKS = ("http://deb.debian.org/", "http://mirrors.aliyun.com/")
"""Plain HTTP on purpose: a clock far off makes every certificate invalid."""
_LEEWAY = 60
"""Seconds that registry tokens and most logins forgive (contracts D.1)."""
_NOTICEABLE = 5
_SAMPLES = ("gitlab/project/.gitlab-ci.yml", "gitlab/project/Dockerfile", "tasks.py")


def kernel(view: View) -> Seen:
    """Linux, or WSL and which."""
    found = re.search(r"Linux version (\S+)", view.read("/proc/version"))
    if not found:
        return Seen("unknown", "no /proc/version: this is no Linux")
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', view.read("/etc/os-release"), re.MULTILINE)
    measured = f"{name[1] if name else 'Linux'}, kernel {found[1]}"
    if view.wsl == 1:
        upgrade = "In PowerShell on Windows:\nwsl --set-version " + view.machine.environ.get(
            "WSL_DISTRO_NAME", "Ubuntu"
        )
        return Seen("problem", f"WSL 1, {measured}", f"{upgrade} 2", stops_up=view.engine == "docker")
    if view.wsl:
        version = view.run("wslinfo", "--wsl-version")
        return Seen("ok", f"WSL 2{f' ({version})' if version else ''}, {measured}")
    return Seen("ok", measured)


def wsl_network(view: View) -> Seen:
    """The networking mode of WSL."""
    if not view.wsl:
        return Seen("ok", "not WSL")
    mode = view.run("wslinfo", "--networking-mode")
    if not mode:
        return Seen("unknown", "this WSL has no wslinfo", "In PowerShell on Windows:\nwsl --update")
    if mode == "none":
        stops = view.engine == "docker"
        return Seen("problem", "none: WSL has no network at all", wslconfig("networkingMode=nat"), stops_up=stops)
    notes = {
        "nat": "Windows reaches the lab's ports as localhost; WSL's own address changes with each start",
        "mirrored": "WSL shares Windows' addresses and ports: a port taken on Windows is taken here",
        "virtioproxy": "WSL fell back to it; ports reach Windows as localhost",
    }
    return Seen("ok", f"{mode}: {notes.get(mode, 'localhost is shared with Windows')}")


def systemd(view: View) -> Seen:
    """Whether systemd starts services such as Docker."""
    if view.read("/proc/1/comm").strip() == "systemd":
        return Seen("ok", "systemd is process 1")
    if not view.wsl:
        return Seen("ok", "no systemd; nothing here needs it once Docker runs")
    if view.docker.desktop:
        return Seen("ok", "no systemd; Docker Desktop starts from Windows")
    return Seen(
        "warning",
        "no systemd: Docker does not come back after WSL was stopped",
        commands("printf '[boot]\\nsystemd=true\\n' | sudo tee -a /etc/wsl.conf")
        + "\nThen in PowerShell on Windows:\nwsl --shutdown",
    )


def place(view: View) -> Seen:
    """Whether the clone lies on a Windows drive."""
    for path in {view.machine.home, view.machine.root}:
        kind = view.mount(path)
        if view.wsl and (re.match(r"/mnt/[a-z]/", path) or kind in ("9p", "drvfs")):
            return Seen(
                "problem",
                f"{path} is on a Windows drive ({kind or 'drvfs'})",
                commands(f"git clone {quote(view.machine.root)} ~/lab", "cd ~/lab")
                + "\nThen make the environment there (README, quick start).",
                stops_up=False,
            )
    kind = view.mount(view.machine.home)
    if kind in ("nfs", "nfs4", "cifs", "smb3"):
        return Seen("warning", f"{view.machine.home} is on a network drive ({kind})", "Clone to a local disk.")
    return Seen("ok", f"{view.machine.home}{f' on {kind}' if kind else ''}")


def line_endings(view: View) -> Seen:
    """CRLF in the files that shells and YAML parsers of Linux read, or a git that will put it there."""
    root = view.machine.root
    broken = [name for name in _SAMPLES if "\r\n" in view.read(f"{root}/{name}")]
    setting = view.run("git", "-C", root, "config", "--get", "core.autocrlf") or "not set"
    if broken:
        return Seen(
            "problem",
            f"Windows line ends in {', '.join(broken)} (core.autocrlf {setting})",
            "This gives every file of the clone its stored line ends again, if all changes are committed:\n"
            + commands(
                f"cd {quote(root)} && git config core.autocrlf input && git diff --quiet HEAD",
                "git rm --cached -rq . && git reset --hard -q",
            ),
        )
    if setting == "true":
        fix = commands(f"git -C {quote(root)} config core.autocrlf input")
        return Seen("warning", "core.autocrlf is true: the next checkout gets Windows line ends", fix, fixable=True)
    return Seen("ok", f"Linux line ends, core.autocrlf {setting}")


def clock(view: View) -> Seen:
    """This machine's clock against the Date header of a server that answers."""
    for url in _CLOCKS:
        reply = view.machine.fetch("HEAD", url, {}, 0.45)
        if isinstance(reply, Reply) and "date" in reply.headers:
            try:
                there = parsedate_to_datetime(reply.headers["date"]).timestamp()
            except ValueError:
                continue
            return _skew(view, view.machine.now() - there, url)
    return Seen("unknown", "no server with a Date header could be reached")


def _skew(view: View, skew: float, url: str) -> Seen:
    if abs(skew) < _NOTICEABLE:
        return Seen("ok", f"right within {_NOTICEABLE} s (compared with {url})")
    measured = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'} (compared with {url})"
    if view.wsl:
        remedy = (
            commands("sudo hwclock --hctosys") + "\nWhen that does not help, in PowerShell on Windows:\nwsl --shutdown"
        )
    else:
        remedy = commands("sudo timedatectl set-ntp true")
    return Seen("problem" if abs(skew) > _LEEWAY else "warning", measured, remedy)


CHECKS = (
    Check(
        "system.kernel",
        "Linux or WSL",
        "Containers need a Linux kernel of their own; WSL 1 has none.",
        kernel,
        stops_up=True,
    ),
    Check(
        "wsl.network",
        "WSL networking mode",
        "It decides whether a browser on Windows reaches the lab, and whose ports count.",
        wsl_network,
        stops_up=True,
    ),
    Check(
        "wsl.systemd",
        "systemd",
        "Without it a native Docker has to be started by hand each time WSL starts.",
        systemd,
        engines=("docker",),
    ),
    Check(
        "clone.place",
        "Place of the clone",
        "Windows drives are slow below WSL and do not keep file modes, so secrets in .lab/ are readable for everybody.",
        place,
    ),
    Check(
        "clone.line-endings",
        "Line ends",
        "A shell takes the CR at a line's end for a part of the command: jobs fail with '\\r': command not found.",
        line_endings,
    ),
    Check(
        "system.clock",
        "Clock",
        "After sleep WSL's clock may lag; certificates and tokens are then not valid yet, or no longer.",
        clock,
    ),
)
