"""The distribution API at the wire: uploads, blobs, manifests, tags, referrers, errors, restarts."""

from __future__ import annotations

import json

import pytest
from registry_world import INDEX, MANIFEST, World, descriptor, populate, serving, sha256


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("registry")) as world:
        populate(world)
        yield world


def test_an_upload_in_pieces_becomes_a_blob_that_is_served_whole_and_in_ranges(world: World):
    content = bytes(range(256)) * 4
    started = world.registry("POST", "/root/app/blobs/uploads/", b"")
    assert started.status == 202
    assert started.headers["Range"] == "0-0"
    location = started.headers["Location"]
    first = world.registry("PATCH", location, content[:600], Content_Range="0-599")
    assert (first.status, first.headers["Range"]) == (202, "0-599")
    status = world.registry("GET", location)
    assert (status.status, status.headers["Range"]) == (204, "0-599")
    done = world.registry("PUT", f"{location}?digest={sha256(content)}", content[600:], Content_Range="600-1023")
    assert done.status == 201
    blob = f"/root/app/blobs/{sha256(content)}"
    assert world.registry("GET", blob).body == content
    part = world.registry("GET", blob, Range="bytes=10-19")
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, content[10:20], "bytes 10-19/1024")
    assert world.registry("GET", blob, Range="bytes=-4").body == content[-4:]
    assert world.registry("GET", blob, Range="bytes=5000-").status == 416
    head = world.registry("HEAD", blob)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "1024", b"")
    assert head.headers["Docker-Content-Digest"] == sha256(content)


def test_a_blob_larger_than_one_piece_comes_back_as_it_was_sent(world: World):
    content = b"0123456789abcdef" * 200_000
    digest = world.push_blob("root/app", content)
    assert world.registry("GET", f"/root/app/blobs/{digest}").body == content
    assert (
        world.registry("GET", f"/root/app/blobs/{digest}", Range="bytes=1000000-2999999").body
        == content[10**6 : 3 * 10**6]
    )


def test_a_piece_that_does_not_continue_the_upload_is_refused(world: World):
    location = world.registry("POST", "/root/app/blobs/uploads/", b"").headers["Location"]
    world.registry("PATCH", location, b"abc", Content_Range="0-2")
    again = world.registry("PATCH", location, b"xyz", Content_Range="10-12")
    assert (again.status, again.code) == (416, "RANGE_INVALID")
    done = world.registry("PUT", f"{location}?digest={sha256(b'abcdef')}", b"def")
    assert done.status == 201, "the upload goes on where it was"


def test_content_that_is_not_what_its_digest_says_is_refused(world: World):
    location = world.registry("POST", "/root/app/blobs/uploads/", b"").headers["Location"]
    refused = world.registry("PUT", f"{location}?digest={sha256(b'other')}", b"this")
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert world.registry("GET", f"/root/app/blobs/{sha256(b'this')}").code == "BLOB_UNKNOWN"
    assert world.registry("PUT", f"{location}?digest=sha256:abc", b"").code in {"DIGEST_INVALID", "BLOB_UPLOAD_UNKNOWN"}


def test_an_upload_belongs_to_its_repository_and_can_be_given_up(world: World):
    location = world.registry("POST", "/root/app/blobs/uploads/", b"").headers["Location"]
    foreign = location.replace("/root/app/", "/root/open/")
    assert world.registry("GET", foreign).code == "BLOB_UPLOAD_UNKNOWN"
    assert world.registry("DELETE", location).status == 204
    assert world.registry("PATCH", location, b"x").code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_is_mounted_from_a_repository_that_the_token_may_read(world: World):
    digest = world.push_blob("root/app", b"shared")
    target = f"/root/open/blobs/uploads/?mount={digest}&from=root/app"
    refused = world.registry("POST", target, b"", token=world.token("root/open"))
    assert refused.status == 401
    assert 'scope="repository:root/open:pull,push repository:root/app:pull"' in refused.headers["WWW-Authenticate"]
    both = world.auth("repository:root/open:pull,push", "repository:root/app:pull").json["token"]
    mounted = world.registry("POST", target, b"", token=both)
    assert mounted.status == 201
    assert world.registry("GET", f"/root/open/blobs/{digest}").body == b"shared"
    missing = f"/root/open/blobs/uploads/?mount={sha256(b'nowhere')}&from=root/app"
    assert world.registry("POST", missing, b"", token=both).status == 202


