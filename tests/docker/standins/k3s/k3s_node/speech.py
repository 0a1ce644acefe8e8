"""Lines as k3s writes them; k3d waits for some of them."""

from __future__ import annotations

import datetime as dt
import json
import sys


def say(text: str, level: str = "info") -> None:
    """Write one line in logrus' form to standard error."""
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(f'time="{now}" level={level} msg={json.dumps(text)}', file=sys.stderr, flush=True)
