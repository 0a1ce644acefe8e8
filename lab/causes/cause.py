"""What is known about one cause, and what was seen of it; data without I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lab.errors import CheckFailed, LabError, MachineError

KINDS = {
    "gitlab": "log of the GitLab container",
    "runner": "log of gitlab-runner",
    "argocd": "log of argocd-server",
    "node": "log of a k3s node (k3s, kubelet, containerd)",
    "docker": "answer, output or log of Docker, also inside a job",
    "k3d": "output of k3d",
    "trace": "log of a CI job",
    "git": "output of git",
    "pod": "why a container waits or has ended: reason and message",
    "event": "a Kubernetes event: reason and message",
    "application": "a condition or the last operation's message of an Argo CD Application",
    "hook": "a webhook's delivery: status and body, or the hook's own state",
    "http": "an HTTP answer: status and body",
    "machine": "what this machine's tools or the doctor say",
    "observation": "what the lab itself has seen, in its words",
    "text": "any of these, of unknown origin: the text of an error",
}
"""Where a text comes from. A sign that would be too broad elsewhere counts in its own kinds only."""


_SHOWN, _BEFORE = 240, 100
"""How much of a long line is shown, and of that before what told."""


@dataclass(frozen=True)
class Words:
    """One text in English and in Chinese."""

    en: str
    zh: str

    def of(self, language: str) -> str:
        """The text in ``zh``, or else in English."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True)
class Sign:
    """A pattern that shows a cause in texts of some kinds."""

    kinds: frozenset[str]
    pattern: re.Pattern[str]
    strict: bool = False
    """Whether it must not be looked for in text of unknown origin, where it could mean something else."""

    def seen(self, kind: str, text: str) -> str | None:
        """The line that shows it, or of a long line the part that does; None where nothing shows it."""
        if kind not in self.kinds and (kind != "text" or self.strict):
            return None
        found = self.pattern.search(text)
        if found is None:
            return None
        start = text.rfind("\n", 0, found.start()) + 1
        end = text.find("\n", found.end())
        end = end if end >= 0 else len(text)
        if end - start <= _SHOWN:
            return text[start:end].strip()
        first = max(start, found.start() - _BEFORE)
        return ("…" if first > start else "") + text[first : min(end, first + _SHOWN)].strip()


@dataclass(frozen=True)
class Cause:
    """One entry of the table."""

    code: str
    """Stable, such as ``LAB-REG-01``; several usage errors may share one entry."""
    title: Words
    """The problem in one sentence."""
    cause: Words
    look: Words
    """Which evidence to look for, with the commands that show it."""
    remedy: Words
    """What mends it; the first line stands alone in a wait and in an error, lines with ``$ `` are commands."""
    signs: tuple[Sign, ...] = ()
    heals: bool = True
    """Whether it may go away by itself or by what the lab is doing; a wait ends at once where it cannot."""
    machine: bool = False
    """Whether the machine is at fault (exit code 3)."""
    normal: bool = False
    """Whether it is no problem at all, although it looks like one."""
    vague: bool = False
    """Whether it says little: only reported where nothing more precise was seen."""
    see: tuple[str, ...] = ()
    """Related codes, checks of `doctor` and checks of `verify`."""

    def seen(self, kind: str, text: str) -> str | None:
        """The line that shows this cause, or None."""
        return next((line for line in (sign.seen(kind, text) for sign in self.signs) if line is not None), None)


@dataclass(frozen=True)
class Evidence:
    """A text to be looked at."""

    kind: str
    """One of `KINDS`."""
    text: str
    where: str = ""
    """What it is the text of, for people: ``pod hichat-1``."""
    final: bool = True
    """Whether it is the last word: what a job says that still runs, it may get over."""


@dataclass(frozen=True)
class Diagnosis:
    """A cause that was recognised."""

    cause: Cause
    line: str
    """The line that showed it, or the part of it that did."""
    where: str = ""
    final: bool = True

    @property
    def code(self) -> str:
        """The cause's code."""
        return self.cause.code

    @property
    def hopeless(self) -> bool:
        """Whether waiting longer cannot help."""
        return self.final and not self.cause.heals

    @property
    def evidence(self) -> str:
        """Where it was seen, and the line."""
        return f"{self.where}: {self.line}" if self.where else self.line

    @property
    def remedy(self) -> str:
        """The first line of the remedy, and where the rest is."""
        return f"{self.cause.remedy.en.splitlines()[0]} (invoke explain {self.code})"

    @property
    def text(self) -> str:
        """Code, problem and remedy in one line."""
        return f"{self.code}: {self.cause.title.en} → {self.remedy}"

    def error(self, problem: str) -> LabError:
        """The error that ends a wait which this cause has made hopeless.

        Args:
            problem: what was waited for, as a sentence.
        """
        kind = MachineError if self.cause.machine else CheckFailed
        title = self.cause.title.en
        return kind(self.code, title, evidence=f"{self.evidence}\n{problem}", hint=self.remedy)


Gather = Callable[[], Iterable[Evidence]]
"""Collects what there is to look at, read-only; may be slow or raise, but should bound its own requests."""
