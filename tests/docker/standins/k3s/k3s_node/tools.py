"""``crictl`` and ``ctr`` as far as k3d and people use them: what images there are, import, pull, remove."""

from __future__ import annotations

import argparse
import asyncio
import json
import posixpath
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from k3s_node.registries import Registries
from k3s_node.server import IMAGES
from k3s_node.unpack import unpack
from lab.emulator.docker import oci
from lab.emulator.docker.oci import Descriptor
from lab.emulator.docker.references import parse
from lab.emulator.docker.store import Image, Store, manifest_of
from lab.emulator.images import PullError, pull


def main(tool: str, given: list[str]) -> int:
    """Run the tool; returns the exit code."""
    try:
        return {"ctr": _ctr, "crictl": _crictl}[tool](given)
    except (OSError, KeyError, ValueError, tarfile.TarError, PullError) as error:
        print(f"{tool}: {error}", file=sys.stderr)
        return 1


def _ctr(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="ctr")
    parser.add_argument("-n", "--namespace", default="k8s.io")
    parser.add_argument("-a", "--address", default="")
    commands = parser.add_subparsers(dest="group", required=True)
    images = commands.add_parser("images", aliases=["image", "i"]).add_subparsers(dest="command", required=True)
    importing = images.add_parser("import")
    importing.add_argument("--all-platforms", action="store_true")
    importing.add_argument("--digests", action="store_true")
    importing.add_argument("file")
    listing = images.add_parser("list", aliases=["ls"])
    listing.add_argument("-q", "--quiet", action="store_true")
    removing = images.add_parser("remove", aliases=["rm"])
    removing.add_argument("names", nargs="+")
    found = parser.parse_args(given)
    if found.command == "import":
        return _import(found.file)
    if found.command in ("remove", "rm"):
        return _remove(found.names)
    for name in Store(IMAGES).names():
        print(name)
    return 0


def _crictl(given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="crictl")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("images", aliases=["image", "img"])
    listing.add_argument("-q", "--quiet", action="store_true")
    listing.add_argument("-o", "--output", choices=("json", "table"), default="table")
    listing.add_argument("name", nargs="?", default="")
    pulling = commands.add_parser("pull")
    pulling.add_argument("--creds", default="")
    pulling.add_argument("name")
    inspecting = commands.add_parser("inspecti")
    inspecting.add_argument("-o", "--output", default="json")
    inspecting.add_argument("name")
    removing = commands.add_parser("rmi")
    removing.add_argument("names", nargs="+")
    found = parser.parse_args(given)
    if found.command == "pull":
        return asyncio.run(_pull(found.name, found.creds))
    if found.command == "rmi":
        return _remove(found.names)
    if found.command == "inspecti":
        return _inspect(found.name)
    return _list(found)


def _list(found: argparse.Namespace) -> int:
    store = Store(IMAGES)
    rows = [_row(name, image) for name in store.names() if (image := store.by_reference(parse(name)))]
    rows = [row for row in rows if found.name in row["repoTags"][0]]
    if found.output == "json":
        print(json.dumps({"images": rows}, indent=2))
    elif found.quiet:
        print("\n".join(row["id"] for row in rows))
    else:
        print(f"{'IMAGE':<60}{'TAG':<24}{'IMAGE ID':<16}SIZE")
        for row in rows:
            name, _, tag = row["repoTags"][0].rpartition(":")
            print(f"{name:<60}{tag:<24}{row['id'][7:20]:<16}{int(row['size']) // 1000}kB")
    return 0


def _row(name: str, image: Image) -> dict[str, Any]:
    digests = [f"{parse(name).name}@{image.digest}"]
    return {"id": image.id, "repoTags": [name], "repoDigests": digests, "size": str(image.size), "pinned": False}


def _inspect(name: str) -> int:
    image = Store(IMAGES).by_reference(parse(name))
    if image is None:
        print(f'level=fatal msg="no such image \\"{name}\\" present"', file=sys.stderr)
        return 1
    print(json.dumps({"status": _row(str(parse(name)), image), "info": {"imageSpec": image.config}}, indent=2))
    return 0


def _remove(names: list[str]) -> int:
    gone = [name for name in names if not Store(IMAGES).untag(parse(name))]
    for name in gone:
        print(f'no such image "{name}"', file=sys.stderr)
    return 1 if gone else 0


async def _pull(name: str, login: str) -> int:
    user, _, password = login.partition(":")
    registries = Registries.kept()
    async with aiohttp.ClientSession() as session:
        try:
            image = await pull(
                session, name, lambda _: (user, password) if user else None, IMAGES,
                endpoints=registries.endpoints, unpack=unpack,
            )  # fmt: skip
        except PullError as error:
            print(f'level=fatal msg="pulling image: {error.message}"', file=sys.stderr)
            return 1
    print(f"Image is up to date for {image.identity}")
    return 0


def _import(file: str) -> int:
    """Take up the images of ``docker save``; ``-`` is standard input.

    k3d never closes that one: the archive ends it, so that nothing may be read ahead.
    """
    store = Store(IMAGES)
    with (
        Path("/dev/stdin" if file == "-" else file).open("rb", buffering=0) as source,
        tarfile.open(fileobj=source, mode="r|") as archive,
    ):
        blobs, listed = _read(store, archive)
    for entry in listed:
        config = blobs[entry["Config"]]
        image = store.put_image(
            manifest_of(config, [replace(blobs[name], media_type=oci.LAYER) for name in entry["Layers"]])
        )
        unpack(store, IMAGES, image)
        for tag in entry["RepoTags"] or ():
            store.tag(parse(tag), image.digest)
            print(f"unpacking {parse(tag)} ({image.digest})...done")
    return 0


def _read(store: Store, archive: tarfile.TarFile) -> tuple[dict[str, Descriptor], list[Any]]:
    """The archive's blobs by their names in it, and its list of images."""
    blobs: dict[str, Descriptor] = {}
    listed: list[Any] | None = None
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if member.issym() or member.islnk():
            blobs[member.name] = blobs[
                posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
            ]
        elif content and member.name == "manifest.json":
            listed = json.load(content)
        elif content:
            with store.incoming() as blob:
                shutil.copyfileobj(content, blob, 1 << 20)  # type: ignore[arg-type]
            blobs[member.name] = Descriptor(oci.CONFIG, blob.digest, blob.size)
    if listed is None:
        raise ValueError("unrecognized image format")
    return blobs, listed
