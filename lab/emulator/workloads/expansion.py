"""``$(VAR)`` in commands, arguments and variables, as Kubernetes expands it (third_party/forked/golang/expansion)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value; an unknown name stays as written and ``$$`` is a literal ``$``.

    ``$$(NAME)`` therefore gives ``$(NAME)``; a lone ``$`` is left alone.
    """

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return _REFERENCE.sub(replacement, text)
