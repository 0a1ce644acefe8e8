"""Collects, masks and packs: the task `support`."""

from __future__ import annotations

import functools
import io
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lab import files
from lab.console import Console
from lab.errors import UsageError
from lab.masking import Mask
from lab.support import known, machine, systems
from lab.support.parts import Part, Texts, collect
from lab.support.subject import Subject

FILE_BYTES, ALL_BYTES = 1 << 20, 32 << 20
"""Of one file and of all of them, before they are packed; of a long text the end is kept."""
_SECRETS_SECONDS = 15.0
_README = """\
What the lab is, did and says about itself. Made by `invoke support`.

Secrets were masked. By value: those of .lab/secrets, of lab.yaml, of the environment, of the kubeconfig, of GitLab's
CI/CD variables and of Kubernetes' secrets; in base64 and URL-encoded too. By pattern: tokens, logins, private keys.
Names, addresses, commits and what your own programs print were not. Look at it before you send it.

"""


def support(subject: Subject, console: Console, *, file: str, stop: threading.Event) -> Path:
    """Write the archive and say what is in it.

    Args:
        subject: the lab, in whatever state it is.
        console: told what is in the archive.
        file: where to write; "" is beside lab.yaml, with a time in its name; a folder gets that name.
        stop: ends the collecting.

    Raises:
        UsageError: there is something already, or it cannot be written.
        Interrupted: ``stop`` was set.
    """
    path = _target(subject, file)
    console.note("asking every part of the lab, at most 45 s")
    secrets, missing = _secrets(subject, stop)
    texts = [*missing, *collect(_parts(subject), stop)]
    texts = _masked(texts, Mask(secrets))
    listed = "".join(f"{len(text.encode()):>9}  {name}\n" for name, text in texts)
    _pack(path, [("README.txt", _README + listed), *texts])
    _tell(console, path, texts)
    return path


def _target(subject: Subject, file: str) -> Path:
    name = f"lab-support-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz"
    path = Path(file) if file else subject.home / name
    path = path / name if path.is_dir() else path
    if path.exists():
        raise UsageError("LAB-SUP-01", f"{path} exists already.", hint="Name another file, or remove that one.")
    if not os.access(path.parent, os.W_OK):  # told before everything is collected
        raise _unwritable(path, "The folder does not exist, or is not yours to write.")
    return path


def _unwritable(path: Path, why: str) -> UsageError:
    return UsageError("LAB-SUP-02", f"{path} cannot be written.", evidence=why, hint="invoke support OTHER-FILE")


def _parts(subject: Subject) -> list[Part]:
    of = {
        "versions": machine.versions, "doctor": machine.examined, "settings": machine.settings,
        "journal": machine.journal, "lab": machine.memory, "checks": systems.checks, "logs": systems.logs,
        "docker": systems.containers, "gitlab": systems.gitlab, "cluster": systems.cluster,
        "argocd": systems.application,
    }  # fmt: skip
    return [Part(name, functools.partial(look, subject)) for name, look in of.items()]


def _secrets(subject: Subject, stop: threading.Event) -> tuple[list[str], list[tuple[str, str]]]:
    """Every value to mask; and why some could not be asked for, as files of the archive."""
    asked = [
        Part(name, functools.partial(_values, ask, subject))
        for name, ask in (("gitlab", known.gitlab), ("kubernetes", known.kubernetes))
    ]
    found = collect(asked, stop, seconds=_SECRETS_SECONDS)
    missing = [(f"secrets/{name}", text) for name, text in found if name.endswith("/ERROR.txt")]
    return [*known.local(subject), *(text for name, text in found if name.endswith("/"))], missing


def _values(ask: Callable[[Subject], Iterator[str]], subject: Subject) -> Texts:
    return (("", value) for value in ask(subject))


def _masked(texts: Sequence[tuple[str, str]], mask: Mask) -> list[tuple[str, str]]:
    """Masked first and cut then: half a secret is no longer recognised."""
    room, done = ALL_BYTES, []
    for name, text in texts:
        kept = _end(mask(_end(text, 4 * FILE_BYTES)), min(FILE_BYTES, max(room, 0)))
        room -= len(kept)
        done.append((mask(name), kept))
    return done


def _end(text: str, most: int) -> str:
    """The last lines that fit; a line that is cut begins with the next one."""
    if len(text) <= most:
        return text
    kept = text[len(text) - most :].partition("\n")[2]
    return f"[{len(text) - len(kept)} characters before this were left out]\n{kept}"


def _pack(path: Path, texts: Sequence[tuple[str, str]]) -> None:
    """Whole or not at all, and for its owner only."""
    folder, now, packed = path.name.removesuffix(".tar.gz"), int(time.time()), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in texts:
            data, entry = text.encode(errors="replace"), tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, now
            archive.addfile(entry, io.BytesIO(data))
    try:
        files.replace(path, packed.getvalue())
    except OSError as error:
        raise _unwritable(path, str(error.strerror or error)) from error


def _tell(console: Console, path: Path, texts: Sequence[tuple[str, str]]) -> None:
    rows = [(part, _about(part, texts)) for part in dict.fromkeys(name.partition("/")[0] for name, _ in texts)]
    console.table(rows)
    console.document({"type": "support", "file": str(path), "files": [name for name, _ in texts], "parts": dict(rows)})
    console.line(f"\nWritten: {path} ({path.stat().st_size // 1024 + 1} KiB, readable by you only).")
    console.line("Secrets are masked, names and your own log lines are not. Look at it before you send it:")
    console.line(f"  tar -xzf {path}")


def _about(part: str, texts: Sequence[tuple[str, str]]) -> str:
    """How many files a part has, and the first reason why there are no more."""
    mine = {name: text for name, text in texts if name.startswith(f"{part}/")}
    errors = [" ".join(mine.pop(name).split())[:100] for name in list(mine) if name.endswith("/ERROR.txt")]
    return "; ".join([f"{len(mine)} file{'s' if len(mine) != 1 else ''}", *errors[:1]])
