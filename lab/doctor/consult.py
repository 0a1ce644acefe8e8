"""The task `doctor`: examine, mend when asked, show, and say whether the lab can run here."""

from __future__ import annotations

import threading
from dataclasses import asdict

from lab import doctor
from lab.console import Cell, Console
from lab.errors import MachineError
from lab.model import Finding
from lab.settings import Settings

_MARKS = {
    "ok": Cell("✓ ok", 10, "green"),
    "unknown": Cell("? unknown", 10, "yellow"),
    "warning": Cell("! warning", 10, "yellow"),
    "problem": Cell("✗ problem", 10, "red"),
}
_INDENT = Cell("", 10)
_WRONG = ("warning", "problem")


def consult(
    machine: doctor.Machine,
    settings: Settings,
    console: Console,
    *,
    engine: str | None,
    fix: bool,
    stop: threading.Event,
) -> None:
    """Show every finding, the worst at the end, where a short terminal still has it.

    Args:
        machine: what is examined.
        settings: the lab's settings.
        console: shows the findings; in JSON mode one document for each (``"type": "finding"``, the fields of
            `Finding`), ``mended`` for each thing done, and ``script``.
        engine: as for `examine`.
        fix: mend what needs no root first, and print the rest as a script.
        stop: ends the examination.

    Raises:
        MachineError: `up` cannot work here.
        Interrupted: ``stop`` was set.
    """
    found = doctor.examine(machine, settings, engine=engine, stop=stop)
    if fix:
        for done in doctor.mend(machine, settings, found):
            console.document({"type": "mended", "what": done})
            console.line(f"{console.paint('✓ mended', 'green')}   {done}")
        found = doctor.examine(machine, settings, engine=engine, stop=stop)
    for finding in sorted(found, key=lambda finding: list(_MARKS).index(finding.state)):
        _show(finding, console)
    wrong = [finding for finding in found if finding.state in _WRONG]
    console.line()
    console.row((), f"{len(found)} looked at, {len(wrong)} to look into." + _next(found, fix=fix))
    if fix and wrong:
        console.document({"type": "script", "text": doctor.script(found)})
        console.line(f"\n{doctor.script(found)}")
    stops = [finding.title for finding in found if finding.stops_up]
    if stops:
        raise MachineError(
            "LAB-DOC-01", f"`up` cannot work here: {', '.join(stops)}.", hint="The remedies stand above."
        )


def _show(finding: Finding, console: Console) -> None:
    console.document({"type": "finding", **asdict(finding)})
    console.row((_MARKS[finding.state], Cell(finding.id, 20)), f"{finding.title}: {finding.measured}")
    if finding.state in _WRONG:
        for text in (finding.why, *finding.remedy.splitlines()):
            console.row((_INDENT,), text)


def _next(found: list[Finding], *, fix: bool) -> str:
    if fix or not any(finding.state in _WRONG for finding in found):
        return ""
    mends = sum(finding.fixable for finding in found)
    return f" `invoke doctor --fix` {f'mends {mends} of them and ' if mends else ''}prints the remedies as a script."