def test_a_manifest_is_served_by_tag_and_digest_and_a_tag_moves(world: World):
    first = world.push_image("root/app/moving", "v1", b"one")
    second = world.push_image("root/app/moving", "v1", b"two")
    assert first != second
    by_tag = world.registry("GET", "/root/app/moving/manifests/v1", Accept=MANIFEST)
    assert by_tag.headers["Docker-Content-Digest"] == second
    assert by_tag.headers["Content-Type"] == MANIFEST
    assert world.registry("GET", f"/root/app/moving/manifests/{first}").status == 200
    head = world.registry("HEAD", "/root/app/moving/manifests/v1")
    assert (head.status, int(head.headers["Content-Length"])) == (200, len(by_tag.body))
    unknown = world.registry("GET", "/root/app/moving/manifests/none")
    assert (unknown.status, unknown.code) == (404, "MANIFEST_UNKNOWN")


def test_a_client_that_reads_only_docker_manifests_is_told_so(world: World):
    world.push_image("root/app/oci", "v1")
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    refused = world.registry("GET", "/root/app/oci/manifests/v1", Accept=docker)
    assert refused.status == 404
    assert "accept header does not support OCI manifests" in refused.json["errors"][0]["message"]
    assert world.registry("GET", "/root/app/oci/manifests/v1", Accept="*/*").status == 200


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"layers": [descriptor("x", b"never pushed")]}, 400, "MANIFEST_BLOB_UNKNOWN"),
        ({"layers": None}, 400, "MANIFEST_INVALID"),
        ({"schemaVersion": 1}, 400, "MANIFEST_INVALID"),
        ({"mediaType": INDEX}, 400, "MANIFEST_INVALID"),
        ({"subject": "text"}, 400, "MANIFEST_INVALID"),
    ],
)
def test_a_manifest_that_does_not_hold_together_is_refused(world: World, change, status, code):
    config = b"{}"
    world.push_blob("root/app", config)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor("c", config), "layers": [], **change}
    body = json.dumps(document).encode()
    answer = world.registry("PUT", "/root/app/manifests/bad", body, Content_Type=MANIFEST)
    assert (answer.status, answer.code) == (status, code)
    assert world.registry("GET", "/root/app/manifests/bad").status == 404


def test_a_manifest_must_have_the_digest_it_is_pushed_under(world: World):
    answer = world.registry("PUT", f"/root/app/manifests/{sha256(b'x')}", b"{}", Content_Type=MANIFEST)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    huge = world.registry("PUT", "/root/app/manifests/huge", b" " * (4 << 20) + b"{}", Content_Type=MANIFEST)
    assert huge.status == 413
    assert world.registry("PUT", "/root/app/manifests/-no", b"{}", Content_Type=MANIFEST).code == "TAG_INVALID"


def test_an_index_needs_its_manifests(world: World):
    digest = world.push_image("root/app/many", "one")
    size = len(world.registry("GET", f"/root/app/many/manifests/{digest}").body)

    def index(child: str) -> bytes:
        entry = {"mediaType": MANIFEST, "digest": child, "size": size}
        return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()

    put = lambda body: world.registry("PUT", "/root/app/many/manifests/all", body, Content_Type=INDEX)  # noqa: E731
    assert put(index(sha256(b"absent"))).code == "MANIFEST_BLOB_UNKNOWN"
    assert put(index(digest)).status == 201


def test_tags_are_listed_in_order_a_page_at_a_time(world: World):
    for tag in ("b", "a", "C", "d"):
        world.push_image("root/app/sorted", tag)
    everything = world.registry("GET", "/root/app/sorted/tags/list").json
    assert everything == {"name": "root/app/sorted", "tags": ["C", "a", "b", "d"]}
    page = world.registry("GET", "/root/app/sorted/tags/list?n=2")
    assert page.json["tags"] == ["C", "a"]
    assert page.headers["Link"] == '</v2/root/app/sorted/tags/list?last=a&n=2>; rel="next"'
    last = world.registry("GET", "/root/app/sorted/tags/list?n=2&last=a")
    assert (last.json["tags"], "Link" in last.headers) == (["b", "d"], False)
    assert world.registry("GET", "/root/app/sorted/tags/list?n=x").code == "PAGINATION_NUMBER_INVALID"
    assert world.registry("GET", "/root/app/never/tags/list").code == "NAME_UNKNOWN"


