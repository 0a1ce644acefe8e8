"""What a kubelet's pull brings, and the words in which it fails."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile

import aiohttp
import pytest
from registry_world import MANIFEST, ROOT_TOKEN, World, descriptor, populate, serving

from lab.emulator import images


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("registry")) as world:
        populate(world)
        yield world


def archive(*members: tuple[str, bytes | str | None]) -> bytes:
    """A tar: bytes make a file, text a symbolic link, None a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def push(world: World, name: str, *layers: bytes, **config) -> None:
    document = json.dumps({"architecture": "amd64", "os": "linux", "config": config}).encode()
    for content in (document, *layers):
        world.push_blob(name, content)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", document),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
    }
    answer = world.registry("PUT", f"/{name}/manifests/v1", json.dumps(manifest).encode(), Content_Type=MANIFEST)
    assert answer.status == 201, answer.body


def pull(world: World, reference: str, cache, login=("root", ROOT_TOKEN), **options) -> images.Image:
    def credentials(host: str) -> tuple[str, str] | None:
        return login if host == world.host else None

    async def run() -> images.Image:
        async with aiohttp.ClientSession() as session:
            return await images.pull(session, reference, credentials, cache, **options)

    return asyncio.run(run())


def test_layers_are_laid_over_each_other(world: World, tmp_path):
    lower = archive(("app", None), ("app/old", b"old"), ("app/kept", b"kept"), ("full", None), ("full/a", b"a"))
    upper = archive(("app/.wh.old", b""), ("app/new", b"new"), ("full/.wh..wh..opq", b""), ("full/b", b"b"))
    push(world, "root/app/layers", lower, upper, Cmd=["run"], Labels={"emulator.lab/base": "python:3"})
    image = pull(world, f"{world.host}/root/app/layers:v1", tmp_path)
    found = {str(path.relative_to(image.rootfs)): path for path in image.rootfs.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "app/kept": b"kept",
        "app/new": b"new",
        "full/b": b"b",
    }
    assert (image.config["Cmd"], image.base) == (["run"], "python:3")
    assert image.identity == f"{world.host}/root/app/layers@{image.digest}"
    assert images.present(f"{world.host}/root/app/layers:v1", tmp_path) == image


def test_a_second_pull_unpacks_nothing(world: World, tmp_path):
    push(world, "root/app/once", archive(("f", b"1")))
    first = pull(world, f"{world.host}/root/app/once:v1", tmp_path)
    before = (first.rootfs / "f").stat().st_ino
    assert (pull(world, f"{world.host}/root/app/once:v1", tmp_path).rootfs / "f").stat().st_ino == before


def test_no_path_leads_out_of_the_image(world: World, tmp_path):
    push(world, "root/app/climb", archive(("../outside", b"x")))
    with pytest.raises(images.PullError, match="invalid path in archive"):
        pull(world, f"{world.host}/root/app/climb:v1", tmp_path / "cache")
    outside = tmp_path / "target"
    outside.mkdir()
    push(world, "root/app/link", archive(("door", str(outside))), archive(("door/inside", b"x")))
    image = pull(world, f"{world.host}/root/app/link:v1", tmp_path / "cache")
    assert list(outside.iterdir()) == []
    assert (image.rootfs / "door").is_symlink()
    assert not list((tmp_path / "cache" / "rootfs").glob(".*"))


def test_an_index_gives_this_machines_image(world: World, tmp_path):
    from lab.emulator.docker import oci

    push(world, "root/app/index", archive(("f", b"mine")))
    body = world.registry("GET", "/root/app/index/manifests/v1").body
    mine = {**descriptor(MANIFEST, body), "platform": {"os": "linux", "architecture": oci.architecture()}}
    other = {**mine, "platform": {"os": "linux", "architecture": "s390x"}}
    for tag, entries in (("all", [other, mine]), ("foreign", [other])):
        index = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}).encode()
        world.registry("PUT", f"/root/app/index/manifests/{tag}", index, Content_Type=oci.INDEX)
    assert (pull(world, f"{world.host}/root/app/index:all", tmp_path).rootfs / "f").read_bytes() == b"mine"
    with pytest.raises(images.PullError, match="no match for platform in manifest"):
        pull(world, f"{world.host}/root/app/index:foreign", tmp_path)


@pytest.mark.parametrize(
    ("name", "login", "text"),
    [
        ("root/app:none", ("root", ROOT_TOKEN), "code = NotFound desc = failed to pull and unpack image"),
        ("root/app:v1", None, "failed to fetch anonymous token: unexpected status from GET request to"),
        ("root/app:v1", ("root", "wrong"), "failed to fetch oauth token: unexpected status from GET request to"),
        ("root/nowhere:v1", ("root", ROOT_TOKEN), "server message: insufficient_scope: authorization failed"),
    ],
)
def test_failures_have_containerds_words(world: World, tmp_path, name, login, text):
    with pytest.raises(images.PullError) as raised:
        pull(world, f"{world.host}/{name}", tmp_path, login)
    assert raised.value.reason == "ErrImagePull"
    assert text in raised.value.message
    assert f'"{world.host}/{name}"' in raised.value.message


def test_a_registry_that_does_not_answer_is_connection_refused(world: World, tmp_path):
    with pytest.raises(images.PullError, match="connect: connection refused"):
        pull(world, "127.0.0.1:1/a/b:c", tmp_path)


def test_a_name_that_is_none_is_told_apart(tmp_path):
    with pytest.raises(images.PullError) as raised:
        images.present("Root/App", tmp_path)
    assert raised.value.reason == "InvalidImageName"


def test_content_that_was_tampered_with_is_refused(world: World, tmp_path):
    layer = archive(("f", b"original"))
    push(world, "root/app/evil", layer)
    digest = descriptor("", layer)["digest"].partition(":")[2]
    stored = world.data / "registry" / "blobs" / "sha256" / digest[:2] / digest
    stored.write_bytes(layer.replace(b"original", b"tampered"))
    with pytest.raises(images.PullError, match="unexpected commit digest"):
        pull(world, f"{world.host}/root/app/evil:v1", tmp_path)


def test_endpoints_are_tried_in_order_and_the_last_error_is_shown(world: World, tmp_path, caplog):
    push(world, "root/app/mirrored", archive(("f", b"1")))
    nowhere = images.Endpoint("http://127.0.0.1:1/v2/root/app/mirrored", "127.0.0.1:1")
    right = images.Endpoint(
        f"http://{world.host}/v2/root/app/mirrored", world.host, "?ns=up.test", login=("root", ROOT_TOKEN)
    )
    image = pull(world, "up.test/a/b:v1", tmp_path, endpoints=lambda _: [nowhere, right])
    assert image.identity.startswith("up.test/a/b@sha256:")
    secure = images.Endpoint(f"https://{world.host}/v2/a/b", world.host)
    with caplog.at_level("INFO"), pytest.raises(images.PullError) as caught:
        pull(world, "up.test/a/b:v2", tmp_path, endpoints=lambda _: [nowhere, secure])
    assert caught.value.message.endswith("http: server gave HTTP response to HTTPS client")
    assert "connection refused" in caplog.text
    with pytest.raises(images.PullError, match="no available registry endpoint"):
        pull(world, "up.test/a/b:v2", tmp_path, endpoints=lambda _: [])
