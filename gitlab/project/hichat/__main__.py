"""`python -m hichat`: serve until told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from hichat.settings import from_environment
from hichat.web import Server


def main() -> int:
    """Serve; returns the exit code."""
    try:
        settings = from_environment(os.environ)
        server = Server(settings)
    except (ValueError, OSError, OverflowError) as error:
        print(f"HiChat cannot start: {error}", file=sys.stderr)
        return 1

    def stop(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=drain, daemon=True).start()

    def drain() -> None:
        print("HiChat is stopping: it serves what still comes, then ends", flush=True)
        time.sleep(settings.drain)
        server.shutdown()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"HiChat {settings.commit[:8]} listens on port {server.server_port}", flush=True)
    with server:  # closing waits for the requests that still run
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
