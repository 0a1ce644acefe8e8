"""Mends what needs no root, and writes the rest down as a script for a person to read and run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab.doctor.checks_resources import loose_modes, stale
from lab.doctor.machine import Machine
from lab.doctor.view import View
from lab.model import Finding
from lab.settings import Settings


def mend(machine: Machine, settings: Settings, findings: Sequence[Finding]) -> list[str]:
    """Mend every finding that is fixable; returns a line for each thing done."""
    view = View(machine, settings, "embedded")
    return [line for finding in findings if finding.fixable for line in _MENDERS[finding.id](view)]


def _line_endings(view: View) -> list[str]:
    root = view.machine.root
    said = view.run("git", "-C", root, "config", "core.autocrlf", "input")
    return [] if said is None else [f"core.autocrlf is input in {root}"]


def _modes(view: View) -> list[str]:
    done = []
    for path, mode in loose_modes(view).items():
        view.machine.chmod(path, mode)
        done.append(f"{path} has mode {mode:o}")
    return done


def _leftovers(view: View) -> list[str]:
    done = []
    for path in stale(view):
        view.machine.remove(path)
        done.append(f"removed {path}")
    return done


_MENDERS: dict[str, Callable[[View], list[str]]] = {
    "clone.line-endings": _line_endings,
    "lab.folder": _modes,
    "lab.leftovers": _leftovers,
}


def script(findings: Sequence[Finding]) -> str:
    """A shell script with the remedies of everything that is wrong; what is no command is a comment.

    It stops at the first command that fails. Nothing in it runs by itself.
    """
    lines = [
        "#!/bin/sh",
        "# What `invoke doctor` found on this machine. Read it, delete what you do not want, run the rest.",
        "set -e",
    ]
    for finding in findings:
        if finding.state in ("warning", "problem") and finding.remedy:
            lines += ["", *_comment(f"{finding.id}: {finding.measured}"), *_comment(finding.why)]
            lines += _body(finding.remedy)
    return "\n".join(lines) + "\n"


def _body(remedy: str) -> list[str]:
    """A remedy as shell lines; of several ways only the first one runs, what follows an "Or" is commented out."""
    lines, other = [], False
    for text in remedy.splitlines():
        other = other or text.startswith("Or ")
        lines += [text[2:]] if text.startswith("$ ") and not other else _comment(text.removeprefix("$ "))
    return lines


def _comment(text: str) -> list[str]:
    """Comment lines; a line break in ``text`` (a process may have one in its arguments) does not end the comment."""
    return [f"# {line}" for line in text.splitlines()]
