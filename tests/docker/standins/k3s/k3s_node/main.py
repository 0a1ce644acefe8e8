"""``k3s server`` and ``k3s agent``: flags in, exit code out."""

from __future__ import annotations

import asyncio

from k3s_node import agent, arguments, server
from k3s_node.speech import say


def main(role: str, given: list[str]) -> int:
    """Run the role until SIGTERM; returns the exit code."""
    found = arguments.parse(role, given)
    try:
        asyncio.run(agent.run(found) if role == "agent" else server.run(found))
    except (OSError, ValueError) as error:
        say(str(error), "fatal")
        return 1
    return 0
