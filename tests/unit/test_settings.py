from pathlib import Path

import pytest

from lab import settings
from lab.errors import UsageError


@pytest.fixture
def load(tmp_path):
    def read(text: str = "", **environ: str) -> settings.Settings:
        (tmp_path / "lab.yaml").write_text(text)
        return settings.load(tmp_path / "lab.yaml", environ)

    return read


def test_defaults_hold_without_a_file(tmp_path):
    assert settings.load(tmp_path / "absent.yaml", {}) == settings.Settings()


def test_the_file_beats_the_default_and_a_variable_beats_the_file(load):
    loaded = load("project: {branch: trunk, deployment: web}\nports: {app: 9000}", LAB_PROJECT_BRANCH="main")
    assert (loaded.project.branch, loaded.project.deployment, loaded.ports.app) == ("main", "web", 9000)


def test_a_variable_that_is_no_yaml_is_a_text(load):
    assert load(LAB_PROJECT_BRANCH="[up").project.branch == "[up"
    with pytest.raises(UsageError, match=r"ports\.app must be a whole number"):
        load(LAB_PORTS_APP="[9")


def test_a_variable_is_typed_like_the_file(load):
    assert load(LAB_PORTS_APP="9001").ports.app == 9001


def test_a_source_is_relative_to_the_file(load, tmp_path):
    assert load("project: {source: ../mine}").project.source == (tmp_path / "../mine").resolve()


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("projekt: {}", "unknown key projekt", "project?"),
        ("project: {brnch: x}", "unknown key project.brnch", "project.branch?"),
        ("ports: {gitlab: abc}", "ports.gitlab must be a whole number", ""),
        ("ports: {gitlab: true}", "ports.gitlab must be a whole number", ""),
        ("ports: {gitlab: 0}", "ports.gitlab must be a whole number above 0", ""),
        ("ports: {gitlab: 70000}", "ports.gitlab must be a port", ""),
        ("ports: 3", "ports must be a group of keys", ""),
        ("engine: podman", "engine must be one of auto, docker, embedded", ""),
        ("timeouts: {sync: -1}", "timeouts.sync must be a number above 0", ""),
        ("project: {variables: {A: 1}}", "project.variables must be names and texts", ""),
        ("project: {variables: hello}", "project.variables must be", ""),
        ("project: {path: hichat}", "project.path must be a group and a name", ""),
        ("project: {branch: k8s-config}", "project.branch and project.config_branch are both k8s-config", "differ"),
        ("ports: {gitlab: 5050}", "ports.gitlab and ports.registry are both 5050", ""),
        ("name: Lab", "name must be a DNS label", ""),
        ("name: a23456789012345678901234x", "name must be a DNS label of at most 24", ""),
        ("domain: lab_test", "domain must be a domain", ""),
        ("domain: dev.localhost", "domain must be a domain in lower case such as lab.test, not localhost", ""),
        ("project: {namespace: my_ns}", "project.namespace must be a DNS label", ""),
        ("project: {deployment: -web}", "project.deployment must be a DNS label", ""),
        ("project: {health: health}", "project.health must be a path that begins with /", ""),
        ("mirrors: {dockerhub: mirror.example.com}", "mirrors.dockerhub must be a registry's host", ""),
        ("mirrors: {docker.io: 'ftp://mirror'}", "mirrors.docker.io must be a mirror as [http://]HOST", ""),
        ("mirrors: {docker.io: 'mirror.example.com/a b'}", "mirrors.docker.io must be a mirror", ""),
        ("- a\n- b", "must hold keys and values, not a list", ""),
        ("a: [", "not valid YAML", ""),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(load, text, problem, hint):
    with pytest.raises(UsageError) as caught:
        load(text)
    assert problem in caught.value.problem
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "name: a2345678901234567890123x",
        "domain: test",
        "project: {health: /}",
        "mirrors: {docker.io: 'http://10.0.0.5:5000/hub', 'reg.corp:5000': m.example.com, localhost: a}",
    ],
)
def test_a_text_of_the_right_form_is_taken(load, text):
    assert load(text) != settings.Settings()


def test_an_empty_key_or_group_is_as_good_as_none(load):
    assert load("ports:\nproject: {image: , variables: }\nengine:\n") == settings.Settings()


def test_a_wrong_variable_is_named_without_its_value(load):
    with pytest.raises(UsageError) as caught:
        load("project: {variables: {TOKEN: s3cret, PIN: 4711}}")
    assert caught.value.evidence == "no text: PIN"


def test_a_file_with_a_byte_order_mark_is_read_and_one_that_is_no_text_refused(tmp_path):
    file = tmp_path / "lab.yaml"
    file.write_bytes(b"\xef\xbb\xbfengine: embedded\r\n")
    assert settings.load(file, {}).engine == "embedded"
    file.write_bytes(b"engine: \xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        settings.load(file, {})


def test_a_variable_does_not_hide_a_wrong_file(load):
    with pytest.raises(UsageError, match="ports must be a group"):
        load("ports: 3", LAB_PORTS_APP="9000")


def test_every_setting_can_be_set_to_its_own_default_by_a_variable(load):
    skip = {"project.source", "project.image", "project.variables", "mirrors", "images", "downloads.base"}
    for key in list(settings.keys()):
        if key in skip:
            continue
        value: object = settings.Settings()
        for part in key.split("."):
            value = getattr(value, part)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        assert load(**{"LAB_" + key.replace(".", "_").upper(): text}) == settings.Settings(), key


def test_every_setting_is_in_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert [key for key in list(settings.keys()) if f"`{key}`" not in readme] == []
