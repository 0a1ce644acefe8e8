"""The folder .lab/: what cannot be asked for again. Written atomically, 0600, one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import UsageError

_README = "Made by the lab. Everything in here can be removed with `invoke down --purge`.\n"


class State:
    """The lab's own memory below one folder (mode 0700).

    Args:
        folder: where it lies; made when first written to.
        learned: told each secret when it is kept, so that it can be masked from then on.
    """

    def __init__(self, folder: Path, learned: Callable[[str], None] = lambda _secret: None) -> None:
        self.folder = folder
        self._learned = learned

    def path(self, name: str) -> Path:
        """Where a file of the lab lies; its folder is made when needed."""
        self._make()
        return self.folder / name

    def secret(self, name: str) -> str | None:
        """A secret's value, or None."""
        return self._read(f"secrets/{name}")

    def put_secret(self, name: str, value: str) -> None:
        """Keep a secret. Call it before the secret is put to use, so that a kill in between loses nothing."""
        self._learned(value)
        self._write(f"secrets/{name}", value)

    def drop_secret(self, name: str) -> None:
        """Forget a secret; nothing happens when there is none."""
        (self.folder / "secrets" / name).unlink(missing_ok=True)

    def secrets(self) -> list[str]:
        """The values of all secrets, for masking."""
        found = []
        for path in (self.folder / "secrets").glob("*"):
            with contextlib.suppress(OSError):  # removed meanwhile, or no file of ours
                found.append(path.read_bytes().decode(errors="replace"))
        return found

    def fact(self, name: str) -> dict[str, Any] | None:
        """A JSON document noted earlier (the engine chosen, for example), or None.

        A file that somebody damaged counts as absent: the steps' probes then find out what it said.
        """
        with contextlib.suppress(ValueError):
            value = json.loads(self._read(f"{name}.json") or "null")
            return value if isinstance(value, dict) else None
        return None

    def put_fact(self, name: str, value: Mapping[str, Any] | None) -> None:
        """Note a JSON document; None forgets it."""
        self._write(f"{name}.json", json.dumps(value, indent=2) + "\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lab for this process; the kernel releases it when the process dies.

        Raises:
            UsageError: another task that changes the lab is running.
        """
        self._make()
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise UsageError(
                    "LAB-LOCK-01", "Another task is changing this lab right now.",
                    evidence=f"process {owner}", hint="Wait until it has ended, or stop it with Ctrl-C.",
                ) from None  # fmt: skip
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.folder)

    def _make(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "README").write_text(_README)

    def _read(self, name: str) -> str | None:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / name).read_text()
        return None

    def _write(self, name: str, text: str) -> None:
        self._make()
        path = self.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")  # mkstemp makes it 0600
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
