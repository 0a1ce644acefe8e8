"""What is printed: progress, checklists, journeys, tables, errors; for people, or as JSON documents for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TextIO

from lab.console import steps
from lab.console.board import Board
from lab.console.documents import Documents, hide
from lab.console.layout import Cell
from lab.console.printer import Printer
from lab.errors import LabError
from lab.model import Check, Hop
from lab.plan import Event


class Console(Printer):
    """The words of the lab. Symbols always come with a word, so that nothing depends on colour or font."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        stream: TextIO | None = None,
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(as_json=as_json, stream=stream, secrets=secrets, environ=environ)
        self._lines, self._documents = steps.Lines(), Documents()

    def event(self, event: Event) -> None:
        """Progress of a plan, for `plan.run`."""
        if self.as_json:
            if document := self._documents.of(event):
                self.document(document)
        elif self._board:
            self._show(self._masked(event), self._board)
        else:
            for head, text in self._lines.rows(event):
                self.row(head, text)

    def checks(self, checks: Sequence[Check]) -> None:
        """The checklist of `verify`."""
        for check in checks:
            self.document({"type": "check", **asdict(check)})
            state = {True: "satisfied", False: "failed", None: "unknown"}[check.ok]
            self.row((steps.label(state, 9), Cell(check.id, 22)), check.evidence)
            if check.ok is not True and check.hint:
                self.row((Cell("", 9), Cell("", 22)), f"try: {check.hint}")

    def hop(self, hop: Hop) -> None:
        """One hop of the loop as it arrives."""
        self.document({"type": "hop", **asdict(hop)})
        self._note("")
        self.row((Cell(hop.id, 3, "bold"), Cell(f"{hop.seconds:7.2f} s", 10), Cell(hop.title, 39)), hop.evidence)

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and values in two columns."""
        rows = list(rows)
        width = max((len(name) for name, _ in rows), default=0) + 3
        for name, value in rows:
            self.row((Cell(f"  {name}", width),), value)

    def note(self, seen: str) -> None:
        """What a journey waits for right now; people see it in the live area only."""
        self.document({"type": "waiting", "seen": seen})
        self._note(seen)

    def diagnosis(self, code: str, text: str) -> None:
        """A known cause that keeps a journey waiting: code, problem and remedy in one line."""
        self.document({"type": "diagnosis", "code": code, "detail": text})
        self.row(*steps.cause(text))

    def ask(self, question: str) -> bool:
        """Ask a person; only ``y`` or ``yes`` count as yes."""
        self._out.stream.write(f"{question} [y/N] ")
        self._out.stream.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def error(self, error: LabError) -> None:
        """The end of a task that failed: problem, evidence, next action."""
        self._close()
        self.document(
            {
                "type": "error", "code": error.code, "problem": error.problem,
                "evidence": error.evidence, "hint": error.hint, "exit_code": error.exit_code,
            }
        )  # fmt: skip
        if self.as_json:
            return
        rows = [((Cell("✗ Error", 8, "red"),), f"{error.problem} [{error.code}]")]
        rows += [((Cell("", 3),), text) for text in error.evidence.splitlines()]
        rows += [((Cell("  →", 3),), text) for text in error.hint.splitlines()]
        self._complain("\n".join(self._rendered(head, text, self._errors) for head, text in rows))

    def trace(self, text: str) -> None:
        """Where a defect happened, for LAB_DEBUG=1; beside the error, never among what a program reads."""
        self._complain(text)

    def _show(self, event: Event, board: Board) -> None:
        """On a terminal only ends and remarks are lines; the rest is the area's."""
        board.event(event)
        if event.outcome:
            self.row(*steps.ended(event))
        elif event.kind not in ("started", "waiting", "progress"):
            self.row(*steps.cause(f"{event.step.title}: {event.detail}"))
        if event.kind != "progress":  # bytes come many times a second; they are drawn with the clocks
            self._changed()

    def _masked(self, event: Event) -> Event:
        outcome = event.outcome and replace(event.outcome, detail=hide(event.outcome.detail, self._secrets))
        return replace(event, detail=hide(event.detail, self._secrets), outcome=outcome)

    def _note(self, seen: str) -> None:
        if self._board:
            self._board.note(hide(seen, self._secrets))
            self._changed()
