"""The images that this Docker has: looked at, saved, and which of them the lab brought here.

What the lab brings is noted before it comes: `down --purge --images` removes that and no more, after a kill too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lab.engines.docker import references
from lab.engines.docker.daemon import DockerError
from lab.engines.docker.references import Reference
from lab.engines.docker.site import Site

_FOLDER = "images"


def present(site: Site, name: str) -> Mapping[str, Any] | None:
    """What Docker knows about an image that is here, or None."""
    found = site.daemon.find("images", name)
    return None if found is None else dict(found.attrs)


def saved(site: Site, name: str) -> Iterator[bytes]:
    """What `docker save` writes of an image, in pieces."""
    with site.daemon.asking(f"save {name}"):
        chunks = iter(site.daemon.client.api.get_image(name))
    while True:
        with site.daemon.asking(f"save {name}"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def claim(site: Site, name: str, source: Reference | None = None) -> dict[str, Any]:
    """Note that the lab is about to bring an image, unless it is here already; returns what is noted.

    Args:
        site: the lab.
        name: what the image will be called.
        source: where a pull takes it from; a mirror's name is the lab's too unless it is here already.
    """
    noted = dict(noted_of(site, name))
    if present(site, name) is None:
        noted = {"name": name, "ours": True}
    if source and source.registry != references.parse(name).registry and present(site, source.pulled) is None:
        noted["source"] = source.pulled
    if noted:
        site.state.put_fact(_fact(name), noted)
    return noted


def settle(
    site: Site, noted: Mapping[str, Any], found: Mapping[str, Any], wanted: Reference, *, bundle: str = ""
) -> None:
    """Note which image came.

    Args:
        site: the lab.
        noted: what `claim` returned.
        found: the image that is here now; its id stands for its digest where a loaded image has none.
        wanted: what it is.
        bundle: checksum of the bundle's member that it came from.
    """
    came = {"name": wanted.name, "id": found["Id"], "digest": wanted.digest, "bundle": bundle}
    site.state.put_fact(_fact(wanted.name), {**noted, **came})


def noted_of(site: Site, name: str) -> Mapping[str, Any]:
    """What is noted of an image; empty when nothing is."""
    return site.state.fact(_fact(name)) or {}


def remove(site: Site) -> str:
    """Remove the images that the lab brought, unless they are in use elsewhere or were replaced since.

    Returns:
        What was removed, and what was left and why; empty when the lab had brought none.
    """
    notes = sorted((site.state.folder / _FOLDER).glob("*.json"))
    return ", ".join(text for note in notes if (text := _forget(site, f"{_FOLDER}/{note.stem}")))


def _forget(site: Site, fact: str) -> str:
    noted = site.state.fact(fact) or {}
    said = [_delete(site, noted["source"])] if noted.get("source") and present(site, noted["source"]) else []
    found = present(site, noted["name"]) if noted.get("ours") else None
    if found is not None and noted.get("id") not in (None, found["Id"]):
        said.append(f"{noted['name']} left, it was replaced since")
    elif found is not None:
        said.append(_delete(site, noted["name"]))
    site.state.put_fact(fact, None)
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


def _fact(name: str) -> str:
    return f"{_FOLDER}/{re.sub(r'[^A-Za-z0-9.-]', '_', name)}"
