"""Which names git allows for branches and tags (git-check-ref-format)."""

from __future__ import annotations

import re

_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|\.$|/$|^/|^@$|^-")


def valid(name: str) -> bool:
    """Whether ``name`` may name a branch or tag; ``HEAD`` and full ref names are refused, as GitLab does."""
    return bool(name) and _BAD.search(name) is None and name != "HEAD" and not name.startswith("refs/")
