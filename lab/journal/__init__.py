"""The journal: what each run of a task that changes the lab did and when, one JSON document per line in .lab/journal/.

    run       task, versions, engine, a digest of the settings, this start of the machine
    plan      the steps with what they need, and how many may run at once
    step      a step started, waits for something, makes progress, or has ended
    hop       a hop of `smoke` or `follow` has come
    note      what a task without steps says
    end       how the run ended

``at`` is seconds since the run began by the monotonic clock, ``wall`` seconds since 1970. Lines are written as things
happen, so that a run that was killed leaves what it had come to. A journal that cannot be written is given up silently:
the run itself matters more.
"""

from __future__ import annotations

from lab.journal.reading import Run, Span, runs
from lab.journal.writing import Journal, Secrets, boot, recording

__all__ = ["Journal", "Run", "Secrets", "Span", "boot", "recording", "runs"]
