"""``python -m lab.emulator CONFIG``: run the emulator in the foreground; ``--sweep`` ends what a killed one left.

Exit codes: 0 stopped as asked · 1 a port is taken or another emulator owns the data · 2 usage.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from lab.emulator.config import Config
from lab.emulator.process import AlreadyRunningError, owned, serve, sweep


def main() -> int:
    """Parse the arguments and run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.emulator", description=__doc__)
    parser.add_argument("config", type=Path, help="JSON file written by Config.write")
    parser.add_argument("--sweep", action="store_true", help="only end left-over processes")
    parser.add_argument("--lock-fd", type=int, help="descriptor of the data's lock file, held by the caller")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = Config.read(arguments.config)
        with owned(config.data, arguments.lock_fd):
            sweep(config.data)
            if not arguments.sweep:
                asyncio.run(serve(config))
    except AlreadyRunningError as error:
        print(f"another emulator owns {error}", file=sys.stderr)  # noqa: T201 - a program of its own
        return 1
    except (OSError, ValueError) as error:
        logging.getLogger("lab.emulator").error("%s", error)  # noqa: TRY400 - the text says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