def test_deleting_a_manifest_takes_its_tags_and_deleting_a_tag_does_not_take_the_manifest(world: World):
    digest = world.push_image("root/app/gone", "x")
    world.push_image("root/app/gone", "y")
    assert world.registry("DELETE", "/root/app/gone/manifests/x").status == 202
    assert world.registry("GET", "/root/app/gone/tags/list").json["tags"] == ["y"]
    assert world.registry("GET", f"/root/app/gone/manifests/{digest}").status == 200
    assert world.registry("DELETE", f"/root/app/gone/manifests/{digest}").status == 202
    assert world.registry("GET", "/root/app/gone/tags/list").json["tags"] == []
    assert world.registry("DELETE", f"/root/app/gone/manifests/{digest}").code == "MANIFEST_UNKNOWN"


def test_what_refers_to_a_manifest_is_listed_and_filtered(world: World):
    digest = world.push_image("root/app/signed", "v1")
    subject = {"mediaType": MANIFEST, "digest": digest, "size": 1}
    signature = world.push_image("root/app/signed", "sig", b"s", subject=subject, artifactType="application/x-sig")
    world.push_image("root/app/signed", "sbom", b"b", subject=subject, annotations={"a": "b"})
    found = world.registry("GET", f"/root/app/signed/referrers/{digest}")
    assert found.headers["Content-Type"] == INDEX
    assert len(found.json["manifests"]) == 2
    filtered = world.registry("GET", f"/root/app/signed/referrers/{digest}?artifactType=application/x-sig")
    assert [entry["digest"] for entry in filtered.json["manifests"]] == [signature]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    world.registry("DELETE", f"/root/app/signed/manifests/{signature}")
    left = world.registry("GET", f"/root/app/signed/referrers/{digest}").json["manifests"]
    assert [entry.get("annotations") for entry in left] == [{"a": "b"}]


def test_the_catalogue_is_for_administrators(world: World):
    world.push_image("root/app/listed", "v1")
    admin = world.auth("registry:catalog:*").json["token"]
    shown = world.registry("GET", "/_catalog?n=1000", token=admin)
    assert "root/app/listed" in shown.json["repositories"]
    refused = world.registry("GET", "/_catalog", token=world.token("root/app"))
    assert (refused.status, 'scope="registry:catalog:*"' in refused.headers["WWW-Authenticate"]) == (401, True)


def test_names_and_methods_that_do_not_exist_are_errors_of_the_specification(world: World):
    assert world.registry("GET", "/root/App/tags/list", token=world.token("root/app")).code == "NAME_INVALID"
    assert world.registry("PATCH", "/root/app/manifests/x", b"").code == "UNSUPPORTED"
    unknown = world.registry("GET", "/root/app/unheard-of")
    assert (unknown.status, unknown.json["errors"][0]["message"].startswith("not emulated:")) == (404, True)


def test_images_and_unfinished_uploads_survive_a_restart(tmp_path):
    with serving(tmp_path) as before:
        populate(before)
        digest = before.push_image("root/app", "v1")
        location = before.registry("POST", "/root/app/blobs/uploads/", b"").headers["Location"]
        before.registry("PATCH", location, b"first ")
        old = before.token("root/app")
    ports = int(before.gitlab.rpartition(":")[2]), int(before.host.rpartition(":")[2])
    with serving(tmp_path, *ports) as after:
        found = after.registry("GET", "/root/app/manifests/v1", token=old)
        assert found.headers["Docker-Content-Digest"] == digest, "and the signing key is the same"
        done = after.registry("PUT", f"{location}?digest={sha256(b'first second')}", b"second")
        assert done.status == 201
        assert after.api("GET", "/projects/root%2Fapp/registry/repositories").json[0]["path"] == "root/app"
