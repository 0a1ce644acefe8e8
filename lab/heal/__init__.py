"""`heal`: `up` with a report of what was broken, what mended it, and what the checks say afterwards.

since      what has happened to this machine and the lab since the last run
healing    look, act, verify, tell
table      before and after
"""

from __future__ import annotations

from lab.heal.healing import Healing
from lab.heal.since import since

__all__ = ["Healing", "since"]
