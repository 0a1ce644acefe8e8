"""Texts held against the table."""

from __future__ import annotations

from collections.abc import Iterable

from lab.causes.cause import KINDS, Cause, Diagnosis, Evidence
from lab.causes.table import every, find
from lab.errors import Interrupted, LabError, UsageError

_TAIL = 64 * 1024
"""How much of a text is looked at, from its end: a log tells its news there."""
_PULLS = "LAB-IMAGE-"
"""Codes of images that the lab pulls itself: a registry's words mean something else there than in a pipeline or pod."""


def recognise(kind: str, text: str) -> list[Cause]:
    """The causes that a text shows, those that cannot heal first.

    Args:
        kind: one of `KINDS`.
        text: one or more lines.

    Raises:
        ValueError: there is no such kind.
    """
    return [found.cause for found in diagnose([Evidence(kind, text)])]


def diagnose(evidence: Iterable[Evidence]) -> list[Diagnosis]:
    """The causes that several texts show together, each once, those that cannot heal first.

    A vague cause is left out where a more precise one was seen.

    Raises:
        ValueError: a text's kind is none of `KINDS`.
    """
    found: dict[str, Diagnosis] = {}
    for item in evidence:
        if item.kind not in KINDS:
            raise ValueError(f"{item.kind!r} is no kind of evidence; there are {', '.join(KINDS)}")
        for cause in every():
            line = cause.seen(item.kind, item.text[-_TAIL:]) if cause.code not in found else None
            if line is not None:
                found[cause.code] = Diagnosis(cause, line, item.where, item.final)
    precise = [item for item in found.values() if not (item.cause.vague or item.cause.normal)]
    kept = [item for item in found.values() if not (precise and item.cause.vague)]
    return sorted(kept, key=lambda item: item.cause.heals)


def problems(evidence: Iterable[Evidence]) -> list[Diagnosis]:
    """`diagnose` without what is normal."""
    return [found for found in diagnose(evidence) if not found.cause.normal]


def with_remedy(error: LabError) -> LabError:
    """``error``, its next action completed with the remedies of the causes that its text shows, and where to read on.

    What it says already is not repeated. Changes the error itself, so that its traceback stays.
    """
    said = str(error)
    seen = () if error.code.startswith(_PULLS) else problems([Evidence("text", said)])
    known = [found.text for found in seen if found.code not in said]
    if not known and "invoke explain" not in said and not isinstance(error, (UsageError, Interrupted)):
        known = [f"invoke explain {error.code}"] if find(error.code) else []
    error.hint = "\n".join(line for line in (error.hint, *known) if line)
    return error
