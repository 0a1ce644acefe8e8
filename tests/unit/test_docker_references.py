"""Names of images, mirrors, the table of pins, and sizes: all of it without a Docker engine."""

import json
import ssl

import pytest
import yaml

from lab import assets
from lab.engines.docker import certificate, images, mirrors, references, sizes
from lab.engines.docker.pins import PINS
from lab.engines.docker.site import Site
from lab.errors import MachineError, UsageError
from lab.settings import Settings
from lab.state import State

DIGEST = "sha256:" + "ab" * 32
GB = sizes.GB


def make(tmp_path, **settings):
    return Site(Settings(**settings), State(tmp_path / ".lab"), {})


@pytest.mark.parametrize(
    ("text", "full", "name"),
    [
        ("python", "docker.io/library/python:latest", "python:latest"),
        ("python:3.13", "docker.io/library/python:3.13", "python:3.13"),
        ("docker.io/python:3.13", "docker.io/library/python:3.13", "python:3.13"),
        ("docker.io/library/python:3.13", "docker.io/library/python:3.13", "python:3.13"),
        ("index.docker.io/gitlab/gitlab-ce:1", "docker.io/gitlab/gitlab-ce:1", "gitlab/gitlab-ce:1"),
        ("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000/a:latest"),
        ("quay.io/argoproj/argocd:v3", "quay.io/argoproj/argocd:v3", "quay.io/argoproj/argocd:v3"),
        (f"a/b@{DIGEST}", "docker.io/a/b:sha256-abababababab", "a/b:sha256-abababababab"),
        (f"a/b:1@{DIGEST}", "docker.io/a/b:1", "a/b:1"),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text, full, name):
    found = references.parse(text)
    assert (f"{found.repository_name}:{found.tag}", found.name) == (full, name)
    assert found.digest == (DIGEST if "@" in text else "")


@pytest.mark.parametrize("text", ["", "Upper/case:1", "a/b:", "a b", "a@sha256:12", "https://x.org/a:1", "a/b:-x"])
def test_what_is_no_reference_is_an_error_that_names_the_key(text):
    with pytest.raises(UsageError, match=r"images\.gitlab"):
        references.parse(text, "images.gitlab")


@pytest.mark.parametrize(
    ("value", "scheme", "host", "prefix"),
    [
        ("mirror.example.com", "https", "mirror.example.com", ""),
        ("http://10.0.0.5:5000", "http", "10.0.0.5:5000", ""),
        ("https://m.example.com/docker.io/", "https", "m.example.com", "docker.io"),
        ("localhost:5000/a/b", "https", "localhost:5000", "a/b"),
    ],
)
def test_a_mirror_has_host_and_prefix(value, scheme, host, prefix):
    found = references.mirrors({"docker.io": value})["docker.io"]
    assert (found.scheme, found.host, found.prefix) == (scheme, host, prefix)


@pytest.mark.parametrize(("name", "value"), [("docker.io", "ftp://x"), ("docker.io", "a b"), ("dockerhub", "x.org")])
def test_a_mirror_that_is_none_is_an_error(name, value):
    with pytest.raises(UsageError, match=name):
        references.mirrors({name: value})


def test_docker_hub_has_more_names_than_one():
    assert list(references.mirrors({"registry-1.docker.io": "x.org"})) == ["docker.io"]


def test_the_table_names_every_image_once_and_by_a_version():
    assert len({pin.name for pin in PINS}) == len(PINS)
    for pin in PINS:
        found = references.parse(pin.image.format(machine="x86_64"))
        assert found.tag != "latest"
        assert pin.download > 0
        assert pin.unpacked >= pin.download


def test_the_table_agrees_with_the_files_that_name_images():
    named = {pin.name: pin.image for pin in PINS if pin.chooser == "project"}
    pipeline, dockerfile = assets.text("gitlab/project/.gitlab-ci.yml"), assets.text("gitlab/project/Dockerfile")
    assert named["docker-cli"] in pipeline
    assert named["docker-dind"] in pipeline
    assert named["python"] in dockerfile
    assert named["mysql"] in assets.text("gitlab/project/k8s/mysql.yaml")
    assert named["redis"] in assets.text("gitlab/project/k8s/redis.yaml")
    assert set(named) == {"docker-cli", "docker-dind", "python", "mysql", "redis"}


def test_nodes_ask_the_registry_over_http_and_docker_hub_through_the_cache(tmp_path):
    found = yaml.safe_load(mirrors.registries_yaml(make(tmp_path)))["mirrors"]
    assert found["gitlab.lab.test:5050"] == {"endpoint": ["http://gitlab.lab.test:5050"]}
    assert found["docker.io"] == {"endpoint": ["https://lab-cache:5000", "https://registry-1.docker.io"]}
    assert found["quay.io"] == {"endpoint": ["https://quay.io"]}
    assert found["public.ecr.aws"] == {"endpoint": ["https://public.ecr.aws"]}


def test_nodes_ask_the_mirrors(tmp_path):
    site = make(tmp_path, mirrors={"docker.io": "http://hub.lan:5000", "quay.io": "m.example.com/quay.io"})
    found = yaml.safe_load(mirrors.registries_yaml(site))["mirrors"]
    assert found["docker.io"] == {"endpoint": ["https://lab-cache:5000", "http://hub.lan:5000"]}
    assert found["quay.io"] == {"endpoint": ["https://m.example.com"], "rewrite": {"^(.*)$": "quay.io/$1"}}
    assert mirrors.cache_upstream(site) == "http://hub.lan:5000"
    assert images.build_arguments(site) == {}


def test_a_registry_that_only_an_override_uses_is_there_too(tmp_path):
    site = make(tmp_path, images={"argocd": "registry.example.com/argocd:v3.5.1"})
    assert "registry.example.com" in yaml.safe_load(mirrors.registries_yaml(site))["mirrors"]
    assert images.node_references(site.settings) == {
        "quay.io/argoproj/argocd:v3.5.1": "registry.example.com/argocd:v3.5.1"
    }


def test_another_k3s_may_come_with_other_images(tmp_path):
    own = {"k3s": "rancher/k3s:v1.36.4-k3s1", "pause": "rancher/mirrored-pause:3.10.2"}
    found = {pin.name: str(wanted) for pin, wanted in images.table(make(tmp_path, images=own).settings, "amd64")}
    assert (found["k3s"], found["pause"]) == tuple(own.values())
    with pytest.raises(UsageError, match="k3s chooses"):
        list(images.table(make(tmp_path, images={"pause": own["pause"]}).settings, "amd64"))


def test_a_prefix_reaches_builds_through_the_dockerfile(tmp_path):
    site = make(tmp_path, mirrors={"docker.io": "m.example.com/docker.io"})
    wanted = "m.example.com/docker.io/library/python:3.13.15-alpine3.24"
    assert images.build_arguments(site) == {"PYTHON_IMAGE": wanted}
    site.state.put_fact(images.STOCK, {"images": {}})
    assert images.build_arguments(site) == {}
    assert json.loads(mirrors.daemon_json(site)) == {"registry-mirrors": ["https://lab-cache:5000"]}


def test_jobs_ask_the_cache_and_then_the_mirror(tmp_path):
    assert json.loads(mirrors.daemon_json(make(tmp_path))) == {"registry-mirrors": ["https://lab-cache:5000"]}
    site = make(tmp_path, mirrors={"docker.io": "hub.lan:5000"}, name="seat-3")
    assert json.loads(mirrors.daemon_json(site)) == {
        "registry-mirrors": ["https://seat-3-cache:5000", "https://hub.lan:5000"]
    }


def test_with_a_stock_the_cache_asks_nobody_and_has_every_registry(tmp_path):
    site = make(tmp_path, mirrors={"docker.io": "m.example.com/docker.io"})
    site.state.put_fact(images.STOCK, {"images": {}})
    found = yaml.safe_load(mirrors.registries_yaml(site))["mirrors"]
    assert mirrors.cache_upstream(site) == ""
    assert all(
        entry["endpoint"][0] == "https://lab-cache:5000" for name, entry in found.items() if "lab.test" not in name
    )
    assert not any("rewrite" in entry for entry in found.values())


@pytest.mark.parametrize(
    ("memory", "name"),
    [(3.8, "small"), (4, "small"), (7.3, "small"), (7.6, "medium"), (8, "medium"), (15.5, "large"), (64, "large")],
)
def test_auto_goes_by_the_memory_that_docker_has(memory, name):
    assert sizes.choose("auto", int(memory * GB)).name == name


def test_too_little_memory_points_to_the_embedded_engine():
    for wanted in ("auto", "small", "large"):
        with pytest.raises(MachineError, match=r"2\.0 GB") as caught:
            sizes.choose(wanted, 2 * GB)
        assert caught.value.exit_code == 3
        assert "--engine embedded" in caught.value.hint


def test_a_size_that_was_asked_for_is_taken():
    assert sizes.choose("small", 64 * GB).name == "small"
    with pytest.raises(UsageError, match="huge"):
        sizes.choose("huge", 64 * GB)


def test_a_larger_size_has_nothing_less():
    columns = [
        [getattr(size, name) for size in sizes.SIZES]
        for name in (
            "memory",
            "puma_workers",
            "sidekiq_concurrency",
            "gitlab_memory",
            "runner_concurrent",
            "node_memory",
        )
    ]
    assert all(column == sorted(column) for column in columns)
    assert not sizes.SIZES[0].argocd_extras
    assert sizes.SIZES[0].runner_concurrent > 1


def test_nodes_take_the_caches_own_certificate(tmp_path):
    configs = yaml.safe_load(mirrors.registries_yaml(make(tmp_path)))["configs"]
    assert configs == {"lab-cache:5000": {"tls": {"insecure_skip_verify": True}}}, "no credentials stand there"


def test_the_caches_certificate_is_made_once_and_names_it(tmp_path):
    site = make(tmp_path)
    first = certificate.of(site)
    assert certificate.of(site) == first
    assert (tmp_path / ".lab/secrets/cache-certificate").stat().st_mode & 0o777 == 0o600
    (tmp_path / "c.pem").write_text(first.key + first.certificate)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "c.pem")
    context = ssl.create_default_context(cadata=first.certificate)
    assert context.cert_store_stats()["x509_ca"] == 1


def test_the_readme_has_the_sums_of_the_table():
    sums = [f"{sum(getattr(pin, what) for pin in PINS) / 1000:.1f} GB" for what in ("download", "unpacked")]
    for readme in ("README.md", "README.zh-CN.md"):
        line = next(line for line in assets.text(readme).splitlines() if "invoke pull --list" in line and "GB" in line)
        assert all(figure in line for figure in sums), (readme, sums)
