"""The task `adopt`: look, say what was found, show what is missing, and on demand put it there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lab import files, settings
from lab.adopt import inspection, offers, pipeline, repository
from lab.adopt.finding import Finding
from lab.adopt.offers import Offer, Profile
from lab.adopt.repository import Repository
from lab.config import edit, facts, template
from lab.console import Cell, Colour, Console
from lab.errors import UsageError

_MARKS: dict[str, tuple[str, Colour]] = {
    "ok": ("✓", "green"),
    "missing": ("✗", "red"),
    "wrong": ("✗", "red"),
    "note": ("·", "yellow"),
}


class Adoption:
    """Somebody's own project and the lab.yaml that is to name it."""

    def __init__(
        self,
        file: Path,
        environ: Mapping[str, str],
        console: Console,
        current: settings.ProjectSettings,
        *,
        running: bool,
    ) -> None:
        self._file, self._environ, self._console = file, environ, console
        self._current, self._running = current, running

    def adopt(self, path: str, *, name: str, write: bool) -> None:
        """Inspect a folder; with ``write`` add the missing files and name the project in lab.yaml.

        Args:
            path: the folder.
            name: of the project; default is the folder's.
            write: nothing is written without it.

        Raises:
            UsageError: the folder cannot be used, or a file cannot be written.
        """
        found = repository.look(Path(path), name)
        profile = inspection.profile(found, self._current.config_branch)
        seen = list(inspection.findings(profile))
        wanted = list(offers.offers(profile))
        self._head(profile)
        self._findings(seen)
        if write:
            self._write(found, wanted)
        else:
            self._show(wanted)
        changed = self._settings(profile.settings(), write=write) if profile.buildable else []
        self._end(profile, seen, wanted, write=write, changed=changed)

    def _head(self, profile: Profile) -> None:
        found = profile.repository
        stack = profile.stack.name if profile.stack else "not recognised"
        place = str(found.root / found.folder)
        self._console.line(f"{place}: {stack}, listens on {profile.port}, health path {profile.health}")
        self._console.document(
            {"type": "repository", "root": str(found.root), "folder": found.folder, "kind": found.kind,
             "branch": found.branch, "commits": found.commits, "stack": profile.stack.name if profile.stack else None,
             "port": profile.port, "health": profile.health}
        )  # fmt: skip

    def _findings(self, seen: Sequence[Finding]) -> None:
        for finding in seen:
            self._console.document({"type": "finding", **asdict(finding)})
            mark, colour = _MARKS[finding.level]
            where = f"{finding.where}: " if finding.where else ""
            head = (Cell(f"{mark} {finding.level}", 10, colour), Cell(finding.id, 20))
            self._console.row(head, f"{where}{finding.text}")
            if finding.hint and finding.level != "ok":
                self._console.row((Cell("", 10), Cell("", 20), Cell("→")), finding.hint)

    def _show(self, wanted: Sequence[Offer]) -> None:
        for offer in wanted:
            self._console.document({"type": "offer", "file": offer.name, "text": offer.text, "written": False})
            self._console.line(f"\n{self._console.paint(f'--- {offer.name}', 'bold')}   (missing; offered)")
            self._console.line(offer.text.rstrip("\n"))

    def _write(self, found: Repository, wanted: list[Offer]) -> None:
        if wanted and found.kind == "bare":
            raise UsageError(
                "LAB-ADOPT-07", f"{found.root} is a bare repository: files cannot be put into it.",
                hint=f"git clone {found.root}, then invoke adopt on the clone",
            )  # fmt: skip
        for offer in offers.write(found, wanted):
            self._console.document({"type": "offer", "file": offer.name, "text": offer.text, "written": True})
            self._console.line(f"{self._console.paint('+ written ', 'green')} {found.root / offer.name}")

    def _settings(self, values: Mapping[str, str], *, write: bool) -> list[str]:
        """Bring the project's keys into lab.yaml, comments kept; returns the keys that differ from what held."""
        old = edit.read(self._file) or template.text()
        held = settings.parse(old, self._file, {}).project
        text, changed = old, []
        for key, value in values.items():
            setting = facts.find(key)
            if setting and value and str(getattr(held, setting.name)) != value:
                text = edit.changed(text, setting, value, self._file)
                changed.append(key)
        if write and changed:
            files.replace(self._file, text.encode())
        self._console.document({"type": "settings", "file": str(self._file), "values": dict(values), "written": write})
        said = f"{'holds now' if write else 'would hold'}:" if changed else "names this project already."
        self._console.line(f"\n{self._file} {said}")
        for key in changed:
            self._console.line(f"    {key}: {values[key]}")
            beaten = settings.variable(key)
            if beaten in self._environ:
                self._console.line(f"      (but the variable {beaten} is set and beats it)")
        return changed

    def _end(
        self, profile: Profile, seen: Sequence[Finding], wanted: Sequence[Offer], *, write: bool, changed: Sequence[str]
    ) -> None:
        """What stays to be done, as commands."""
        commands = _commands(profile, wanted, changed, write=write)
        if self._running and "project.path" in changed:
            said = f"The lab carries {self._current.path} so far, and both would answer at /."
            self._console.line(f"{said} Make room first: invoke down --purge")
            commands.insert(len(commands) - 1, "invoke down --purge")
        hard = [finding for finding in seen if finding.level == "wrong"]
        hard += [finding for finding in seen if finding.level == "missing" and not _offered(finding, wanted)]
        by_hand = f"; to mend by hand: {', '.join(dict.fromkeys(finding.id for finding in hard))}" if hard else ""
        count = f"{len(wanted)} file{'s' * (len(wanted) != 1)}"
        self._console.line(f"{count} {'written' if write else 'offered'}{by_hand}.")
        for label, command in zip(["Next:", *[""] * len(commands)], commands, strict=False):
            self._console.line(f"{label:<6} {command}")
        self._console.document({"type": "result", "ready": not hard and not wanted, "next": commands})


def _commands(profile: Profile, wanted: Sequence[Offer], changed: Sequence[str], *, write: bool) -> list[str]:
    """From here to a running application; nothing of it is done by the lab."""
    found = profile.repository
    place = shlex.quote(str(found.root))
    if not profile.buildable:
        return []
    if not write and (wanted or changed):
        name = ["--name", found.called] if found.called else []
        return [shlex.join(["invoke", "adopt", str(found.root / found.folder), *name, "--write"])]
    commands = []
    if found.kind == "plain":
        commands += [f"git -C {place} init -b {found.branch}", f"git -C {place} add ."]
    elif wanted:
        commands.append(f"git -C {place} add {shlex.join(offer.name for offer in wanted)}")
    if commands or not found.commits:
        commands.append(f"git -C {place} commit -m 'build: round the GitOps loop'")
    return [*commands, "invoke up"]


def _offered(finding: Finding, wanted: Sequence[Offer]) -> bool:
    """Whether an offer fills the gap; the gaps in git are filled by the commands at the end."""
    kinds = {"dockerfile": "Dockerfile", "ci": pipeline.NAME}
    kinds |= {f"k8s.{kind}": f"{kind}.yaml" for kind in ("deployment", "service", "ingress")}
    if finding.id.startswith("git."):
        return True
    return finding.id in kinds and any(offer.name.endswith(kinds[finding.id]) for offer in wanted)
