"""The images of this lab: the pins with `images` and `mirrors` of lab.yaml applied, and the steps that pull them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.engines.docker import pull, references, store
from lab.engines.docker.pins import MACHINES, PINS, Pin, Place
from lab.engines.docker.references import Reference
from lab.engines.docker.site import Site
from lab.errors import LabError, MachineError, UsageError
from lab.plan import Needed, Probe, Satisfied, Step, StepContext
from lab.settings import Settings

STOCK = "stock"
"""Fact: the images that nodes and builds need are on this Docker (`pull`, or a bundle), and the cache serves them."""
_MB = 1_000_000
_WIDTH = 40
"""Letters of a name in a step's title."""


def steps(site: Site, *places: Place) -> Sequence[Step]:
    """One step for each image, ``pull.gitlab`` first; they download three at a time.

    Args:
        site: the lab.
        places: where the images are needed; those that Docker itself runs when none is given.
    """
    found = _Images(site)
    return [found.step(pin) for pin in selected(site.settings, *(places or ("host",)))]


class _Images:
    """The images of one lab."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._mirrors = references.mirrors(site.settings.mirrors)
        self._machine = architecture(site)

    def step(self, pin: Pin) -> Step:
        """Looks for one image, and pulls it."""
        wanted = reference_of(self._site.settings, pin, self._machine)
        source = references.mirrored(wanted, self._mirrors)
        typed = f"docker pull {source}"
        if source.name != wanted.name or wanted.digest:
            typed += f"\ndocker tag {source} {wanted.name}"
        return Step(
            f"pull.{pin.name}",
            f"Image {_brief(wanted.name)}",
            lambda _context: self._probe(wanted),
            lambda context: self._act(pin, wanted, source, context),
            explain=typed,
            group="pull",
        )

    def _probe(self, wanted: Reference) -> Probe:
        found = store.present(self._site, wanted.name)
        if found is None:
            return Needed("it is not here")
        wrong = self._wrong(wanted, found)
        return Needed(wrong) if wrong else Satisfied(f"{_short(found)}, {size(found['Size'])}")

    def _act(self, pin: Pin, wanted: Reference, source: Reference, context: StepContext) -> str:
        site = self._site
        noted = store.claim(site, wanted.name, source)
        puller = pull.Pull(
            site.daemon, source, upstream=wanted.registry, platform=f"linux/{self._machine}",
            expected=pin.download * _MB,
        )  # fmt: skip
        taken = puller.run(context, site.settings.timeouts.pull)
        self._name(wanted, source, keep=not noted.get("source"))
        found = store.present(site, wanted.name)
        if found is None:
            raise pull.vanished(wanted.name)
        store.settle(site, noted, found, wanted)
        wrong = self._wrong(wanted, found)
        if wrong:
            raise LabError(
                "LAB-IMAGE-04", f"Image {wanted}: {wrong}.", hint="Name another one under images: in lab.yaml."
            )
        return f"{size(taken)} pulled from {source.registry}, {size(found['Size'])} on disk"

    def _name(self, wanted: Reference, source: Reference, *, keep: bool) -> None:
        """Give what was pulled its upstream name, and take the mirror's name away again."""
        api, pulled = self._site.daemon.client.api, source.pulled
        if pulled == wanted.name:
            return
        with self._site.daemon.asking(f"tag {pulled} as {wanted.name}"):
            api.tag(pulled, wanted.repository_name, wanted.tag, force=True)
            if not keep:
                api.remove_image(pulled)

    def _wrong(self, wanted: Reference, found: Mapping[str, Any]) -> str:
        """What keeps an image that is here from being the one that is wanted; empty when nothing does."""
        here = found.get("Architecture", "")
        if here and here != self._machine:
            return f"it is for {here}, and this engine is {self._machine}"
        if not wanted.digest or found["Id"] == wanted.digest:
            return ""
        if any(digest.endswith(wanted.digest) for digest in found.get("RepoDigests") or ()):
            return ""
        noted = store.noted_of(self._site, wanted.name)  # a loaded image has no digests of a registry
        if noted.get("digest") == wanted.digest and noted.get("id") == found["Id"]:
            return ""
        return f"it has another digest than {wanted.digest[:19]}"


