"""Durations as people write them in ``.gitlab-ci.yml``: ``1h 30m``, ``3 weeks``, ``2 hours and 5 minutes``."""

from __future__ import annotations

import re

_UNITS = {
    "second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "m": 60, "hour": 3600, "hr": 3600, "h": 3600,
    "day": 86400, "d": 86400, "week": 604800, "wk": 604800, "w": 604800,
    "month": 2592000, "mo": 2592000, "mth": 2592000,
    "year": 31557600, "yr": 31557600, "y": 31557600,
}  # fmt: skip


def seconds(text: object) -> int | None:
    """The length in seconds, or None when it is no duration. A bare number counts seconds."""
    if isinstance(text, bool):
        return None
    if isinstance(text, (int, float)):
        return int(text)
    total, rest = 0.0, str(text).strip().lower().replace(",", " ")
    if not rest or re.search(r"[^a-z0-9 .:]", rest):
        return None
    for number, unit in re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)", rest):
        factor = 1 if not unit else _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
        if factor is None:
            return None
        total += float(number) * factor
    return int(total) if re.search(r"\d", rest) else None
