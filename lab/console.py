"""The only printer: progress, tables, timelines, errors; for people or, one JSON document per line, for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from lab.errors import LabError
from lab.model import Check, Hop
from lab.plan import Event, Outcome, Step

_MARKS = {
    "satisfied": ("✓", "ok", "green"),
    "done": ("✓", "done", "green"),
    "needed": ("+", "needed", "yellow"),
    "unknown": ("?", "unknown", "yellow"),
    "failed": ("✗", "failed", "red"),
    "skipped": ("-", "skipped", "yellow"),
    "stopped": ("-", "stopped", "yellow"),
}
_COLOURS = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}
_QUIET = 2.0


class Console:
    """Prints to one stream; with ``as_json`` it prints nothing but JSON documents, one per line.

    Symbols always come with a word, so that nothing depends on colour or font.
    """

    def __init__(self, *, as_json: bool = False, stream: TextIO | None = None, secrets: Iterable[str] = ()) -> None:
        self.as_json = as_json
        self._stream = stream or sys.stdout
        # What a shell evaluates or a pipe reads must not be an error's text.
        self._errors = stream or sys.stderr
        self._colour = self._stream.isatty()
        self._secrets = list(secrets)
        self._said: dict[str, tuple[float, str]] = {}

    def mask(self, secrets: Iterable[str]) -> None:
        """Never show these values from now on."""
        self._secrets += [secret for secret in secrets if secret]

    def line(self, text: str = "") -> None:
        """One line for people; nothing in JSON mode."""
        if not self.as_json:
            self._write(text)

    def raw(self, text: str) -> None:
        """Text that is the product itself (an export line, a log), unmasked and in every mode."""
        self._stream.write(text if text.endswith("\n") else text + "\n")
        self._stream.flush()

    def document(self, value: Mapping[str, Any]) -> None:
        """One JSON document; nothing for people."""
        if self.as_json:
            self._write(json.dumps(value, ensure_ascii=False))

    def paint(self, text: str, colour: str) -> str:
        """``text`` in a colour (green, yellow, red, bold, dim) on a terminal, else unchanged."""
        return f"\033[{_COLOURS[colour]}m{text}\033[0m" if self._colour else text

    def event(self, event: Event) -> None:
        """Progress of a plan, for `plan.run`."""
        self.document(_event_document(event))
        if event.outcome:
            self._outcome(event.step, event.outcome)
        elif event.kind == "waiting":
            self._waiting(event.step, event.detail)
        elif event.kind == "diagnosis":
            self.line(f"{self.paint('! cause', 'yellow')}                {event.step.title}: {event.detail}")

    def checks(self, checks: Sequence[Check]) -> None:
        """The checklist of `verify`."""
        for check in checks:
            self.document({"type": "check", **asdict(check)})
            mark, word, colour = _MARKS[{True: "satisfied", False: "failed", None: "unknown"}[check.ok]]
            self.line(f"{self.paint(f'{mark} {word:<7}', colour)} {check.id:<22} {check.evidence}")
            if check.ok is not True and check.hint:
                self.line(f"{'':10}{'':22} {self.paint('try: ' + check.hint, 'dim')}")

    def hop(self, hop: Hop) -> None:
        """One hop of the loop as it arrives."""
        self.document({"type": "hop", **asdict(hop)})
        self.line(f"{self.paint(hop.id, 'bold')}  {hop.seconds:7.2f} s  {hop.title:<34} {hop.evidence}")

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and values in two columns."""
        rows = list(rows)
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            self.line(f"  {name:<{width}}  {value}")

    def note(self, seen: str) -> None:
        """What a journey waits for right now; for people on a terminal only."""
        self.document({"type": "waiting", "seen": seen})
        if self._colour:
            self.line(self.paint(f"            … {seen}", "dim"))

    def diagnosis(self, code: str, text: str) -> None:
        """A known cause that keeps a journey waiting: code, problem and remedy in one line."""
        self.document({"type": "diagnosis", "code": code, "detail": text})
        self.line(f"{self.paint('! cause', 'yellow')}     {text}")

    def ask(self, question: str) -> bool:
        """Ask a person; only ``y`` or ``yes`` count as yes."""
        self._stream.write(f"{question} [y/N] ")
        self._stream.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def error(self, error: LabError) -> None:
        """The end of a task that failed: problem, evidence, next action."""
        self.document(
            {
                "type": "error", "code": error.code, "problem": error.problem,
                "evidence": error.evidence, "hint": error.hint, "exit_code": error.exit_code,
            }
        )  # fmt: skip
        if self.as_json:
            return
        lines = [f"{self.paint('✗ Error', 'red')}  {error.problem} [{error.code}]"]
        lines += [f"    {text}" for text in error.evidence.splitlines()]
        lines += [f"  → {text}" for text in error.hint.splitlines()]
        self._write("\n".join(lines), self._errors)

    def trace(self, text: str) -> None:
        """Where a defect happened, for LAB_DEBUG=1; beside the error, never among what a program reads."""
        self._write(text, self._errors)

    def _outcome(self, step: Step, outcome: Outcome) -> None:
        mark, word, colour = _MARKS[outcome.state]
        label = self.paint(f"{mark} {word:<9}", colour)
        self.line(f"{label} {outcome.seconds:6.2f} s  {step.title:<44} {self.paint(outcome.detail, 'dim')}".rstrip())

    def _waiting(self, step: Step, detail: str) -> None:
        """What a step waits for, when it changes, and not more often than every two seconds."""
        now = time.monotonic()
        last, said = self._said.get(step.name, (now, ""))
        self._said.setdefault(step.name, (now, ""))
        if detail != said and now - last >= _QUIET:
            self._said[step.name] = (now, detail)
            self.line(f"{self.paint('… waiting', 'yellow')}              {step.title}: {detail}")

    def _write(self, text: str, stream: TextIO | None = None) -> None:
        for secret in self._secrets:
            text = text.replace(secret, "[masked]")
        stream = stream or self._stream
        stream.write(text + "\n")
        stream.flush()


def _event_document(event: Event) -> dict[str, Any]:
    document: dict[str, Any] = {"type": "step", "step": event.step.name, "event": event.kind, "detail": event.detail}
    if event.kind == "progress":
        document |= {"done": event.done, "total": event.total}
    if event.outcome:
        document |= {"state": event.outcome.state, "seconds": round(event.outcome.seconds, 3)}
        if event.outcome.error:
            document["error"] = event.outcome.error.code
    return document
