"""Everything that the Docker engine needs from elsewhere: shown, fetched, and carried in a bundle.

The tasks `pull` and `bundle` and the flag `--bundle` of `up`; each is a list of steps, run as `up` runs its own.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.console import Console
from lab.engines.docker import bundle, downloads, images, store
from lab.engines.docker.k3d import PROGRAM, K3d
from lab.engines.docker.pins import PINS
from lab.engines.docker.site import Site
from lab.errors import LabError, MachineError, UsageError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext

_MB = 1_000_000
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_PLACES = {"host": "Docker", "node": "nodes", "dind": "builds"}
_SPARE = 1.1
"""What is to be free for each byte that comes: layers are packed and unpacked side by side for a moment."""


class Supplies:
    """Images and files of one lab."""

    def __init__(self, site: Site, console: Console) -> None:
        self._site = site
        self._console = console

    def show(self) -> None:
        """Print the table: what, from where, how large, for whom, and whether it is here."""
        machine, here = self._here()
        rows = []
        for pin, wanted in images.table(self._site.settings, machine):
            state = "" if here is None else "here" if pin.name in here else "absent"
            size = f"{pin.download:>5} {pin.unpacked:>5} MB"
            rows.append((pin.name, f"{size}  {_PLACES[pin.place]:<6}  {state:<6}  {wanted}"))
            self._console.document(
                {
                    "type": "image", "name": pin.name, "image": str(wanted), "place": pin.place, "state": state,
                    "download_mb": pin.download, "unpacked_mb": pin.unpacked, "about": pin.about,
                }
            )  # fmt: skip
        for file in downloads.FILES:
            size = f"{file.size / _MB:>5.0f} {file.size / _MB:>5.0f} MB"
            rows.append((file.name, f"{size}  {'lab':<6}  {self._file(file):<6}  {file.version}"))
        self._console.row((), "What the Docker engine needs: MB to download and on disk (round figures), where, what")
        self._console.table(rows)
        total, disk = sum(pin.download for pin in PINS), sum(pin.unpacked for pin in PINS)
        if "k3s" in self._site.settings.images:
            self._console.line("images.k3s is set: what it brings along may be other images than those of this table.")
        self._console.line(f"About {total / 1000:.1f} GB to download, {disk / 1000:.1f} GB on disk.")

    def fetch(self) -> list[Step]:
        """The steps that bring everything here and start nothing.

        Raises:
            MachineError: there is too little room.
        """
        present = {f"download.{PROGRAM}"} if K3d(self._site).present() else set()
        return self._fetch(without=present)

    def pack(self, path: Path) -> list[Step]:
        """The steps that bring everything here and write it into a bundle.

        Raises:
            UsageError: nothing can be written there.
            MachineError: there is too little room.
        """
        if path.is_dir() or not path.parent.is_dir():
            raise UsageError(
                "LAB-BUNDLE-08", f"{path} cannot be a bundle: it is a folder, or its folder does not exist.",
                hint="invoke bundle lab.tar",
            )  # fmt: skip
        steps = self._fetch(without=set())  # another machine may have no k3d of its own
        _require(path.parent, sum(pin.download for pin in PINS) * _MB, "the bundle")
        return [*steps, bundle.write(self._site, path, [step.name for step in steps])]

    def unpack(self, path: Path) -> list[Step]:
        """The steps that load a bundle.

        Raises:
            UsageError: it is no bundle, or not one for this lab.
        """
        steps = bundle.load(self._site, path)
        self._require_room()
        return [*steps, self._stock([step.name for step in steps])]

    def remove(self) -> str:
        """Remove the images that the lab brought here, and what it knows of them; for a lab that was never built."""
        if not (self._site.state.folder / "images").exists():
            return ""
        said = store.remove(self._site)
        self._site.state.remove()
        return f"Removed {said or 'no image'}, and {self._site.state.folder}."

    def _fetch(self, *, without: set[str]) -> list[Step]:
        everything = [*images.steps(self._site, "host", "dind", "node"), *downloads.steps(self._site)]
        steps = [step for step in everything if step.name not in without]
        self._require_room()
        return [*steps, self._stock([step.name for step in steps])]

    def _stock(self, needs: Sequence[str]) -> Step:
        """Note that nodes and builds can live on what is here."""
        site = self._site

        def probe(_context: StepContext) -> Probe:
            return Satisfied() if site.state.fact(images.STOCK) else Needed("`up` does not know of it")

        def act(_context: StepContext) -> str:
            site.state.put_fact(images.STOCK, {"by": "pull or bundle"})
            return "the cache will serve nodes and builds"

        return Step("stock", "Images for nodes and builds", probe, act, tuple(needs))

    def _here(self) -> tuple[str, set[str] | None]:
        """The architecture, and the images that are here; None when Docker does not answer: the table needs none."""
        site = self._site
        try:
            machine = images.architecture(site)
            here = {pin.name for pin, it in images.table(site.settings, machine) if store.present(site, it.name)}
        except UsageError:
            raise
        except LabError as error:
            self._console.line(f"{error.problem} The table is for this machine's processor.")
            return _MACHINES.get(platform.machine(), "amd64"), None
        return machine, here

    def _file(self, file: downloads.File) -> str:
        return "here" if (self._site.state.folder / file.place).exists() else "absent"

    def _require_room(self) -> None:
        """Docker's disk must have room for what is not here yet; where it cannot be seen, Docker itself will tell."""
        _, here = self._here()
        root = Path(str(self._site.daemon.info.get("DockerRootDir") or "/nonexistent"))
        _require(root, sum(pin.unpacked for pin in PINS if pin.name not in (here or set())) * _MB, "the images")


def _require(folder: Path, wanted: int, what: str) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # Docker Desktop keeps its data in a machine of its own
        return
    if free < wanted * _SPARE:
        raise MachineError(
            "LAB-PULL-01", f"There is too little room for {what}: about {images.size(wanted * _SPARE)} are needed.",
            evidence=f"{images.size(free)} are free below {folder}.",
            hint="docker system df shows what Docker keeps; move its data, or make room.",
        )  # fmt: skip
