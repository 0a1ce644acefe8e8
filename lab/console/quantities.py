"""Sizes, speeds and times as people say them."""

from __future__ import annotations

from collections import deque

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_WINDOW = 10.0
"""Seconds over which a speed is measured: long enough to be calm, short enough to notice a slow network."""


def clock(seconds: float) -> str:
    """A time that runs: ``42 s``, ``10:12``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def about(seconds: float) -> str:
    """A time that is only guessed: ``20 s``, ``3 min``, ``2 h``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"


def size(count: float) -> str:
    """Bytes, in units of thousand as registries count them: ``512 bytes``, ``1.2 GB``."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit and value < 9.95 else f"{value:.0f} {_UNITS[unit]}"


def _of(done: int, total: int) -> str:
    """``1.2 of 2.6 GB``: a unit that both have is said once."""
    (first, unit), whole = size(done).split(" "), size(total)
    return f"{first} of {whole}" if whole.endswith(f" {unit}") else f"{first} {unit} of {whole}"


class Transfer:
    """What comes over a network: how much is there, how fast it comes, how long the rest takes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._total = 0

    def update(self, done: int, total: int, now: float) -> None:
        """``done`` of ``total`` bytes are there at ``now`` (seconds); a total of 0 is not known yet."""
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()  # it began again
        self._samples.append((now, done))
        self._total = total
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()

    def describe(self, now: float) -> str:
        """``45 %, 1.2 of 2.6 GB, 12 MB/s, 2 min left``; without what is not known."""
        done = self._samples[-1][1] if self._samples else 0
        speed = self._speed(now)
        parts = [size(done)]
        if self._total:
            parts = [f"{min(100, done * 100 // self._total)} %", _of(done, self._total)]
        if speed:
            parts.append(f"{size(speed)}/s")
            if done < self._total:
                parts.append(f"{about((self._total - done) / speed)} left")
        return ", ".join(parts)

    def _speed(self, now: float) -> float:
        """Bytes per second since the first sample; falls towards 0 while nothing comes."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (_, last) = self._samples[0], self._samples[-1]
        return (last - first) / max(now - began, 0.001)
