"""The stock: images of nodes and builds, put into the cache's volume, so that neither needs a network.

They come from this Docker, where `invoke pull` or a bundle brought them; the cache then is a plain registry.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from lab.engines.docker import containers, images, layout, store
from lab.engines.docker.pins import Pin
from lab.engines.docker.references import Reference
from lab.engines.docker.site import Site
from lab.errors import Interrupted, LabError
from lab.plan import StepContext

STORAGE = "/var/lib/registry"
_LIST = f"{STORAGE}/lab-stock.json"
"""What the volume holds: image ids by name."""


def on(site: Site) -> bool:
    """Whether this lab lives on a stock."""
    return site.state.fact(images.STOCK) is not None


def missing(site: Site, container: Any) -> list[tuple[Pin, Reference]]:
    """The images that ought to be in the cache and are not."""
    held = _held(site, container)
    return [
        (pin, wanted)
        for pin, wanted in _wanted(site)
        if wanted.name not in held or _replaced(site, wanted, held[wanted.name])
    ]


def fill(site: Site, container: Any, context: StepContext) -> int:
    """Put what is missing into the cache's volume; returns the number of images.

    Raises:
        LabError: an image is not on this Docker either.
    """
    todo = missing(site, container)
    held, total = dict(_held(site, container)), sum(pin.unpacked for pin, _ in todo) * 1_000_000
    done = 0
    for pin, wanted in todo:
        context.report(wanted.name)
        held[wanted.name] = _put(site, container, wanted, context)
        containers.put(site, container, _LIST, json.dumps(held, indent=1), mode=0o644)
        done += pin.unpacked * 1_000_000
        context.progress(done, total)
    return len(todo)


def _put(site: Site, container: Any, wanted: Reference, context: StepContext) -> str:
    found = store.present(site, wanted.name)
    if found is None:
        raise LabError(
            "LAB-STOCK-02", f"The stock is not complete: {wanted.name} is neither in the cache nor on this Docker.",
            evidence="Somebody removed it, or `images` in lab.yaml was changed since.",
            hint="invoke pull, or the same bundle again: invoke up --bundle FILE",
        )  # fmt: skip
    folder = site.state.path("downloads")
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as files:
            _convert(site, wanted, folder, files, context)
            with site.daemon.asking(f"put {wanted.name} into {container.name}"):
                container.put_archive(STORAGE, files)
    except OSError as error:
        raise LabError(
            "LAB-STOCK-03", f"{wanted.name} could not be put into the cache: {folder} cannot be written.",
            evidence=str(error), hint="Is there room (df -h)? Twice the image's size is needed for a moment.",
        ) from error  # fmt: skip
    return str(found["Id"])


def _convert(site: Site, wanted: Reference, folder: Path, files: IO[bytes], context: StepContext) -> None:
    """Write an image of this Docker as the files of a registry."""
    with tempfile.TemporaryFile(dir=folder) as saved:
        for chunk in store.saved(site, wanted.name):
            if context.stop.is_set():
                raise Interrupted(f"Stopped while saving {wanted.name}.")
            saved.write(chunk)
        saved.seek(0)
        layout.convert(saved, wanted, files)
    files.seek(0)


def _wanted(site: Site) -> list[tuple[Pin, Reference]]:
    machine = images.architecture(site)
    pins = images.selected(site.settings, "dind", "node")
    return [(pin, images.reference_of(site.settings, pin, machine)) for pin in pins]


def _held(site: Site, container: Any) -> Mapping[str, str]:
    try:
        found = json.loads(containers.take(site, container, _LIST) or "{}")
    except ValueError:  # cut off while it was written: everything is put there again
        return {}
    return found if isinstance(found, dict) else {}


def _replaced(site: Site, wanted: Reference, held: str) -> bool:
    """Whether this Docker has another image by that name now; one that is gone here is still good there."""
    found = store.present(site, wanted.name)
    return found is not None and found["Id"] != held
