"""A whole lab in one file: written where there is a network, loaded where there is none.

It holds the images of the host, of nodes and of builds, and the files of `downloads`. Loading brings all of it to this
Docker and to .lab/, which is where `pull` brings it too; from there on `up` goes the same way.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.engines.docker import downloads, images, store
from lab.engines.docker.bundle_file import Reader, Writer
from lab.engines.docker.pins import PINS, Pin
from lab.engines.docker.pull import vanished
from lab.engines.docker.site import Site
from lab.errors import Interrupted, LabError, UsageError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext

_MB = 1_000_000


def write(site: Site, path: Path, needs: Sequence[str]) -> Step:
    """The step that writes the bundle, after the steps that bring everything here."""
    return Step(
        "bundle", f"Bundle {path}", lambda _context: Needed("it is written anew"),
        lambda context: _Bundle(site, path, context).write(), tuple(needs),
        "docker save IMAGE | gzip   # each image, with the downloads and a manifest, in one tar archive",
    )  # fmt: skip


def load(site: Site, path: Path) -> list[Step]:
    """The steps that load a bundle, one for each thing in it.

    Raises:
        UsageError: it is no bundle, is of another architecture, or was made for other versions than this lab's.
    """
    reader = Reader(path)
    _fits(site, reader)
    return [
        _load_image(site, reader, found) if "pin" in found else _load_file(site, reader, found)
        for found in reader.members()
    ]


class _Bundle:
    """One writing."""

    def __init__(self, site: Site, path: Path, context: StepContext) -> None:
        self._site = site
        self._context = context
        self._machine = images.architecture(site)
        self._path = path
        self._writer = Writer(path, {"architecture": self._machine})
        self._done = 0

    def write(self) -> str:
        try:
            return self._write()
        except OSError as error:
            raise LabError(
                "LAB-BUNDLE-09", f"{self._path} cannot be written.", evidence=str(error),
                hint="Is there room (df -h)? The same again goes on where it stopped.",
            ) from error  # fmt: skip

    def _write(self) -> str:
        everything = list(images.table(self._site.settings, self._machine))
        total = sum(pin.unpacked for pin, _ in everything) * _MB
        for pin, wanted in everything:
            found = store.present(self._site, wanted.name)
            if found is None:
                raise vanished(wanted.name)
            if not self._writer.has(f"images/{pin.name}.tar.gz", found["Id"]):
                self._context.report(wanted.name)
                self._image(pin, wanted.name, found, total)
            self._done += pin.unpacked * _MB
            self._context.progress(min(self._done, total), total)
        for file in downloads.FILES:
            self._file(file)
        return images.size(self._writer.finish())

    def _image(self, pin: Pin, name: str, found: Mapping[str, Any], total: int) -> None:
        data = _packed(self._counted(store.saved(self._site, name), total))
        self._writer.add(
            f"images/{pin.name}.tar.gz", found["Id"], data,
            pin=pin.name, name=name, digests=list(found.get("RepoDigests") or ()),
        )  # fmt: skip

    def _file(self, file: downloads.File) -> None:
        place = downloads.path(self._site, file.name)
        if place is None:
            raise LabError("LAB-BUNDLE-03", f"{file.name} is not here any more.", hint="Run the same again.")
        known = downloads.expected(file, self._machine)
        if not self._writer.has(file.mirrored, known):
            self._writer.add(file.mirrored, known, iter([place.read_bytes()]), file=file.name, version=file.version)

    def _counted(self, chunks: Iterator[bytes], total: int) -> Iterator[bytes]:
        seen = self._done
        for chunk in chunks:
            if self._context.stop.is_set():
                raise Interrupted("Stopped while writing the bundle.", hint="The same again goes on where it stopped.")
            seen += len(chunk)
            self._context.progress(min(seen, total), total)
            yield chunk


def _fits(site: Site, reader: Reader) -> None:
    machine = images.architecture(site)
    made = reader.manifest.get("architecture")
    if made != machine:
        raise UsageError(
            "LAB-BUNDLE-04", f"The bundle is for {made}, and this engine is {machine}.",
            hint=f"Make one on a machine with {machine}: invoke bundle FILE",
        )  # fmt: skip
    held = {found["name"] for found in reader.members() if "pin" in found}
    lacking = [wanted.name for _, wanted in images.table(site.settings, machine) if wanted.name not in held]
    lacking += [file.name for file in downloads.FILES if not _has_file(reader, file, machine)]
    if lacking:
        raise UsageError(
            "LAB-BUNDLE-05", "The bundle was made for other versions or settings: this lab needs more than it has.",
            evidence="missing: " + ", ".join(lacking), hint="Make it anew with this version: invoke bundle FILE",
        )  # fmt: skip


def _has_file(reader: Reader, file: downloads.File, machine: str) -> bool:
    known = downloads.expected(file, machine)
    return any(found.get("file") == file.name and found["sha256"] == known for found in reader.members())


def _load_image(site: Site, reader: Reader, entry: Mapping[str, Any]) -> Step:
    pin = next((pin for pin in PINS if pin.name == entry["pin"]), None)
    name = str(entry["name"])

    def probe(_context: StepContext) -> Probe:
        found = store.present(site, name)
        if found is None:
            return Needed("it is not here")
        noted = store.noted_of(site, name)
        loaded = noted.get("bundle") == entry["sha256"] and noted.get("id") == found["Id"]
        same = loaded or found["Id"] == entry["key"]
        return Satisfied(images.size(found["Size"])) if same else Needed("another one is here")

    def act(context: StepContext) -> str:
        if pin is None:
            return "this version does not need it"
        _check(reader, entry, context)
        noted = store.claim(site, name)
        with site.daemon.asking(f"load {name}"):
            for event in site.daemon.client.api.load_image(reader.read(entry["member"])):
                if event.get("error"):
                    raise _unloadable(name, str(event["error"]))
        found = store.present(site, name)
        if found is None:
            raise _unloadable(name, "Docker said nothing, and the image is not here")
        wanted = images.reference_of(site.settings, pin, images.architecture(site))
        store.settle(site, noted, found, wanted, bundle=entry["sha256"])
        return images.size(found["Size"])

    explain = f"tar -xOf BUNDLE {entry['member']} | docker load"
    return Step(f"load.{entry['pin']}", f"Image {name}", probe, act, explain=explain, group="pull")


def _load_file(site: Site, reader: Reader, entry: Mapping[str, Any]) -> Step:
    name = str(entry["file"])

    def probe(_context: StepContext) -> Probe:
        return Satisfied(entry["version"]) if downloads.path(site, name) else Needed("it is not here")

    def act(context: StepContext) -> str:
        _check(reader, entry, context)
        return str(downloads.put(site, name, reader.read(entry["member"])))

    explain = f"tar -xOf BUNDLE {entry['member']} > .lab/..."
    return Step(f"load.{name}", f"{name} {entry['version']}", probe, act, explain=explain)


def _check(reader: Reader, entry: Mapping[str, Any], context: StepContext) -> None:
    """Compare a member with its checksum before anything is done with it."""
    found, done = hashlib.sha256(), 0
    for chunk in reader.read(entry["member"]):
        if context.stop.is_set():
            raise Interrupted("Stopped while reading the bundle.")
        found.update(chunk)
        done += len(chunk)
        context.progress(done, entry["size"])
    if found.hexdigest() != entry["sha256"]:
        raise LabError(
            "LAB-BUNDLE-06", f"{entry['member']} in the bundle is damaged.",
            evidence=f"SHA-256 expected {entry['sha256']}\n           found {found.hexdigest()}",
            hint="Copy the bundle again from where it was made.",
        )  # fmt: skip


def _unloadable(name: str, said: str) -> LabError:
    return LabError(
        "LAB-BUNDLE-07", f"Docker could not load {name}.", evidence=said[:600],
        hint="Is there room (docker system df)? Otherwise make the bundle anew: invoke bundle FILE",
    )  # fmt: skip


def _packed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """With gzip at its fastest: a third of the size, and the disk stays the slower of the two."""
    packing = zlib.compressobj(level=1, wbits=31)
    for chunk in chunks:
        yield packing.compress(chunk)
    yield packing.flush()
