"""Test coverage that a job prints: the ``coverage`` keyword."""

from __future__ import annotations

import re


def found(trace: bytes, expression: str | None) -> float | None:
    """The number in the last line of ``trace`` that the expression (``/.../``) matches, or None.

    Source: GitLab lib/gitlab/ci/trace/stream.rb, extract_coverage: of a match with a group, the group counts.
    """
    if not expression:
        return None
    try:
        pattern = re.compile(expression.strip().strip("/"))
    except re.error:
        return None
    for line in reversed(trace.decode(errors="replace").splitlines()):
        if match := pattern.search(line):
            text = next((group for group in match.groups() if group), match[0])
            if number := re.search(r"\d+(?:\.\d+)?", text):
                return float(number[0])
    return None
