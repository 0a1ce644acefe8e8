"""Writing a file that a person named; replacing one in one step, with the mode, owner and attributes that it had."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

from lab.errors import UsageError

_NOT_REPLACEABLE = (errno.EBUSY, errno.EXDEV)


def write(path: Path, text: str) -> None:
    """Write a file that a person has named.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "LAB-FILE-01", f"{path} cannot be written.", evidence=str(error.strerror), hint="Name another file."
        ) from error


def replace(path: Path, data: bytes) -> None:
    """Give a file new contents: whoever reads it sees the old or the new ones. A new file is for its owner only."""
    swap(stage(path, data), path)


def stage(path: Path, data: bytes) -> Path:
    """Write the new contents beside the file, ready for `swap`; the file itself stays as it is.

    Raises:
        OSError: the file may not be written, or nothing can be made beside it.
    """
    path = path.resolve()
    if path.exists():
        with path.open("r+b"):
            pass  # asks for the permission to write, which a rename alone does not need
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    staged = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            _dress(staged, path)
    except BaseException:
        staged.unlink()
        raise
    return staged


def swap(staged: Path, path: Path) -> None:
    """Put what `stage` wrote into the file's place.

    A file that is a mount point of its own, as /etc/hosts in a container, cannot be replaced; it is overwritten.

    Raises:
        OSError: the file could not be replaced.
    """
    path = path.resolve()
    try:
        staged.replace(path)
    except OSError as error:
        if error.errno not in _NOT_REPLACEABLE:
            raise
        path.write_bytes(staged.read_bytes())
    finally:
        staged.unlink(missing_ok=True)


def _dress(staged: Path, path: Path) -> None:
    """Mode, extended attributes (SELinux) and owner of ``path``; the times are new.

    A Windows drive in WSL may refuse to set what it does not keep; what counts is that the mode is the same.
    """
    old = path.stat()
    with contextlib.suppress(PermissionError):
        shutil.copystat(path, staged)
        os.utime(staged)
    new = staged.stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with contextlib.suppress(PermissionError):  # a group that its owner is not in
            os.chown(staged, old.st_uid, old.st_gid)
            staged.chmod(stat.S_IMODE(old.st_mode))  # chown takes the set-id bits away
    if stat.S_IMODE(staged.stat().st_mode) != stat.S_IMODE(old.st_mode):
        raise PermissionError(errno.EPERM, "its mode cannot be kept", str(path))
