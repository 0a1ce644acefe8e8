"""``python -m lab.emulator.docker``: the ``docker`` command."""

from __future__ import annotations

from lab.emulator.docker.cli import main

if __name__ == "__main__":
    main()
