"""This machine, the tools, the settings and the journal; nothing here needs the lab to run."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from lab import __version__, doctor, shell
from lab.config import origins, scalars
from lab.errors import LabError
from lab.journal.reading import FOLDER
from lab.support.parts import Texts
from lab.support.subject import Subject

_PACKAGES = (
    "aiohttp", "cryptography", "docker", "invoke", "kubernetes", "python-gitlab", "PyYAML", "requests", "rich",
    "urllib3",
)  # fmt: skip
_TOOLS = (
    ("git", "--version"),
    ("docker", "version"),
    ("k3d", "version"),
    ("kubectl", "version", "--client"),
    ("uname", "-a"),
    ("wsl.exe", "--version"),
    ("df", "-h"),
    ("free", "-m"),
)
_FILES = ("/etc/os-release", "/proc/version", "/proc/meminfo", "/proc/loadavg", "/etc/resolv.conf", "/etc/hosts")
_VARIABLES = (
    "LAB_",
    "DOCKER_",
    "WSL",
    "LANG",
    "LC_",
    "KUBECONFIG",
    "VIRTUAL_ENV",
    "PATH",
    "http",
    "HTTP",
    "no_",
    "NO_",
)
_GIT = r"^(url|http|https|credential|core\.(autocrlf|eol|sshcommand)|init|protocol|safe)"
_JOURNALS = 20
_TIMEOUT = 10.0


def versions(subject: Subject) -> Texts:
    """The lab, Python and its packages; the programs around it; the system."""
    lines = [f"lab {__version__} in {subject.machine.root}", f"python {sys.version}", f"executable {sys.executable}"]
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            lines.append(f"{name} {metadata.version(name)}")
    yield "lab.txt", "\n".join(lines) + "\n"
    path = f"{subject.state.folder / 'bin'}:{subject.environ.get('PATH', '')}"  # the lab's own k3d comes first
    yield "tools.txt", "".join(f"$ {' '.join(tool)}\n{_said(tool, path)}\n\n" for tool in _TOOLS)
    yield "system.txt", "".join(f"--- {path}\n{subject.machine.read(path)}\n" for path in _FILES)


def examined(subject: Subject) -> Texts:
    """What the doctor finds."""
    with contextlib.suppress(LabError):
        engine = subject.engine().name
        yield "doctor.txt", _findings(doctor.examine(subject.machine, subject.settings(), engine=engine))
        return
    yield "doctor.txt", _findings(doctor.examine(subject.machine, subject.settings()))


def settings(subject: Subject) -> Texts:
    """Every setting with its origin, the variables that have to do with the lab, and git's configuration."""
    yield "environment.txt", _environment(subject)
    yield "git.txt", _said(("git", "config", "--show-origin", "--get-regexp", _GIT))
    rows = origins.values(subject.file, subject.environ)
    yield "settings.txt", "".join(f"{row.key} = {scalars.shown(row.value)}   ({row.origin})\n" for row in rows)


def journal(subject: Subject) -> Texts:
    """The newest journals as they are, also those that cannot be read as such."""
    for path in sorted((subject.state.folder / FOLDER).glob("*.jsonl"))[-_JOURNALS:]:
        yield path.name, path.read_bytes().decode(errors="replace")


def memory(subject: Subject) -> Texts:
    """What lies in `.lab/`: names, sizes and modes, and the facts that the lab has noted."""
    folder = subject.state.folder
    yield "files.txt", "\n".join(_entry(path, folder) for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")))
    for path in sorted(folder.glob("*.json")):
        yield path.name, path.read_bytes().decode(errors="replace")
    log = folder / "emulator.log"
    if log.exists():
        yield log.name, log.read_bytes().decode(errors="replace")


def _findings(found: list[doctor.Finding]) -> str:
    return "".join(json.dumps(asdict(finding), ensure_ascii=False) + "\n" for finding in found)


def _said(argv: tuple[str, ...], path: str = "") -> str:
    try:
        done = shell.run(argv, timeout=_TIMEOUT, check=False, env={"PATH": path} if path else None)
    except (LabError, OSError) as error:
        return str(error)
    return (done.stdout + done.stderr).replace("\0", "").strip()  # wsl.exe prints UTF-16


def _environment(subject: Subject) -> str:
    chosen = sorted(name for name in subject.environ if name.startswith(_VARIABLES))
    return "".join(f"{name}={subject.environ[name]}\n" for name in chosen if name != "LAB_PROJECT_VARIABLES")


def _entry(path: Path, folder: Path) -> str:
    seen = path.lstat()
    return f"{seen.st_mode & 0o7777:04o} {seen.st_size:>10} {path.relative_to(folder)}"