def reference(site: Site, name: str) -> str:
    """What an image is called here and everywhere in the lab, by its short name: ``reference(site, "gitlab")``."""
    return reference_of(site.settings, _pin(name), architecture(site)).name


def helper_reference(site: Site) -> str:
    """The helper image for runner/config.toml, for this machine's architecture; pulled by ``pull.helper``."""
    return reference(site, "helper")


def build_arguments(site: Site) -> dict[str, str]:
    """Variables for jobs, each an ``ARG`` of the sample's Dockerfile: base images that are to come from elsewhere.

    A Docker daemon in a job asks the lab's cache, and that asks the mirror of Docker Hub. Neither can put a prefix
    before a name, so a mirror that has one must stand in the Dockerfile's FROM, and so must another image. With a
    stock the cache has the upstream image by its own name.
    """
    known = references.mirrors(site.settings.mirrors)
    wanted = reference_of(site.settings, _pin("python"), "amd64")
    mirror = known.get(wanted.registry)
    if mirror and mirror.prefix and not site.state.fact(STOCK):
        return {"PYTHON_IMAGE": str(references.mirrored(wanted, known))}
    return {"PYTHON_IMAGE": str(wanted)} if "python" in site.settings.images else {}


def node_references(settings: Settings) -> dict[str, str]:
    """For images that a manifest of ours names: the upstream reference, and what `images` wants in its place."""
    pins = [pin for pin in PINS if pin.place == "node" and pin.chooser == "lab"]
    return {pin.image: str(reference_of(settings, pin, "amd64")) for pin in pins if pin.name in settings.images}


def reference_of(settings: Settings, pin: Pin, machine: str) -> Reference:
    """The reference of a pin, or what `images` says instead."""
    override = settings.images.get(pin.name)
    if override:
        return references.parse(override, f"images.{pin.name}")
    return references.parse(pin.image.format(machine=MACHINES[machine]))


def selected(settings: Settings, *places: Place) -> list[Pin]:
    """The pins that are needed at these places.

    Raises:
        UsageError: `images` names a pin that does not exist, or one that k3s chooses while k3s is the pinned one.
    """
    for name in settings.images:
        if _pin(name).chooser == "k3s" and "k3s" not in settings.images:
            raise UsageError(
                "LAB-IMAGE-05", f"images.{name} cannot be set: k3s chooses this image.",
                hint="Beside another images.k3s it can, for `pull` and `bundle`. mirrors: says where it comes from.",
            )  # fmt: skip
    return [pin for pin in PINS if pin.place in places]


def architecture(site: Site) -> str:
    """The engine's architecture, ``amd64`` or ``arm64``.

    Raises:
        MachineError: it is another one, for which GitLab and others publish no image.
    """
    found = str(site.daemon.version.get("Arch"))
    if found not in MACHINES:
        raise MachineError(
            "LAB-IMAGE-06", f"There are no images of GitLab for this machine's architecture, {found}.",
            hint="invoke up --engine embedded",
        )  # fmt: skip
    return found


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def table(settings: Settings, machine: str) -> Iterator[tuple[Pin, Reference]]:
    """Every pin with its reference."""
    for pin in selected(settings, "host", "node", "dind"):
        yield pin, reference_of(settings, pin, machine)


def _pin(name: str) -> Pin:
    found = next((pin for pin in PINS if pin.name == name), None)
    if found is None:
        names = ", ".join(pin.name for pin in PINS if pin.chooser != "k3s")
        raise UsageError("LAB-IMAGE-07", f"images.{name}: there is no such image.", hint=f"There are {names}.")
    return found


def _brief(name: str) -> str:
    """A name that fits into a line; the step's command has all of it."""
    return name if len(name) <= _WIDTH else f"…/{name.rpartition('/')[2]}"


def _short(found: Mapping[str, Any]) -> str:
    return str(found["Id"]).removeprefix("sha256:")[:12]
