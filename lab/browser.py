"""Opening a page of the lab in the person's browser; on WSL that is the one of Windows.

Every way is tried in turn. Where none works (no desktop, a machine reached over ssh) the URL itself is the answer.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lab import hosts, shell, wsl
from lab.errors import LabError, UsageError
from lab.model import Endpoints

PLACES = ("gitlab", "argocd", "app")
_PATIENCE = 5.0
_META = re.compile(r'[&|<>^()%!"]')


def address(place: str, endpoints: Endpoints, hosts_file: hosts.HostsFile) -> str:
    """The URL of a place that works in a browser on this machine.

    GitLab is opened by its name where the browser's hosts file has it, else by the address that always works.

    Raises:
        UsageError: there is no such place.
    """
    if place not in PLACES:
        raise UsageError("LAB-OPEN-01", f"There is no place named {place!r}.", hint=_USAGE)
    if place == "gitlab":
        name = urlsplit(endpoints.gitlab).hostname or ""
        known = name == hosts.ADDRESS or _in_file(name, hosts_file)
        return endpoints.gitlab if known else endpoints.gitlab_route
    return endpoints.argocd if place == "argocd" else endpoints.app


def show(
    url: str,
    environ: Mapping[str, str],
    *,
    inside_wsl: bool,
    which: Callable[[str], str | None] = shutil.which,
    launch: Callable[..., int | None] = shell.launch,
) -> str | None:
    """Open the URL in a browser; returns the program that took it, or None when there is none."""
    cwd = wsl.SYSTEM if inside_wsl and wsl.SYSTEM.is_dir() else None  # cmd.exe cannot stand in a folder of Linux
    for argv in _ways(url, environ, inside_wsl=inside_wsl):
        program = which(argv[0])
        if not program:
            continue
        try:
            code = launch([program, *argv[1:]], patience=_PATIENCE, cwd=cwd)
        except LabError:
            continue
        if code in (0, None):  # still running: a browser that stays in the foreground
            return Path(argv[0]).name
    return None


def _ways(url: str, environ: Mapping[str, str], *, inside_wsl: bool) -> Iterator[list[str]]:
    if inside_wsl:
        yield ["wslview", url]
        start = ["-NoProfile", "-NonInteractive", "-Command", f"Start-Process '{url.replace(chr(39), chr(39) * 2)}'"]
        yield ["powershell.exe", *start]
        yield [str(wsl.SYSTEM / "WindowsPowerShell/v1.0/powershell.exe"), *start]
        # cmd.exe reads its line itself, before any quoting: each of its own characters is escaped
        line = ["/c", "start", "", _META.sub(r"^\g<0>", url)]
        yield ["cmd.exe", *line]
        yield [str(wsl.SYSTEM / "cmd.exe"), *line]
    for browser in filter(None, environ.get("BROWSER", "").split(":")):
        yield _browser(browser, url)
    if environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):  # without one it would start a browser for text
        yield ["xdg-open", url]


def _browser(command: str, url: str) -> list[str]:
    """One entry of $BROWSER; ``%s`` in it stands for the URL, which else comes last."""
    try:
        words: Sequence[str] = shlex.split(command)
    except ValueError:
        words = [command]
    filled = [word.replace("%s", url) for word in words]
    return filled if filled != list(words) else [*words, url]


def _in_file(name: str, file: hosts.HostsFile) -> bool:
    try:
        return not hosts.inspect(file, [name]).missing
    except LabError:
        return False


_USAGE = f"invoke open {'|'.join(PLACES)}"
