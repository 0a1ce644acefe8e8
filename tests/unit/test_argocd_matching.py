"""Which Applications a push concerns."""

from __future__ import annotations

import pytest

from lab.emulator.argocd import globs, semver
from lab.emulator.argocd.matching import (
    files_touched,
    refresh_paths,
    revision_of,
    revision_touched,
    same_url,
    web_url_pattern,
)

WEB = "http://gitlab.lab.test:8929/root/hichat"


@pytest.mark.parametrize(
    "url",
    [
        "http://gitlab.lab.test:8929/root/hichat.git",
        "http://gitlab.lab.test/root/hichat",
        "https://GitLab.Lab.Test:443/Root/HiChat.git",
        "git@gitlab.lab.test:root/hichat.git",
        "ssh://git@ssh.gitlab.lab.test:22/root/hichat",
        "http://some.one@gitlab.lab.test:8929/root/hichat.git",
    ],
)
def test_one_repository_in_many_spellings(url):
    assert web_url_pattern(WEB).match(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://172.18.0.5:8929/root/hichat.git",
        "http://gitlab/root/hichat.git",
        "http://user:password@gitlab.lab.test:8929/root/hichat.git",
        "http://gitlab.lab.test:8929/root/hichat/",
        "http://gitlab.lab.test:8929/root/hichat.git\n",
        "http://gitlab.lab.test:8929/gitlab/root/hichat.git",
        "http://gitlabxlab.test:8929/root/hichat.git",
    ],
)
def test_another_host_path_or_password_never_matches(url):
    assert not web_url_pattern(WEB).match(url)


def test_same_url_is_strict_about_scheme_port_and_trailing_slash():
    assert same_url(" HTTP://h:8929/Root/app.git ", "http://h:8929/root/app")
    assert not same_url("http://h:8929/root/app", "http://h/root/app")
    assert not same_url("http://h/root/app", "https://h/root/app")
    assert not same_url("http://h/root/app", "http://h/root/app/")
    assert not same_url("", "")


def test_revision_is_the_third_part_of_the_ref():
    assert revision_of("refs/heads/feature/x") == "feature/x"
    assert revision_of("k8s-config") == "k8s-config"


@pytest.mark.parametrize(
    ("target", "pushed", "head", "touched"),
    [
        ("k8s-config", "k8s-config", False, True),
        ("refs/heads/k8s-config", "k8s-config", False, True),
        ("k8s-config", "master", True, False),
        ("HEAD", "master", True, True),
        ("", "k8s-config", False, False),
        ("HEAD", "k8s-config", False, False),
        ("v1.*", "v1.4.0", False, True),
        ("^2.0.0", "v1.4.0", False, False),
    ],
)
def test_a_push_concerns_the_revision_it_moves(target, pushed, head, touched):
    assert revision_touched(target, pushed, touched_head=head) is touched


def test_generate_paths_limit_a_refresh_to_changes_below_them():
    paths = refresh_paths(".; /shared/*.yaml ;;", "k8s/app")
    assert paths == ["k8s/app", "shared/*.yaml"]
    assert files_touched(paths, ["k8s/app/web.yaml"])
    assert files_touched(paths, ["shared/a.yaml"])
    assert not files_touched(paths, ["k8s/application.yaml", "shared/deep/a.yaml"])
    assert files_touched([], ["anything"])
    assert files_touched(paths, [])


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("^1.2.3", ["1.2.3", "v1.9.0"], ["1.2.2", "2.0.0", "1.3.0-rc.1"]),
        ("~1.2.3", ["1.2.9"], ["1.3.0"]),
        ("^0.2.1", ["0.2.5"], ["0.3.0", "0.2.0"]),
        (">=1.0.0 <2.0.0", ["1.5.0"], ["2.0.0"]),
        (">= 1.0, < 1.5", ["1.4.9"], ["1.5.0"]),
        ("1.x || 3.x", ["1.0.0", "3.4.5"], ["2.0.0"]),
        ("*", ["0.0.1"], ["master"]),
    ],
)
def test_version_ranges(constraint, inside, outside):
    assert all(semver.satisfies(version, constraint) for version in inside)
    assert not any(semver.satisfies(version, constraint) for version in outside)


def test_highest_version_in_a_range():
    assert semver.highest("1.*", ["v1.2.0", "v1.10.0", "v2.0.0", "nightly"]) == "v1.10.0"
    assert semver.highest("k8s-config", ["v1.0.0"]) is None
    assert semver.highest("v1.0.0", ["v1.0.0"]) is None


@pytest.mark.parametrize(
    ("pattern", "text", "matching"),
    [
        ("{argocd-application.yaml,k3d*}", "k3d-config.yaml", True),
        ("{argocd-application.yaml,k3d*}", "argocd-application.yaml", True),
        ("{argocd-application.yaml,k3d*}", "hichat.yaml", False),
        ("*.yaml", "deep/er.yaml", True),
        ("config/[!a-c]*.yml", "config/d1.yml", True),
        ("config/[!a-c]*.yml", "config/b1.yml", False),
        ("a?c", "abc", True),
        ("{open", "{open", False),
    ],
)
def test_globs_of_include_and_exclude(pattern, text, matching):
    assert globs.matches(pattern, text) is matching
