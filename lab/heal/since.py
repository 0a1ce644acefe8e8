"""What has happened since the last run: the usual reasons for which a lab that was healthy does not answer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from lab.journal import Run, boot, runs

_PAUSES = ("stop", "down")
_WSL = (
    "WSL ends a distribution soon after its last terminal is closed, with everything that runs in it. "
    "Keep one open, or set instanceIdleTimeout=-1 under [general] in %UserProfile%\\.wslconfig."
)


def since(folder: Path, *, inside_wsl: bool, now: str | None = None) -> str:
    """Why what the last run left running may have ended; "" when nothing is known.

    Args:
        folder: `.lab/`.
        inside_wsl: whether this Linux runs inside Windows.
        now: this start of the machine, as `journal.boot` says it.
    """
    last = next(runs(folder), None)
    if last is None:
        return ""
    now = boot() if now is None else now
    when = f"{datetime.fromtimestamp(last.began).astimezone():%Y-%m-%d %H:%M:%S}"
    if last.task in _PAUSES and last.outcome == "done":
        return f"`invoke {last.task}` ended it at {when}."
    if now and last.boot and now != last.boot:
        return _restarted(last, now, when, inside_wsl=inside_wsl)
    return (
        f"Since the last run, `{last.task}` at {when}, nobody has stopped the lab and this machine was not restarted."
    )


def _restarted(last: Run, now: str, when: str, *, inside_wsl: bool) -> str:
    if not inside_wsl:
        return f"This machine was started anew since the last run, `{last.task}` at {when}."
    same_kernel = now.partition("/")[0] == last.boot.partition("/")[0]
    what = "This WSL distribution was stopped" if same_kernel else "WSL was stopped as a whole, or Windows restarted,"
    return f"{what} since the last run, `{last.task}` at {when}. {_WSL}"
