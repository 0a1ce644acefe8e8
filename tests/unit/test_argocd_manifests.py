"""Objects from the files of a repository."""

from __future__ import annotations

import base64

import pytest

from lab.emulator.argocd import manifests
from lab.emulator.argocd.credentials import find
from lab.emulator.argocd.errors import SourceError
from lab.emulator.argocd.refs import parse

CONFIG_MAP = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: 2026-11-21}\n"


def secret(kind, **data):
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    return {"metadata": {"labels": {"argocd.argoproj.io/secret-type": kind}}, "data": encoded}


def test_only_manifests_of_the_folder_itself_unless_recursing():
    files = {"a.yaml": CONFIG_MAP, "deep/b.yaml": CONFIG_MAP.replace(b"name: a", b"name: b"), "README.md": b"kind: x"}
    assert [obj["metadata"]["name"] for obj in manifests.load(files, {})] == ["a"]
    assert [obj["metadata"]["name"] for obj in manifests.load(files, {"recurse": True})] == ["a", "b"]
    assert manifests.load(files, {"exclude": "*.yaml"}) == []
    assert len(manifests.load(files, {"recurse": True, "include": "deep/*"})) == 1


def test_several_documents_lists_and_dates():
    body = CONFIG_MAP + b"---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret}\n"
    first, second = manifests.load({"a.yml": body}, {})
    assert first["data"]["day"] == "2026-11-21"
    assert second["kind"] == "Secret"


def test_a_broken_manifest_is_an_error_and_other_yaml_is_not():
    with pytest.raises(SourceError, match=r'Failed to unmarshal "a\.yaml"') as caught:
        manifests.load({"k8s/a.yaml": CONFIG_MAP + b"---\n{{ broken"}, {"recurse": True})
    assert caught.value.condition().startswith(
        "Failed to load target state: failed to generate manifest for source 1 of 1: "
        "rpc error: code = FailedPrecondition desc = Failed to unmarshal"
    )
    assert manifests.load({"values.yaml": b"image: x\nreplicas: [1"}, {}) == []
    assert manifests.load({"a.yaml": b"# +argocd:skip-file-rendering\n" + CONFIG_MAP}, {}) == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b\n",
            "line 4: did not find expected ',' or '}'",
        ),
        (
            CONFIG_MAP + b"---\napiVersion: v1\nkind: X\nmetadata:\n  a: b: c\n",
            "line 4: mapping values are not allowed",
        ),
        (CONFIG_MAP + b"---\na: 1\n\tb: 2\n", "line 2: found "),
    ],
)
def test_a_broken_manifest_is_explained_in_gos_words(body, text):
    with pytest.raises(SourceError) as caught:
        manifests.load({"a.yaml": body}, {})
    assert f"failed to unmarshal manifest: error converting YAML to JSON: yaml: {text}" in str(caught.value)


def test_json_files_hold_one_object():
    assert manifests.load({"a.json": b'{"kind": "Secret", "apiVersion": "v1"}'}, {})[0]["kind"] == "Secret"
    with pytest.raises(SourceError, match="Found multiple objects"):
        manifests.load({"a.json": b"{}{}"}, {})


def test_source_types():
    assert manifests.source_type({}, {"kustomization.yaml": b""}) == "Kustomize"
    assert manifests.source_type({}, {"Chart.yaml": b""}) == "Helm"
    assert manifests.source_type({"directory": {"recurse": True}}, {"Chart.yaml": b""}) == "Directory"
    assert manifests.source_type({"helm": {"releaseName": "x"}}, {}) == "Helm"


def test_a_repository_secret_serves_exactly_its_url():
    secrets = [secret("repository", url="http://h:8929/root/app.git", username="argocd", password="gldt-x")]
    found = find(secrets, "http://h:8929/root/app.git")
    assert (found.username, found.password) == ("argocd", "gldt-x")
    assert found.authorization() == "Basic " + base64.b64encode(b"argocd:gldt-x").decode()
    assert find(secrets, "http://h/root/app.git").authorization() is None
    assert "gldt-x" not in repr(found)


def test_credential_templates_match_by_the_longest_prefix():
    secrets = [
        secret("repo-creds", url="http://h/", username="all", password="1"),
        secret("repo-creds", url="http://h/root", username="root", password="2"),
        secret("repository", url="http://h/root/app.git"),
    ]
    assert find(secrets, "http://h/root/app.git").username == "root"
    assert find(secrets, "http://h/other/app.git").username == "all"
    assert find(secrets, "http://elsewhere/app.git").authorization() is None


def test_password_without_a_name_is_sent_as_access_token():
    found = find([secret("repository", url="http://h/a", password="t")], "http://h/a")
    assert base64.b64decode(found.authorization().split()[1]) == b"x-access-token:t"


def _line(text):
    return f"{len(text) + 4:04x}{text}".encode()


SHA, OTHER, TAG, PEELED = ("1" * 40, "2" * 40, "3" * 40, "4" * 40)
ADVERTISEMENT = (
    _line("# service=git-upload-pack\n")
    + b"0000"
    + _line(f"{SHA} HEAD\0multi_ack symref=HEAD:refs/heads/master agent=git/2\n")
    + _line(f"{OTHER} refs/heads/k8s-config\n")
    + _line(f"{SHA} refs/heads/master\n")
    + _line(f"{TAG} refs/tags/v1.2.0\n")
    + _line(f"{PEELED} refs/tags/v1.2.0^{{}}\n")
    + b"0000"
)


def test_revisions_are_resolved_from_an_advertisement():
    refs = parse(ADVERTISEMENT)
    assert refs.resolve("k8s-config") == OTHER
    assert refs.resolve("refs/heads/k8s-config") == OTHER
    assert refs.resolve("HEAD") == refs.resolve("") == SHA
    assert refs.resolve("v1.*") == refs.resolve("v1.2.0") == PEELED
    assert refs.resolve("a" * 40) == "a" * 40
    with pytest.raises(SourceError, match="unable to resolve 'nope' to a commit SHA"):
        refs.resolve("nope")
    with pytest.raises(SourceError, match="not emulated"):
        refs.resolve("abcdef1")


def test_an_answer_that_is_no_advertisement_is_an_error():
    with pytest.raises(SourceError, match="not a git server"):
        parse(b"<!doctype html>")
