"""The images of this lab: the pins with `images` and `mirrors` of lab.yaml applied, and the steps that pull them.

What the lab pulled itself is remembered before the pull begins: `down --purge --images` removes that and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lab.engines.docker import pull, references
from lab.engines.docker.daemon import DockerError
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


def remove(site: Site) -> str:
    """Remove the images that the lab pulled, unless they are in use elsewhere or were replaced since.

    Returns:
        What was removed, and what was left and why; empty when the lab had pulled none.
    """
    return ", ".join(text for pin in PINS if (text := _forget(site, pin)))


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
            lambda _context: self._probe(pin, wanted),
            lambda context: self._act(pin, wanted, source, context),
            explain=typed,
            group="pull",
        )

    def _probe(self, pin: Pin, wanted: Reference) -> Probe:
        found = present(self._site, wanted.name)
        if found is None:
            return Needed("it is not here")
        wrong = self._wrong(pin, wanted, found)
        return Needed(wrong) if wrong else Satisfied(f"{_short(found)}, {size(found['Size'])}")

    def _act(self, pin: Pin, wanted: Reference, source: Reference, context: StepContext) -> str:
        site = self._site
        noted = claim(site, pin, wanted.name, source)
        puller = pull.Pull(
            site.daemon, source, upstream=wanted.registry, platform=f"linux/{self._machine}",
            expected=pin.download * _MB,
        )  # fmt: skip
        taken = puller.run(context, site.settings.timeouts.pull)
        self._name(wanted, source, keep=not noted.get("source"))
        found = present(site, wanted.name)
        if found is None:
            raise pull.vanished(wanted.name)
        settle(site, pin, noted, found, wanted)
        wrong = self._wrong(pin, wanted, found)
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

    def _wrong(self, pin: Pin, wanted: Reference, found: Mapping[str, Any]) -> str:
        """What keeps an image that is here from being the one that is wanted; empty when nothing does."""
        here = found.get("Architecture", "")
        if here and here != self._machine:
            return f"it is for {here}, and this engine is {self._machine}"
        if not wanted.digest or found["Id"] == wanted.digest:
            return ""
        if any(digest.endswith(wanted.digest) for digest in found.get("RepoDigests") or ()):
            return ""
        noted = self._site.state.fact(_fact(pin)) or {}  # a loaded image has no digests of a registry
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
        UsageError: `images` names a pin that does not exist, or one that k3s chooses.
    """
    for name in settings.images:
        if _pin(name).chooser == "k3s":
            raise UsageError(
                "LAB-IMAGE-05", f"images.{name} cannot be set: k3s chooses this image.",
                hint="It follows from images.k3s. Where it is pulled from is set under mirrors.",
            )  # fmt: skip
    return [pin for pin in PINS if pin.place in places]


def architecture(site: Site) -> str:
    """The engine's architecture, ``amd64`` or ``arm64``.

    Raises:
        MachineError: it is another one, for which GitLab and others publish no image.
    """
    with site.daemon.asking("tell its architecture"):
        found = str(site.daemon.client.version().get("Arch"))
    if found not in MACHINES:
        raise MachineError(
            "LAB-IMAGE-06", f"There are no images of GitLab for this machine's architecture, {found}.",
            hint="invoke up --engine embedded",
        )  # fmt: skip
    return found


def present(site: Site, name: str) -> Mapping[str, Any] | None:
    """What Docker knows about an image that is here, or None."""
    found = site.daemon.find("images", name)
    return None if found is None else dict(found.attrs)


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


def _forget(site: Site, pin: Pin) -> str:
    noted = site.state.fact(_fact(pin)) or {}
    said = [_delete(site, noted["source"])] if noted.get("source") and present(site, noted["source"]) else []
    found = present(site, noted["name"]) if noted.get("ours") else None
    if found is not None and noted.get("id") not in (None, found["Id"]):
        said.append(f"{noted['name']} left, it was replaced since")
    elif found is not None:
        said.append(_delete(site, noted["name"]))
    if noted:
        site.state.put_fact(_fact(pin), None)
    return ", ".join(said)


def _delete(site: Site, name: str) -> str:
    try:
        with site.daemon.asking(f"remove image {name}"):
            site.daemon.client.api.remove_image(name)
    except DockerError as error:
        if error.status == 409:
            return f"{name} left, it is in use"
        raise
    return f"image {name}"


def _pin(name: str) -> Pin:
    found = next((pin for pin in PINS if pin.name == name), None)
    if found is None:
        names = ", ".join(pin.name for pin in PINS if pin.chooser != "k3s")
        raise UsageError("LAB-IMAGE-07", f"images.{name}: there is no such image.", hint=f"There are {names}.")
    return found


def claim(site: Site, pin: Pin, name: str, source: Reference | None = None) -> dict[str, Any]:
    """Note that an image is about to be brought here by the lab, unless it is here already; returns what is noted.

    Args:
        site: the lab.
        pin: which image.
        name: what it will be called.
        source: where a pull takes it from; a mirror's name is the lab's too unless it is here already.
    """
    noted = dict(site.state.fact(_fact(pin)) or {})
    if present(site, name) is None:  # noted first: a kill in between must not lose it
        noted = {"name": name, "ours": True}
    if source and source.registry != references.parse(name).registry and present(site, source.pulled) is None:
        noted["source"] = source.pulled
    if noted:
        site.state.put_fact(_fact(pin), noted)
    return noted


def settle(site: Site, pin: Pin, noted: Mapping[str, Any], found: Mapping[str, Any], wanted: Reference) -> None:
    """Note which image came; its id stands for its digest where a loaded image has none."""
    site.state.put_fact(_fact(pin), {**noted, "name": wanted.name, "id": found["Id"], "digest": wanted.digest})


def came_from(site: Site, name: str, checksum: str, found: str) -> bool:
    """Whether the image with this id was loaded from the member of a bundle with this checksum."""
    noted = site.state.fact(f"images/{name}") or {}
    return noted.get("bundle") == checksum and noted.get("id") == found


def _fact(pin: Pin) -> str:
    return f"images/{pin.name}"


def _brief(name: str) -> str:
    """A name that fits into a line; the step's command has all of it."""
    return name if len(name) <= _WIDTH else f"…/{name.rpartition('/')[2]}"


def _short(found: Mapping[str, Any]) -> str:
    return str(found["Id"]).removeprefix("sha256:")[:12]
