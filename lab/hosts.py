"""The lab's names in the hosts files of Linux and Windows, in one marked block; nothing outside it is touched.

Names are a comfort for browsers: nothing in `up` depends on them. WSL writes its own /etc/hosts anew from Windows' file
at every start (contracts H.6), so Windows' file comes first there. Text is bytes: a hosts file may be in any encoding.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import files, wsl
from lab.errors import LabError, MachineError, UsageError

ADDRESS = "127.0.0.1"
BEGIN = b"# BEGIN gitops-lab"
END = b"# END gitops-lab"
NOT_NEEDED = f"The embedded engine answers on {ADDRESS} under no other name: no line in a hosts file is needed."
LINUX = Path("/etc/hosts")
WINDOWS = wsl.SYSTEM / "drivers/etc/hosts"
WINDOWS_NAME = r"C:\Windows\System32\drivers\etc\hosts"
_KEPT = ("LAB_HOME", "LAB_ENGINE", "LAB_DOMAIN")


@dataclass(frozen=True)
class HostsFile:
    """One hosts file that counts on this machine."""

    path: Path
    eol: bytes = b"\n"
    """How its lines end when it has none yet."""


@dataclass(frozen=True)
class Finding:
    """What a hosts file says about the lab's names."""

    missing: tuple[str, ...]
    conflicts: tuple[str, ...]
    """``PATH:LINE: TEXT`` of each line outside the block that gives one of the names another address."""
    elsewhere: tuple[str, ...]
    """The names that a line outside the block gives, rightly."""


def names(domain: str) -> tuple[str, ...]:
    """The names of GitLab (and its registry), Argo CD and the application."""
    return tuple(f"{name}.{domain}" for name in ("gitlab", "argocd", "app"))


def lines(wanted: Sequence[str]) -> list[str]:
    """The lines that a hosts file needs; the same for Linux and Windows."""
    return [f"{ADDRESS} {name}" for name in wanted]


def find(*, inside_wsl: bool, linux: Path = LINUX, windows: Path = WINDOWS) -> tuple[HostsFile, ...]:
    """The hosts files that count here; on WSL Windows' file is the first."""
    own = HostsFile(linux)
    return (HostsFile(windows, b"\r\n"), own) if inside_wsl else (own,)


def describe(wanted: Sequence[str], found: Sequence[HostsFile]) -> Iterator[str]:
    """The lines, and for each file of this machine what it lacks; for people."""
    for system, place in (("Linux", str(LINUX)), ("Windows", f"{WINDOWS_NAME}   (as administrator)")):
        yield f"{system}: {place}"
        yield from (f"    {line}" for line in lines(wanted))
    for file in found:
        finding = inspect(file, wanted)
        yield f"{file.path}: " + (f"missing {', '.join(finding.missing)}" if finding.missing else "has every name")
        yield from (f"{conflict}   (another address: change or remove this line)" for conflict in finding.conflicts)


def inspect(file: HostsFile, wanted: Sequence[str]) -> Finding:
    """Look at one hosts file.

    Raises:
        MachineError: there is no such file, or it cannot be read.
        UsageError: the block's markers are damaged.
    """
    before, block, after = _split(_read(file.path), file.path)
    outside = [*_entries(before, 1), *_entries(after, len((before + block).splitlines()))]
    given = {name for _, address, given, _ in outside for name in given if address == ADDRESS}
    inside = {name for _, address, given, _ in _entries(block, 1) for name in given if address == ADDRESS}
    return Finding(
        missing=tuple(name for name in wanted if name not in given | inside),
        conflicts=tuple(
            f"{file.path}:{number}: {text}"
            for number, address, given, text in outside
            if address != ADDRESS and given & set(wanted)
        ),
        elsewhere=tuple(name for name in wanted if name in given),
    )


def write(found: Sequence[HostsFile], wanted: Sequence[str], *, command: str) -> list[str]:
    """Bring the names into every file, or into none; returns a line about each file.

    Args:
        found: the files, in the order in which they are written.
        wanted: the names.
        command: what to run when this process may not write them (`elevated`).

    Raises:
        UsageError: another line gives one of the names another address, or the permission is missing.
        MachineError: a file is not there or cannot be changed.
    """
    findings = [inspect(file, wanted) for file in found]
    conflicts = [text for finding in findings for text in finding.conflicts]
    if conflicts:
        raise UsageError(
            "LAB-HOSTS-02",
            "A hosts file gives a name of the lab another address. Nothing was changed.",
            evidence="\n".join(conflicts),
            hint="Change or remove these lines; then run this again.",
        )
    changes = []
    for file, finding in zip(found, findings, strict=True):
        old = _read(file.path)
        changes.append((file, old, _with_block(old, [name for name in wanted if name not in finding.elsewhere], file)))
    _apply(changes, command)
    return [f"{file.path}: " + ("names written" if old != new else "has every name") for file, old, new in changes]


def remove(found: Sequence[HostsFile], wanted: Sequence[str], *, command: str) -> list[str]:
    """Take the block out of every file, or out of none; returns a line about each file.

    Raises:
        UsageError: the permission is missing.
        MachineError: a file is not there or cannot be changed.
    """
    changes = [(file, old, _without_block(old, file.path)) for file in found for old in [_read(file.path)]]
    _apply(changes, command)
    said = []
    for file, old, new in changes:
        said.append(f"{file.path}: " + ("names removed" if old != new else "has no block of the lab"))
        rest = inspect(file, wanted).elsewhere
        if rest:
            said.append(f"{file.path}: other lines name {', '.join(rest)} (WSL's own copies go with `wsl --shutdown`)")
    return said


