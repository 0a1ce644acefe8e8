"""Known causes: what a text of one of the systems means, whether waiting can help, and what mends it.

The table is data, one entry per cause in `table/*.yaml`; `invoke explain CODE` prints an entry. Three ways to use it:

recognise   the causes that a text shows:
            ``recognise("gitlab", tail_of_the_container_log)`` -> ``[Cause(code="LAB-BOOT-01", heals=False, ...)]``
diagnose    the same for several texts at once, with the line that told
waits       ``context.wait(..., diagnose=lambda: [Evidence("gitlab", tail()), Evidence("docker", state())])``: the wait
            asks now and then while it is pending, on a thread of its own and never failing by it; a cause is shown as
            soon as it is seen (`plan.Event` of kind ``diagnosis``), ends the wait at once when it cannot heal, and
            stands in the evidence of a time-out otherwise

The evidence of a wait must be of now: the log since the step began and not what an earlier start has left in it. A text
that may be overtaken (a job that runs) is not ``final`` and never ends a wait. `lab.symptoms` collects evidence from
GitLab, Argo CD and Kubernetes; an engine knows the logs of its own parts.
"""

from lab.causes.cause import KINDS, Cause, Diagnosis, Evidence, Gather, Words
from lab.causes.recognition import diagnose, recognise, with_remedy
from lab.causes.table import every, find

__all__ = [
    "KINDS",
    "Cause",
    "Diagnosis",
    "Evidence",
    "Gather",
    "Words",
    "diagnose",
    "every",
    "find",
    "recognise",
    "with_remedy",
]
