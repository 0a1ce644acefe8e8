"""An archive for somebody who helps from afar: what the lab is, did and says, without its secrets.

known      the values that must not be in it
machine    this machine, the settings, the journal
systems    GitLab, Kubernetes, Argo CD, the engine
parts      collecting them: side by side, each bounded in time and size, failures told instead of raised
archive    masked and packed
"""

from __future__ import annotations

from lab.support.archive import support
from lab.support.subject import Subject

__all__ = ["Subject", "support"]