def elevated(flag: str, environ: Mapping[str, str], *, inside_wsl: bool) -> str:
    """The command that does the same with the rights it needs, to be typed in this shell and folder.

    On WSL Windows' file needs a Windows administrator and Linux' file needs root; one command gets both.
    """
    kept = [f"{name}={environ[name]}" for name in _KEPT if name in environ]
    # -B: no compiled modules of root's in the checkout; the full path: sudo has a PATH of its own
    argv = [*(["env", *kept] if kept else []), sys.executable, "-B", "-m", "invoke", "hosts", flag]
    if not inside_wsl:
        return shlex.join(["sudo", *argv])
    distribution = ["-d", environ["WSL_DISTRO_NAME"]] if "WSL_DISTRO_NAME" in environ else []
    inner = shlex.join([*distribution, "-u", "root", "--cd", environ.get("PWD", "."), "--", *argv])
    quoted = "".join(f"`{char}" if char in '`"$' else char for char in inner)
    script = f'Start-Process wsl.exe -Verb RunAs -ArgumentList "{quoted}"'
    return shlex.join(["powershell.exe", "-NoProfile", "-Command", script])


def _apply(changes: Sequence[tuple[HostsFile, bytes, bytes]], command: str) -> None:
    """Write all files or none: everything that can fail for lack of rights happens before the first swap."""
    staged: list[tuple[Path, HostsFile, bytes]] = []
    swapped: list[tuple[HostsFile, bytes]] = []
    try:
        for file, old, new in changes:
            if old != new:
                staged.append((files.stage(file.path, new), file, old))
        for path, file, old in staged:
            files.swap(path, file.path)
            swapped.append((file, old))
    except OSError as error:
        for file, old in swapped:
            files.replace(file.path, old)
        raise _refused(error, command) from error
    finally:
        for path, _, _ in staged:
            path.unlink(missing_ok=True)


def _refused(error: OSError, command: str) -> LabError:
    if isinstance(error, PermissionError):
        return UsageError(
            "LAB-HOSTS-01", "Hosts files belong to the administrator. Nothing was changed.",
            evidence=str(error), hint=command,
        )  # fmt: skip
    return MachineError(
        "LAB-HOSTS-03", "A hosts file cannot be changed. Nothing was changed.",
        evidence=str(error), hint="Add the lines that `invoke hosts` prints by hand.",
    )  # fmt: skip


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "Mount drive C: in WSL (automount in /etc/wsl.conf)." if isinstance(error, FileNotFoundError) else ""
        hint = hint if path.is_relative_to(wsl.SYSTEM) else ""
        raise MachineError("LAB-HOSTS-04", f"{path} cannot be read.", evidence=str(error), hint=hint) from error


def _split(data: bytes, path: Path) -> tuple[bytes, bytes, bytes]:
    """What stands before the block, the block from marker to marker without its last line end, and what follows."""
    rows = data.splitlines(keepends=True)
    begins = [number for number, row in enumerate(rows) if row.strip() == BEGIN]
    ends = [number for number, row in enumerate(rows) if row.strip() == END]
    if not begins and not ends:
        return data, b"", b""
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise UsageError(
            "LAB-HOSTS-05",
            f"The marks of the lab's block in {path} do not match. Nothing was changed.",
            evidence="\n".join(f"{path}:{number + 1}: {rows[number].decode().strip()}" for number in begins + ends),
            hint="Leave one # BEGIN gitops-lab and one # END gitops-lab behind it, or remove both.",
        )
    before, block = b"".join(rows[: begins[0]]), b"".join(rows[begins[0] : ends[0] + 1])
    body = block.rstrip(b"\r\n")
    return before, body, data[len(before) + len(body) :]


def _entries(data: bytes, first: int) -> Iterator[tuple[int, str, set[str], str]]:
    """Each line that gives an address: its number, the address, the names in lower case, the line."""
    for number, row in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), first):
        text = row.decode(errors="replace").strip()
        address, *given = text.partition("#")[0].lower().split() or [""]
        if given:
            yield number, address, set(given), text


def _with_block(data: bytes, wanted: Sequence[str], file: HostsFile) -> bytes:
    """``data`` with exactly these names in its block; without names there is no block.

    A file whose last line has no end gets a block whose last line has none, so that `_without_block` knows.
    """
    if not wanted:
        return _without_block(data, file.path)
    before, block, after = _split(data, file.path)
    eol = b"\r\n" if b"\r\n" in data else b"\n" if b"\n" in data else file.eol
    text = eol.join([BEGIN, *(line.encode() for line in lines(wanted)), END])
    if block:
        return before + text + after
    return data + text + eol if not data or data.endswith((b"\n", b"\r")) else data + eol + text


def _without_block(data: bytes, path: Path) -> bytes:
    """``data`` as it was before the block came."""
    before, block, after = _split(data, path)
    if not block:
        return data
    if after:
        return before + after.removeprefix(b"\r").removeprefix(b"\n")
    return before.removesuffix(b"\r\n") if before.endswith(b"\r\n") else before.removesuffix(b"\n")
