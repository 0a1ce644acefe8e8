"""The registry as clients see it: skopeo, the token handshake and python-gitlab, against every target."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.needs("registry"),
    pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo (a Debian package)"),
]


@pytest.fixture(scope="module")
def root(target):
    import gitlab

    return gitlab.Gitlab(target.gitlab, private_token=target.root_token, keep_base_url=True, timeout=30)


@pytest.fixture(scope="module")
def project(root) -> Iterator[Any]:
    made = root.projects.create({"name": f"registry-{secrets.token_hex(4)}", "visibility": "private"})
    yield made
    for repository in made.repositories.list(get_all=True):
        repository.delete()
    made.delete()


@pytest.fixture(scope="module")
def repository(request, target) -> str:
    """Where images go: below a project on GitLab; a registry alone takes any name."""
    if not target.gitlab:
        return f"contract-{secrets.token_hex(4)}"
    return str(request.getfixturevalue("project").path_with_namespace)


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Path:
    """A small image as an OCI layout, made with the standard library."""
    import gzip
    import hashlib
    import io
    import tarfile

    folder = tmp_path_factory.mktemp("layout")
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("hello")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    layer = blob(gzip.compress(buffer.getvalue(), mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["/hello"], "Labels": {"made.by": "the contract suite"}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(buffer.getvalue()).hexdigest()]},
    }
    described = blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described,
        "layers": [layer],
    }
    entry = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def skopeo(*arguments: str, fails: bool = False) -> str:
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def image(target, repository, tag: str = "v1", part: str = "") -> str:
    return f"docker://{target.registry}/{repository}{part}:{tag}"


def access(target, *sides: str) -> list[str]:
    """skopeo's options for plain HTTP and, on GitLab, root's login; for ``src-`` and ``dest-`` of a copy."""
    words = [f"--{side}tls-verify=false" for side in sides or ("",)]
    if target.gitlab:
        words += [f"--{side}creds=root:{target.root_token}" for side in sides or ("",)]
    return words


def inspect(target, name: str, *options: str) -> Any:
    return json.loads(skopeo("inspect", *options, *access(target), name))


def get(url: str, **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.fixture(scope="module")
def pushed(target, repository, layout) -> str:
    """The digest of the image that was pushed as ``v1``."""
    destination = image(target, repository)
    skopeo("copy", *access(target, "dest-"), f"oci:{layout}:v1", destination)
    return str(inspect(target, destination)["Digest"])


def test_skopeo_pushes_and_reads_back_what_it_pushed(target, repository, pushed, tmp_path):
    shown = inspect(target, image(target, repository))
    assert shown["Labels"] == {"made.by": "the contract suite"}
    assert "v1" in shown["RepoTags"]
    skopeo("copy", *access(target, "src-"), image(target, repository), f"dir:{tmp_path / 'out'}")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    layer = manifest["layers"][0]["digest"].partition(":")[2]
    assert (tmp_path / "out" / layer).stat().st_size == manifest["layers"][0]["size"]
    assert pushed.startswith("sha256:")


@pytest.mark.usefixtures("pushed")
def test_skopeo_copies_between_repositories_and_converts(target, repository):
    copy = image(target, repository, "v2s2", "/copy")
    skopeo("copy", "--format", "v2s2", *access(target, "src-", "dest-"), image(target, repository), copy)
    raw = inspect(target, copy, "--raw")
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


@pytest.mark.usefixtures("pushed")
def test_skopeo_deletes(target, repository):
    extra = image(target, repository, "doomed", "/doomed")
    skopeo("copy", *access(target, "src-", "dest-"), image(target, repository), extra)
    skopeo("delete", *access(target), extra)
    assert "manifest unknown" in skopeo("inspect", *access(target), extra, fails=True).lower()


@pytest.mark.needs("gitlab")
def test_the_registry_answers_401_with_a_challenge(target):
    status, headers, body = get(f"http://{target.registry}/v2/")
    assert status == 401
    assert headers["WWW-Authenticate"].startswith('Bearer realm="http')
    assert headers["WWW-Authenticate"].endswith('/jwt/auth",service="container_registry"')
    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert json.loads(body)["errors"][0]["code"] == "UNAUTHORIZED"


@pytest.mark.needs("gitlab")
@pytest.mark.usefixtures("pushed")
def test_nobody_pulls_a_private_image_without_credentials(target, repository):
    problem = skopeo("inspect", "--tls-verify=false", "--no-creds", image(target, repository), fails=True)
    assert "403" in problem or "denied" in problem.lower()  # no anonymous token for a private project
    wrong = skopeo("inspect", "--tls-verify=false", "--creds", "root:wrong", image(target, repository), fails=True)
    assert "HTTP Basic: Access denied" in wrong or "unauthorized" in wrong.lower()


@pytest.mark.needs("gitlab")
@pytest.mark.usefixtures("pushed")
def test_a_deploy_token_pulls_and_does_not_push(target, project, repository, layout):
    token = project.deploytokens.create({"name": "pull", "scopes": ["read_registry"]})
    credentials = f"{token.username}:{token.token}"
    assert json.loads(skopeo("inspect", "--tls-verify=false", "--creds", credentials, image(target, repository)))
    other = image(target, repository, "never")
    refused = skopeo(
        "copy", "--dest-tls-verify=false", "--dest-creds", credentials, f"oci:{layout}:v1", other, fails=True
    )
    assert "denied" in refused or "unauthorized" in refused.lower()


@pytest.mark.needs("gitlab")
def test_the_token_service_drops_what_is_not_allowed(target, project):
    token = project.deploytokens.create({"name": "scopes", "scopes": ["read_registry"]})
    basic = base64.b64encode(f"{token.username}:{token.token}".encode()).decode()
    scope = urllib.parse.quote(f"repository:{project.path_with_namespace}:pull,push")
    address = f"{target.gitlab}/jwt/auth?service=container_registry&scope={scope}"
    status, _, body = get(address, Authorization=f"Basic {basic}")
    assert status == 200
    claims = json.loads(body)["token"].split(".")[1]
    access = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["access"]
    assert [entry["actions"] for entry in access] == [["pull"]]
    assert get(address)[0] == 403


@pytest.mark.needs("gitlab")
def test_python_gitlab_lists_what_was_pushed(target, project, pushed):
    repository = next(row for row in project.repositories.list(get_all=True) if row.name == "")
    assert repository.location == f"{target.registry}/{project.path_with_namespace}"
    tag = repository.tags.get("v1")
    assert tag.digest == pushed
    assert tag.total_size > 0
    assert tag.created_at.startswith("2026-01-02T03:04:05")
    assert "v1" in [row.name for row in repository.tags.list(get_all=True)]


@pytest.mark.needs("gitlab")
@pytest.mark.usefixtures("pushed")
def test_python_gitlab_deletes_tags(target, project, repository):
    import gitlab

    for tag in ("one", "two"):
        skopeo(
            "copy", *access(target, "src-", "dest-"), image(target, repository), image(target, repository, tag, "/rest")
        )
    rest = next(row for row in project.repositories.list(get_all=True) if row.name == "rest")
    rest.tags.delete("one")
    with pytest.raises(gitlab.GitlabGetError) as raised:
        rest.tags.get("one")
    assert raised.value.response_code == 404
    assert [row.name for row in rest.tags.list(get_all=True)] == ["two"]
