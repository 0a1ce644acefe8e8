"""The tools that the lab is made with: git, Python, its virtual environment."""

from __future__ import annotations

import re
from shlex import quote

from lab.doctor.finding import Check, Seen, commands
from lab.doctor.view import View

_GIT = (2, 31)
"""The first that takes settings from the environment (GIT_CONFIG_COUNT): tokens then stand on no command line."""
_OLDEST, _NEWEST = (3, 10), (3, 14)


def git(view: View) -> Seen:
    """Git's version."""
    said = view.run("git", "--version")
    if said is None:
        return Seen("problem", "git is not installed", commands("sudo apt-get install -y git"))
    found = re.search(r"(\d+)\.(\d+)", said)
    if not found:
        return Seen("unknown", said)
    if (int(found[1]), int(found[2])) < _GIT:
        newer = commands("sudo add-apt-repository -y ppa:git-core/ppa", "sudo apt-get install -y git")
        return Seen("problem", f"{said}; {_GIT[0]}.{_GIT[1]} is needed", f"On Ubuntu:\n{newer}")
    return Seen("ok", said)


def python(view: View) -> Seen:
    """The Python that runs this."""
    number = view.machine.facts.python
    found = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
    if found < _OLDEST:
        return Seen("problem", f"Python {number}", "Install Python 3.10 to 3.14 and make the environment with it.")
    if found > _NEWEST:
        return Seen("warning", f"Python {number}: newer than what the lab is tested on", "Prefer Python 3.10 to 3.14.")
    return Seen("ok", f"Python {number}")


def virtual(view: View) -> Seen:
    """Whether that Python is in an environment of its own."""
    facts = view.machine.facts
    if facts.virtual:
        return Seen("ok", facts.executable)
    remedy = commands(f"cd {quote(view.machine.root)}", "python3 -m venv .venv && .venv/bin/pip install -e .")
    package = "When Python says that ensurepip is missing:\n" + commands("sudo apt-get install -y python3-venv")
    return Seen("warning", f"{facts.executable} is the system's Python", f"{remedy}\n{package}")


CHECKS = (
    Check("tool.git", "git", "Every push, clone and pipeline is made with it.", git, stops_up=True),
    Check("tool.python", "Python", "The lab and its embedded engine run on it.", python),
    Check(
        "tool.venv",
        "Virtual environment",
        "Packages of the system and of the lab would get in each other's way.",
        virtual,
    ),
)
