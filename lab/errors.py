"""Everything that can end a task, with its exit code.

    LabError                 1   a step failed, with code, problem, evidence and hint
    ├── CheckFailed          1   verify found something wrong
    ├── UsageError           2   a flag, lab.yaml or a source repository is not as it must be
    ├── MachineError         3   this machine cannot run the lab (what `doctor` says)
    ├── TimedOut             4   a wait ended without the thing it waited for
    └── Interrupted        130   Ctrl-C

The same numbers are in design.md; `invoke` exits with them and nothing else.
"""

from __future__ import annotations


class LabError(Exception):
    """An error that a person can act on.

    Args:
        code: stable name such as ``LAB-PORT-01``; `explain` and the documentation refer to it.
        problem: one sentence: what is wrong.
        evidence: what was seen (last observation, end of a log); may have several lines.
        hint: the next thing to do, as a command where there is one.
    """

    exit_code = 1

    def __init__(self, code: str, problem: str, *, evidence: str = "", hint: str = "") -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem
        self.evidence = evidence
        self.hint = hint

    def __str__(self) -> str:
        parts = [f"{self.problem} [{self.code}]", self.evidence, self.hint]
        return "\n".join(part for part in parts if part)


def defect(error: Exception, during: str = "") -> LabError:
    """What a person is told when the lab itself is at fault; LAB_DEBUG=1 adds the traceback of ``error``."""
    what = f"{type(error).__name__}: {error}"
    hint = "This is a defect of the lab; the same with LAB_DEBUG=1 shows where."
    found = LabError("LAB-BUG-01", f"{during}: {what}" if during else what, hint=hint)
    found.__cause__ = error
    return found


class CheckFailed(LabError):
    """A check of `verify` failed, or a journey did not arrive."""


class UsageError(LabError):
    """What the person gave is not usable: a flag, a key of lab.yaml, a source repository."""

    exit_code = 2


class MachineError(LabError):
    """The machine lacks something that the lab cannot do without."""

    exit_code = 3


class TimedOut(LabError):
    """A wait reached its deadline; `evidence` holds the last observation."""

    exit_code = 4


class Interrupted(LabError):
    """The person pressed Ctrl-C, or another step's failure stopped this one."""

    exit_code = 130

    def __init__(self, problem: str = "Interrupted.", *, evidence: str = "", hint: str = "") -> None:
        super().__init__("LAB-STOP-01", problem, evidence=evidence, hint=hint)
