"""What stages start from: images of the store or of the lab's registry, and empty layers in place of all others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from lab.emulator.docker import layer as layers
from lab.emulator.docker import oci
from lab.emulator.docker.copying import CopyError
from lab.emulator.docker.credentials import HUB_KEY, Credentials
from lab.emulator.docker.errors import DockerError, NotEmulatedError
from lab.emulator.docker.oci import Descriptor
from lab.emulator.docker.references import InvalidReferenceError, Reference, parse
from lab.emulator.docker.result import Result
from lab.emulator.docker.store import Image, Store
from lab.emulator.docker.tree import Tree, apply_layer

SCRATCH = "scratch"
Say = Callable[[str], None]


class Bases:
    """Finds base images; ``pull`` asks the registry even for those that the store holds."""

    def __init__(self, store: Store, credentials: Credentials, *, pull: bool) -> None:
        self._store = store
        self._credentials = credentials
        self._pull = pull

    def start(self, name: str, created: str, say: Say) -> Result:
        """The beginning of a stage whose ``FROM`` names an image, or ``scratch``.

        Raises:
            InvalidReferenceError: the name is none.
            DockerError: a registry of the lab does not hold it, or refuses.
        """
        if name == SCRATCH:
            return Result()
        reference = parse(name)
        image = self._image(reference, say)
        if image is not None:
            return self._of_image(image)
        say(f"not emulated: {reference} is not in the lab's registry and becomes an empty layer")
        return self._emptied(name, created)

    def files(self, name: str, say: Say) -> Tree:
        """The files of an image named in ``COPY --from``; raises CopyError for one that cannot be had."""
        if name == SCRATCH:
            return Tree()
        try:
            image = self._image(parse(name), say)
        except InvalidReferenceError as error:
            raise CopyError(f'failed to parse stage name "{name}": {error}') from error
        if image is None:
            raise CopyError(f"not emulated: COPY --from={name}: the image is not in the lab's registry")
        return self._of_image(image).tree

    def _emptied(self, name: str, created: str) -> Result:
        result = Result(config={"Labels": {oci.BASE_LABEL: name}})
        result.layers.append(layers.write(self._store, {}, 0))
        comment = f"the lab's emulator: an empty layer in place of {name}"
        result.history.append({"created": created, "created_by": f"FROM {name}", "comment": comment})
        return result

    def _image(self, reference: Reference, say: Say) -> Image | None:
        """A local image, else one pulled from where the lab keeps images; None when it is foreign."""
        local = self._store.by_reference(reference)
        ours = self._is_ours(reference.domain)
        if local is not None and not (self._pull and ours):
            return local
        if not ours:
            return None
        from lab.emulator.docker import client, transfer  # noqa: PLC0415 - HTTP costs a third of a build's time

        try:
            return transfer.pull(self._store, reference, self._credentials, say)
        except client.RegistryError as error:
            reason = f"{reference}: not found" if error.status == 404 else str(error)
            problem = f"failed to resolve source metadata for {reference}: {reason}"
            raise DockerError(f"failed to solve: {reference.familiar}: {problem}") from error

    def _is_ours(self, domain: str) -> bool:
        """Whether base images come from there: the lab's registry, or one that somebody logged in to.

        Docker Hub is left out: a job may log in there to push, on a machine that could not bring a base from there.
        """
        if domain in {os.environ.get("LAB_REGISTRY"), os.environ.get("CI_REGISTRY")}:
            return True
        return domain in self._credentials.registries() - {HUB_KEY}

    def _of_image(self, image: Image) -> Result:
        if image.config.get("architecture") != oci.architecture():
            raise NotEmulatedError(f"a base image for {image.config.get('architecture')}")
        result = Result(config=dict(image.config.get("config") or {}), author=image.config.get("author"))
        result.history = list(image.config.get("history") or [])
        for blob, diff_id in zip(image.layers, image.config["rootfs"]["diff_ids"], strict=True):
            result.layers.append(layers.Layer(_in_oci_words(blob), diff_id))
            apply_layer(result.tree, layers.read(self._store, blob))
        return result


def _in_oci_words(blob: Descriptor) -> Descriptor:
    """A layer of a Docker image under the media type that an OCI manifest gives it."""
    return replace(blob, media_type=oci.LAYER_GZIP if blob.media_type.endswith("gzip") else oci.LAYER)
