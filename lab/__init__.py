"""The lab: a complete GitOps classroom from one command, and the proof that it works."""

from __future__ import annotations

__version__ = "0.1.0"
