"""The k3d program: which one, how it is called, and what it means when it fails.

k3d's exit codes say nothing more than 0 and 1; what went wrong stands in its log lines (contracts E.3). It keeps the
cluster's token in labels and environment of every container, so nothing it prints is shown unmasked.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from lab.causes import Evidence
from lab.causes.recognition import problems
from lab.engines.docker import downloads, images
from lab.engines.docker.site import Site
from lab.errors import LabError, TimedOut
from lab.plan import StepContext
from lab.shell import Completed, run
from lab.waiting import Pending

PROGRAM = "k3d"
_LOCK, _TEMPORARY = "k3d.lock", "k3d.tmp"
_QUICK = 30.0
"""Seconds for a call that only reads."""
_SHOWN, _WIDTH = 12, 600
_TOKEN = re.compile(r'(K3S_TOKEN=|k3d\.cluster\.token"?\s*[:=]\s*"?)[^\s",\]}]+')
_LINE = re.compile(r'level=(?P<level>\w+) msg="(?P<text>(?:[^"\\]|\\.)*)"')
_NOISE = re.compile(r"Rolling Back|rolled back|rollback deactivated|No such container")


class K3d:
    """The program of a lab; `program` finds or downloads it.

    Args:
        site: the lab.
        log: the end of the first node's log, asked for when k3d has failed: it is k3s that says why.
    """

    def __init__(self, site: Site, log: Callable[[], str] = str) -> None:
        self._site = site
        self._log = log
        self._held: tuple[int, ...] = ()

    def present(self) -> Path | None:
        """The program that fits: the one on PATH, else the one in .lab/bin, else None."""
        found = shutil.which(PROGRAM, path=self._site.environ.get("PATH", ""))
        for program in (Path(found) if found else None, downloads.path(self._site, PROGRAM)):
            if program and program.exists() and self._fits(program):
                return program
        return None

    def program(self, context: StepContext) -> Path:
        """The program; downloaded when there is none that fits.

        Raises:
            LabError: it could not be downloaded, or does not run here.
        """
        found = self.present()
        if found is None:
            found = downloads.fetch(self._site, PROGRAM, context)
            if not self._fits(found):
                raise LabError(
                    "LAB-K3D-01", f"{found} does not answer as k3d {downloads.version(PROGRAM)}.",
                    evidence=version(found) or "it gives no version", hint=f"Remove {found}, then invoke up.",
                )  # fmt: skip
        return found

    @contextlib.contextmanager
    def alone(self, context: StepContext) -> Iterator[None]:
        """Keep every other k3d of this lab out, also one that a killed task has left at work.

        What k3d runs inherits the lock, so it is free only when k3d has ended.
        """

        def locked() -> bool | Pending:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Pending("another k3d is at work")
            return True

        with self._site.state.path(_LOCK).open("a") as lock:
            context.wait("an earlier k3d to end", locked, timeout=self._site.settings.timeouts.cluster)
            self._held = (lock.fileno(),)
            try:
                yield
            finally:
                self._held = ()

    def create(self, config: str, *, timeout: float) -> None:
        """Create the cluster that a configuration file describes, and wait until its nodes run.

        A failed creation is not rolled back: the nodes' logs are the evidence, and the caller removes them.

        Raises:
            LabError: k3d failed, or did not end in time.
        """
        path = self._site.state.path("k3d.yaml")
        path.write_text(config, encoding="utf-8")
        self._run("cluster", "create", "--config", str(path), timeout=timeout)

    def start(self, name: str, *, timeout: float) -> None:
        """Start a cluster that was stopped; nodes that run already are left alone."""
        self._run("cluster", "start", name, "--timeout", f"{timeout / 2:.0f}s", timeout=timeout)

    def kubeconfig(self, name: str) -> str:
        """The administrator's kubeconfig: a secret."""
        return self._run("kubeconfig", "get", name, timeout=_QUICK).stdout

    def _run(self, *words: str, timeout: float) -> Completed:
        program = self.present()
        if program is None:
            raise LabError("LAB-K3D-02", "The k3d program is not here.", hint="invoke up downloads it.")
        what = f"k3d {' '.join(words[:2])}"
        folder = self._site.state.path(_TEMPORARY)
        folder.mkdir(exist_ok=True)
        try:
            done = run([program, *words], timeout=timeout, env=self._environ(folder), check=False, keep=self._held)
        except TimedOut as error:
            raise failure(what, error.problem, self._log(), otherwise=error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if done.code:
            raise failure(what, done.stdout + done.stderr, self._log())
        return done

    def _environ(self, folder: Path) -> dict[str, str]:
        """k3d's surroundings. It leaves a copy of its configuration in TMPDIR, hence a folder of its own."""
        return {
            **self._site.daemon.environ,
            "LOG_COLORS": "false",
            "LOG_LEVEL": "info",
            "K3D_IMAGE_LOADBALANCER": images.reference(self._site, "k3d-proxy"),
            "K3D_IMAGE_TOOLS": images.reference(self._site, "k3d-tools"),
            "KUBECONFIG": str(self._site.state.path("kubeconfig")),
            "TMPDIR": str(folder),
        }

    def _fits(self, program: Path) -> bool:
        """Whether it is of the pinned minor version: its configuration file and labels are then those we know."""
        return _minor(version(program)) == _minor(downloads.version(PROGRAM))


def version(program: Path) -> str:
    """What a program says of itself, ``v5.9.0``; empty when it is no k3d or does not run."""
    try:
        done = run([program, "version", "-o", "json"], timeout=_QUICK, env={"LOG_LEVEL": "info"}, check=False)
    except (LabError, OSError):
        return ""
    try:
        return str(json.loads(done.stdout.strip().splitlines()[-1])["k3d"])
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def failure(what: str, output: str, log: str, *, otherwise: LabError | None = None) -> LabError:
    """The error that k3d's output stands for: a known cause, or the lines in which k3d and k3s complain.

    Args:
        what: the command, as it reads before "failed".
        output: what k3d printed.
        log: the end of the first node's log, where k3s says what it cannot do.
        otherwise: the error when no cause is known; the lines become its evidence.
    """
    said, seen = "\n".join(complaints(output)), hide("\n".join(log.strip().splitlines()[-_SHOWN:]))
    known = problems([Evidence("k3d", said, "k3d"), Evidence("node", seen, "k3s")])
    if known:
        return known[0].error(f"`{what}` failed: {said[-_WIDTH:]}")
    evidence = "\n".join(filter(None, [said, seen])) or hide(output)[-_WIDTH:]
    if otherwise:
        return type(otherwise)(otherwise.code, otherwise.problem, evidence=evidence, hint="invoke doctor")
    hint = "invoke doctor looks at this machine; the same again may do when it was busy."
    return LabError("LAB-K3D-03", f"`{what}` failed.", evidence=evidence, hint=hint)


def complaints(output: str) -> list[str]:
    """k3d's warnings and errors, oldest first, without those about the clearing up after them."""
    found = [
        (match["level"], hide(match["text"].replace('\\"', '"').replace("\\n", "\n")))
        for match in _LINE.finditer(output)
    ]
    return [text for level, text in found if level in ("warning", "error", "fatal") and not _NOISE.search(text)]


def hide(text: str) -> str:
    """``text`` without the cluster's token."""
    return _TOKEN.sub(r"\1[masked]", text)


def _minor(text: str) -> tuple[str, ...]:
    return tuple(text.lstrip("v").split(".")[:2])
