"""Bundles and the stock without an engine's help: files whole, cut off, damaged, and of other machines."""

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from lab.app import Lab
from lab.console import Console
from lab.engines.docker import layout
from lab.engines.docker.bundle_file import Reader, Writer
from lab.engines.docker.references import parse
from lab.errors import LabError, UsageError

ABOUT = {"architecture": "amd64"}


def write(path, **members):
    writer = Writer(path, ABOUT)
    for name, data in members.items():
        if not writer.has(name, data.hex()):
            writer.add(name, data.hex(), [data[:3], data[3:]], pin=name)
    writer.finish()


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "lab.tar"
    write(path, one=b"first thing", two=b"x" * 5000, none=b"")
    reader = Reader(path)
    assert {found["member"]: b"".join(reader.read(found["member"])) for found in reader.members()} == {
        "one": b"first thing", "two": b"x" * 5000, "none": b"",
    }  # fmt: skip
    assert reader.members()[0]["sha256"] == hashlib.sha256(b"first thing").hexdigest()
    assert reader.manifest["architecture"] == "amd64"
    assert [found.name for found in tmp_path.iterdir()] == ["lab.tar"]


def test_any_tar_can_read_it(tmp_path):
    write(tmp_path / "lab.tar", one=b"first thing")
    with tarfile.open(tmp_path / "lab.tar") as archive:
        assert archive.getnames() == ["one", "manifest.json"]


def test_nothing_stands_there_before_it_is_whole(tmp_path):
    path = tmp_path / "lab.tar"
    path.write_bytes(b"the one from yesterday")
    Writer(path, ABOUT).add("one", "1", [b"data"])
    assert path.read_bytes() == b"the one from yesterday"


def test_a_run_that_was_killed_in_a_member_goes_on_behind_the_last_whole_one(tmp_path):
    path = tmp_path / "lab.tar"
    Writer(path, ABOUT).add("one", "1", [b"first"])

    def dying():
        yield b"half of the sec"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Writer(path, ABOUT).add("two", "2", dying())
    again = Writer(path, ABOUT)
    assert again.has("one", "1")
    assert not again.has("two", "2")
    again.add("two", "2", [b"second"])
    again.finish()
    reader = Reader(path)
    assert [b"".join(reader.read(name)) for name in ("one", "two")] == [b"first", b"second"]


def test_a_member_made_of_something_else_since_is_written_again(tmp_path):
    path = tmp_path / "lab.tar"
    Writer(path, ABOUT).add("one", "1", [b"old"])
    again = Writer(path, ABOUT)
    assert not again.has("one", "2")
    again.add("one", "2", [b"new"])
    again.finish()
    assert b"".join(Reader(path).read("one")) == b"new"


@pytest.mark.parametrize("spoil", ["part", "note", "machine"])
def test_an_unfinished_file_that_does_not_fit_is_begun_anew(tmp_path, spoil):
    path = tmp_path / "lab.tar"
    Writer(path, ABOUT).add("one", "1", [b"first"])
    if spoil == "part":
        (tmp_path / "lab.tar.part").write_bytes(b"")
    if spoil == "note":
        (tmp_path / "lab.tar.part.json").write_text("{cut off")
    about = {"architecture": "arm64"} if spoil == "machine" else ABOUT
    assert not Writer(path, about).has("one", "1")


@pytest.mark.parametrize("spoil", ["cut", "text", "format", "tar"])
def test_a_file_that_is_no_whole_bundle_is_refused(tmp_path, spoil):
    path = tmp_path / "lab.tar"
    write(path, one=b"x" * 5000)
    if spoil == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    if spoil == "text":
        path.write_text("hello")
    if spoil == "format":
        path.write_bytes(path.read_bytes().replace(b'"format": 1', b'"format": 9'))
    if spoil == "tar":
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo("manifest.json"))
    with pytest.raises(UsageError, match="no bundle of this lab") as caught:
        Reader(path)
    assert "invoke bundle" in caught.value.hint


def test_a_bundle_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(UsageError, match="There is no file"):
        Reader(tmp_path / "lab.tar")


def saved(layers, *, names=None):
    """What `docker save` writes, with these layers."""
    buffer = io.BytesIO()
    config = json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": []}}).encode()
    names = names or [f"blobs/sha256/{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        described = json.dumps([{"Config": "config.json", "RepoTags": ["a/b:1"], "Layers": names}]).encode()
        for name, data in [("config.json", config), *zip(names, layers, strict=True), ("manifest.json", described)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def test_a_saved_image_becomes_what_a_registry_keeps():
    layers, target = [b"first layer", gzip.compress(b"second")], io.BytesIO()
    digest = layout.convert(saved(layers), parse("python:3"), target)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        files = {name: archive.extractfile(name).read() for name in archive.getnames()}

    def blob(name):
        number = name.removeprefix("sha256:")
        return files[f"docker/registry/v2/blobs/sha256/{number[:2]}/{number}/data"]

    repository = "docker/registry/v2/repositories/library/python"
    assert files[f"{repository}/_manifests/tags/3/current/link"].decode() == digest
    manifest = json.loads(blob(digest))
    assert hashlib.sha256(blob(digest)).hexdigest() == digest.removeprefix("sha256:")
    assert [blob(layer["digest"]) for layer in manifest["layers"]] == layers
    assert [layer["size"] for layer in manifest["layers"]] == [len(layer) for layer in layers]
    assert [layer["mediaType"].endswith("+gzip") for layer in manifest["layers"]] == [False, True]
    for part in (manifest["config"], *manifest["layers"]):
        assert files[f"{repository}/_layers/{part['digest'].replace(':', '/')}/link"].decode() == part["digest"]


def test_a_layer_that_is_there_twice_is_written_once():
    target = io.BytesIO()
    layout.convert(saved([b"same", b"same"], names=["one/layer.tar", "two/layer.tar"]), parse("python:3"), target)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        assert len(archive.getnames()) == len(set(archive.getnames()))


@pytest.mark.parametrize("data", [b"", b"nonsense" * 1000])
def test_what_docker_did_not_save_is_refused(data):
    with pytest.raises(LabError, match="cannot be read"):
        layout.convert(io.BytesIO(data), parse("python:3"), io.BytesIO())


def test_a_lab_that_runs_on_the_embedded_engine_takes_no_bundle(tmp_path):
    lab = Lab(Console(stream=io.StringIO()), {"LAB_HOME": str(tmp_path)})
    lab.state.put_fact("engine", {"name": "embedded"})
    with pytest.raises(UsageError, match="runs on the embedded engine"):
        lab.up(bundle=str(tmp_path / "lab.tar"))
