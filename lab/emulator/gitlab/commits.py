"""Commits as ``git log`` prints them and as the API shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

FORMAT = "%H%x00%P%x00%an%x00%ae%x00%ad%x00%cn%x00%ce%x00%cd%x00%(trailers:only,unfold)%x00%B"
"""Pretty format for ``git log -z --date=raw``; `parse` reads its output."""
_FIELDS = 10


@dataclass(frozen=True)
class Commit:
    """One commit; dates in git's raw form (``1700000000 +0100``)."""

    id: str
    parents: list[str]
    author: tuple[str, str, str]
    committer: tuple[str, str, str]
    trailers: str
    message: str

    @property
    def title(self) -> str:
        """The first line."""
        return self.message.strip().partition("\n")[0]

    def shown(self, web_url: str) -> dict[str, Any]:
        """The API form; ``web_url`` is the project's."""
        trailers = [line.partition(": ")[::2] for line in self.trailers.splitlines() if ": " in line]
        extended: dict[str, list[str]] = {}
        for key, value in trailers:
            extended.setdefault(key, []).append(value)
        return {
            "id": self.id,
            "short_id": self.id[:8],
            "created_at": date(self.committer[2]),
            "parent_ids": self.parents,
            "title": self.title,
            "message": self.message,
            "author_name": self.author[0],
            "author_email": self.author[1],
            "authored_date": date(self.author[2]),
            "committer_name": self.committer[0],
            "committer_email": self.committer[1],
            "committed_date": date(self.committer[2]),
            "trailers": dict(trailers),
            "extended_trailers": extended,
            "web_url": f"{web_url}/-/commit/{self.id}",
        }


def parse(output: bytes) -> list[Commit]:
    """The commits in the output of ``git log -z`` with `FORMAT`."""
    fields = output.decode(errors="replace").split("\0")
    found = []
    for start in range(0, len(fields) - _FIELDS + 1, _FIELDS):
        sha, parents, an, ae, ad, cn, ce, cd, trailers, message = fields[start : start + _FIELDS]
        found.append(Commit(sha.strip(), parents.split(), (an, ae, ad), (cn, ce, cd), trailers, message))
    return found


def date(raw: str) -> str:
    """``2026-11-21T04:22:01.000+00:00`` from git's raw date, in the zone that the commit names."""
    seconds, _, offset = raw.partition(" ")
    sign = -1 if offset.startswith("-") else 1
    zone = timezone(sign * timedelta(hours=int(offset[1:3] or 0), minutes=int(offset[3:5] or 0)))
    return datetime.fromtimestamp(int(seconds or 0), zone).isoformat(timespec="milliseconds")
