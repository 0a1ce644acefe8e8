import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from lab.masking import MASKED, Mask

SECRET = 'hunter2!x/y "z"ü'
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJsYWIifQ.c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "written",
    [
        SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), quote(SECRET, safe="").lower(),
        json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), json.dumps(json.dumps({"a": SECRET})),
        html.escape(SECRET), encoded(SECRET), base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)  # fmt: skip
def test_a_known_value_goes_in_every_form(written):
    shown = Mask([SECRET])(f"before {written} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for part in ("hunter2", encoded(SECRET)[:12], "%22z%22"):
        assert part not in shown


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "root:"])
@pytest.mark.parametrize("after", ["", "\n", ":x", "xyz"])
def test_a_known_value_goes_at_every_offset_of_base64(before, after):
    value = "S3cretValue"
    shown = Mask([value])(encoded(before + value + after))
    assert MASKED in shown
    left = shown.replace(MASKED, "").rstrip("=")
    assert len(left) <= len(encoded(before + after).rstrip("=")) + 2, "but for digits shared with the neighbours"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        *((f"x {prefix}-t1_aBcDeFgHiJ.01.xyz y", "aBcDeFgHiJ") for prefix in ("glpat", "gldt", "glrt", "glcbt")),
        (f"token {JWT} end", "c2lnbmF0dXJl"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("> authorization: Basic Zm9vOmJhcg==", "Zm9vOmJhcg"),
        ('{"Authorization": ["Basic Zm9vOmJhcg=="]}', "Zm9vOmJhcg"),
        (json.dumps(json.dumps({"Authorization": "Bearer abc.def"})), "abc.def"),
        ("curl -H 'PRIVATE-TOKEN: mine'", "mine"),
        ("X-Gitlab-Token: mine", "mine"),
        ("cloned http://oauth2:mine@gitlab.lab.test/x.git", "mine"),
        ("https://me:one@mine@git.example.com/x", "mine"),
        ("GET /api?private_token=mine&x=1", "mine"),
        (PEM, "MIIEow"),
        (PEM[:50], "MIIEow"),
        ("x\n" + "QUJD" * 16 + "\nQUJDREVGR0hJSktM\n-----END PRIVATE KEY-----\n", "QUJDQUJD"),
        (encoded(PEM), encoded(PEM)[40:60]),
        ("client-key-data: abcdef", "abcdef"),
        ('{"auths": {"r:5050": {"auth": "Zm9vOmJhcg=="}}}', "Zm9vOmJhcg"),
        (".dockerconfigjson: " + encoded('{"auths":{"r":{"auth":"Zm9vOmJhcg=="}}}'), "eyJhdXRocyI6"),
        ("GITLAB_ROOT_PASSWORD=mine", "mine"),
        ("gitlab_rails['initial_root_password'] = \"mine\"", "mine"),
        ("{'password' => 'mine'}", "mine"),
        ('"k3d.cluster.token": "mine"', "mine"),
        ('"GITLAB_ROOT_PASSWORD=mine",', "mine"),
        (encoded("glpat-abcdefghijklm"), encoded("glpat-abcdefghijklm")),
    ],
)
def test_what_looks_like_a_secret_goes(text, secret):
    assert secret in text
    shown = Mask()(text)
    assert secret not in shown
    assert MASKED in shown


@pytest.mark.parametrize(
    "text",
    [
        "chore: update image to 1a2b3c4d [skip ci]",
        "sha256:" + "d" * 64,
        "token.config-branch ok  Token lab-config-writer as protected variable CONFIG_BRANCH_TOKEN",
        "Secret gitlab-registry, secretName: gitlab-registry, automountServiceAccountToken: false",
        "glibc-2.36 in /usr/lib/python3/dist-packages/gitlab and 9fb1fdc3" + "0" * 32,
        "http://127.0.0.1:8929/root/hichat by lab@lab.test",
        '{"Authorization": null, "token": null}',
        "http://127.0.0.1:8929/root, mail lab@lab.test",
    ],
)
def test_what_is_no_secret_stays(text):
    assert Mask()(text) == text


def test_a_login_of_several_lines_counts_line_by_line():
    mask = Mask(["username=root\npassword=mine-alone\n"])
    assert mask("user root, mine-alone") == f"user root, {MASKED}"


def test_a_value_that_is_too_short_makes_no_holes():
    assert Mask(["", "a", "on"])("a button on") == "a button on"
