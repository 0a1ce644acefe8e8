"""Files that are no images: k3d itself and Argo CD's manifest, each of one version and with the checksum it must have.

They come from upstream or from `downloads.base`, go on where they were cut off, and are put in their place whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.engines.docker import fetching
from lab.engines.docker.images import architecture, size
from lab.engines.docker.site import Site
from lab.errors import UsageError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext


@dataclass(frozen=True)
class File:
    """One file of one version; ``{machine}`` stands for ``amd64`` or ``arm64``."""

    name: str
    version: str
    url: str
    mirrored: str
    """Its path below `downloads.base`."""
    place: str
    """Where it is kept, in .lab/."""
    checksums: tuple[tuple[str, str], ...]
    """SHA-256 by architecture; under ``any`` where it is the same for all."""
    size: int
    """Bytes, about."""
    program: bool = False


FILES = (
    File(
        "k3d",
        "v5.9.0",
        "https://github.com/k3d-io/k3d/releases/download/v5.9.0/k3d-linux-{machine}",
        "k3d/v5.9.0/k3d-linux-{machine}",
        "bin/k3d",
        (  # contracts E.5
            ("amd64", "06d8f25bc3a971c4eb29e0ff08429b180402db0f4dec838c9eac427e296800a0"),
            ("arm64", "03cde5cf23e6e8e67de5a039ecf26e5b85aca82fba3e5d13dadf904cd218a250"),
        ),
        25_000_000,
        program=True,
    ),
    File(
        "argo-cd",
        "v3.5.1",
        "https://raw.githubusercontent.com/argoproj/argo-cd/v3.5.1/manifests/install.yaml",
        "argo-cd/v3.5.1/install.yaml",
        "downloads/argo-cd-v3.5.1-install.yaml",
        (("any", "795a3a972224da6a7f9d32c3e946445f062b60fb46028476715affeb688236e3"),),
        1_917_766,
    ),
)


def steps(site: Site) -> Sequence[Step]:
    """One step for each file, ``download.k3d`` and ``download.argo-cd``."""
    return [_step(site, found) for found in FILES]


def path(site: Site, name: str) -> Path | None:
    """Where a file lies, or None when it is not here or is damaged."""
    found = _file(name)
    place = site.state.folder / found.place
    return place if place.is_file() and fetching.checksum(place) == expected(found, architecture(site)) else None


def version(name: str) -> str:
    """The pinned version of a file."""
    return _file(name).version


def fetch(site: Site, name: str, context: StepContext) -> Path:
    """Make sure that a file is here, and whole.

    Raises:
        LabError: it cannot be had, or is another one than the pinned; the error says why and what to do.
        TimedOut: timeouts.pull is over.
    """
    found, machine = _file(name), architecture(site)
    there = path(site, name)
    if there is not None:
        return there
    place = site.state.path(found.place)
    wish = fetching.Wish(_url(site, found, machine), place, expected(found, machine), program=found.program)
    fetching.fetch(wish, site.environ, context, timeout=site.settings.timeouts.pull)
    return place


def put(site: Site, name: str, chunks: Iterable[bytes]) -> Path:
    """Keep a file that came another way; returns where.

    Raises:
        LabError: it is not the pinned one.
    """
    found = _file(name)
    wish = fetching.Wish("", site.state.path(found.place), expected(found, architecture(site)), program=found.program)
    fetching.keep(wish, chunks)
    return wish.place


def source(site: Site, name: str) -> str:
    """Where a file comes from: upstream, or below `downloads.base`."""
    return _url(site, _file(name), architecture(site))


def _step(site: Site, found: File) -> Step:
    def probe(_context: StepContext) -> Probe:
        place = site.state.folder / found.place
        if path(site, found.name) is not None:
            return Satisfied(f"{found.version}, {size(place.stat().st_size)}")
        return Needed("it is damaged" if place.exists() else "it is not here")

    def act(context: StepContext) -> str:
        place = fetch(site, found.name, context)
        return f"{size(place.stat().st_size)}, its SHA-256 is the pinned one"

    return Step(
        f"download.{found.name}", f"{found.name} {found.version}", probe, act,
        explain=f"curl -fL -o {site.state.folder / found.place} {source(site, found.name)}", group="pull",
    )  # fmt: skip


def _file(name: str) -> File:
    return next(found for found in FILES if found.name == name)


def expected(found: File, machine: str) -> str:
    """The SHA-256 that a file must have."""
    checksums = dict(found.checksums)
    return checksums.get(machine) or checksums["any"]


def _url(site: Site, found: File, machine: str) -> str:
    base = site.settings.downloads.base
    if not base:
        return found.url.format(machine=machine)
    if not base.startswith(("http://", "https://")):
        raise UsageError(
            "LAB-FETCH-01", "downloads.base is not the address of a web server.", evidence=f"it is {base!r}",
            hint="Such as https://files.example.com/lab",
        )  # fmt: skip
    return f"{base.rstrip('/')}/{found.mirrored.format(machine=machine)}"
