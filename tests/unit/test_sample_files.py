"""The files that learners read: the templates render and parse, the manifests keep their promises."""

from __future__ import annotations

import ast
import re
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab import assets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "gitlab" / "project"

VALUES: dict[str, dict[str, object]] = {
    "gitlab/gitlab.rb": {
        "external_url": "http://gitlab.lab.test:8929",
        "registry_url": "http://gitlab.lab.test:5050",
        "puma_workers": 0,
        "sidekiq_concurrency": 10,
        "shared_buffers": "128MB",
    },
    "runner/config.toml": {
        "name": "lab",
        "url": "http://gitlab.lab.test:8929",
        "token": "glrt-x",
        "executor": "docker",
        "concurrent": 4,
        "environment": "[]",
        "image": "docker:29.7.2-cli",
        "helper": "gitlab-runner-helper:x86_64-v19.3.0",
        "network": "lab",
        "extra_hosts": '["gitlab.lab.test:172.31.0.10"]',
        "volumes": '["/cache", "lab-dind:/etc/docker:ro"]',
    },
    "gitlab/root-token.rb": {"name": "lab", "token": "glpat-x"},
    "k8s/k3d.yaml": {
        "name": "lab",
        "label": "lab",
        "agents": 0,
        "image": "rancher/k3s:v1.34.9-k3s1",
        "network": "lab",
        "registries": "/home/learner/lab/.lab/registries.yaml",
        "kubernetes_port": 6550,
        "app_port": 8088,
        "argocd_port": 8443,
        "timeout": "300s",
    },
    "k8s/coredns.yaml": {"domain": "lab.test"},
    "k8s/argocd/parameters.yaml": {},
    "k8s/argocd/ingress.yaml": {"webhook_host": "k3d-lab-serverlb"},
    "k8s/argocd/application.yaml": {
        "name": "hichat",
        "namespace": "hichat",
        "repo_url": "http://gitlab.lab.test:8929/root/hichat.git",
        "config_branch": "k8s-config",
        "path": "k8s",
        "exclude": "{argocd-application.yaml,k3d*}",
    },
    "k8s/argocd/repository.yaml": {
        "name": "hichat",
        "repo_url": "http://gitlab.lab.test:8929/root/hichat.git",
        "username": "argocd",
        "password": "gldt-x",
    },
    "k8s/argocd/settings.yaml": {"argocd_url": "https://localhost:8443", "webhook_secret": "12345678"},
}


def rendered(path: str) -> str:
    return assets.render(path, **VALUES[path])


def documents(text: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(text) if document]


def manifests() -> list[dict]:
    return [doc for path in sorted((PROJECT / "k8s").glob("*.yaml")) for doc in documents(path.read_text())]


def manifest(kind: str, name: str) -> dict:
    (found,) = [doc for doc in manifests() if (doc["kind"], doc["metadata"]["name"]) == (kind, name)]
    return found


def test_every_file_beside_the_project_is_a_known_template() -> None:
    folders = [ROOT / "k8s", ROOT / "runner"]
    found = {str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert found | {"gitlab/gitlab.rb", "gitlab/root-token.rb"} == set(VALUES)


@pytest.mark.parametrize("path", VALUES)
def test_a_template_asks_for_exactly_its_values_and_names_them_at_its_head(path: str) -> None:
    text = assets.text(path)
    names = {match["braced"] for match in string.Template.pattern.finditer(text) if match["braced"]}
    assert names == set(VALUES[path])
    head = re.match(r"(#.*\n)+", text)
    assert head
    assert [name for name in names if not re.search(rf"\b{name}\b", head[0])] == []
    assert "$" not in rendered(path)


def test_the_application_is_what_the_webhook_and_the_secret_match() -> None:
    (app,) = documents(rendered("k8s/argocd/application.yaml"))
    (secret,) = documents(rendered("k8s/argocd/repository.yaml"))
    assert app["spec"]["source"] == {
        "repoURL": secret["stringData"]["url"],
        "targetRevision": "k8s-config",
        "path": "k8s",
        "directory": {"exclude": "{argocd-application.yaml,k3d*}"},
    }
    assert app["spec"]["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
    assert secret["metadata"]["labels"]["argocd.argoproj.io/secret-type"] == "repository"
    assert {app["metadata"]["namespace"], secret["metadata"]["namespace"]} == {"argocd"}


def test_a_secret_that_looks_like_a_number_stays_text() -> None:
    _, secret = documents(rendered("k8s/argocd/settings.yaml"))
    assert secret["stringData"] == {"webhook.gitlab.secret": "12345678"}


def test_polling_stays_at_its_usual_interval() -> None:
    settings, _ = documents(rendered("k8s/argocd/settings.yaml"))
    assert settings["data"]["timeout.reconciliation"] == "120s"


def test_the_runner_is_ready_for_docker_in_docker() -> None:
    (runner,) = tomllib.loads(rendered("runner/config.toml"))["runners"]
    assert (runner["url"], runner["token"], runner["executor"]) == ("http://gitlab.lab.test:8929", "glrt-x", "docker")
    docker = runner["docker"]
    assert docker["privileged"] is True
    assert docker["network_mode"] == "lab"
    assert docker["extra_hosts"] == ["gitlab.lab.test:172.31.0.10"]
    assert docker["image"] == yaml.safe_load((PROJECT / ".gitlab-ci.yml").read_text())["default"]["image"]


def test_the_runner_of_the_embedded_engine_parses_too() -> None:
    values = {**VALUES["runner/config.toml"], "executor": "shell", "network": "", "extra_hosts": "[]"}
    (runner,) = tomllib.loads(assets.render("runner/config.toml", **values))["runners"]
    assert runner["executor"] == "shell"


def test_the_cluster_publishes_on_loopback_only_and_leaves_the_users_kubeconfig_alone() -> None:
    (k3d,) = documents(rendered("k8s/k3d.yaml"))
    assert k3d["kubeAPI"] == {"host": "127.0.0.1", "hostIP": "127.0.0.1", "hostPort": "6550"}
    assert [port["port"] for port in k3d["ports"]] == ["127.0.0.1:8088:80", "127.0.0.1:8443:443"]
    assert k3d["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
    assert k3d["options"]["k3d"]["timeout"] == "300s"
    arguments = {entry["arg"]: entry["nodeFilters"] for entry in k3d["options"]["k3s"]["extraArgs"]}
    assert arguments["--disable-default-registry-endpoint"] == ["server:*", "agent:*"]
    assert k3d["options"]["runtime"]["labels"] == [{"label": "gitops-lab=lab", "nodeFilters": ["all"]}]


def test_argocd_is_behind_tls_and_its_webhook_is_not() -> None:
    pages, webhook = documents(rendered("k8s/argocd/ingress.yaml"))
    entry = "traefik.ingress.kubernetes.io/router.entrypoints"
    assert pages["metadata"]["annotations"][entry] == "websecure"
    assert "host" not in pages["spec"]["rules"][0]
    assert webhook["metadata"]["annotations"][entry] == "web"
    (rule,) = webhook["spec"]["rules"]
    assert (rule["host"], rule["http"]["paths"][0]["path"]) == ("k3d-lab-serverlb", "/api/webhook")
    assert manifest("Ingress", "hichat")["metadata"]["annotations"][entry] == "web"


def test_names_of_the_domain_go_on_to_the_nodes_resolver() -> None:
    (custom,) = documents(rendered("k8s/coredns.yaml"))
    assert list(custom["data"]) == ["lab.server"]  # k3s imports *.server
    block = custom["data"]["lab.server"]
    assert block.startswith("lab.test:53 {")
    assert "forward . /etc/resolv.conf" in block
    assert "cache" not in block


@pytest.mark.skipif(not shutil.which("ruby"), reason="no ruby here")
def test_gitlabs_configuration_is_ruby() -> None:
    subprocess.run(["ruby", "-c"], input=rendered("gitlab/gitlab.rb"), text=True, check=True, timeout=30)


def test_gitlab_is_set_up_for_a_small_machine_and_immediate_settings() -> None:
    text = rendered("gitlab/gitlab.rb")
    for line in (
        "external_url 'http://gitlab.lab.test:8929'",
        "registry_external_url 'http://gitlab.lab.test:5050'",
        "puma['worker_processes'] = 0",
        "prometheus_monitoring['enable'] = false",
        "gitlab_rails['application_settings_cache_seconds'] = 0",
    ):
        assert line in text.splitlines()


def test_the_project_holds_what_the_loop_needs_and_no_template() -> None:
    names = {str(path.relative_to(PROJECT)) for path in PROJECT.rglob("*") if path.is_file()}
    assert {"Dockerfile", ".gitlab-ci.yml", "k8s/hichat.yaml", "k8s/mysql.yaml", "hichat/__main__.py"} <= names
    for path in (PROJECT / "k8s").iterdir():
        assert "${" not in path.read_text(), path


def test_no_host_of_the_lab_stands_in_the_project() -> None:
    for path in PROJECT.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text()
            assert not re.search(r"lab\.test|:5050|:8929|127\.0\.0\.1", text), path


def test_namespace_and_volume_outlive_their_files() -> None:
    for kind, name in (("Namespace", "hichat"), ("PersistentVolumeClaim", "mysql")):
        options = manifest(kind, name)["metadata"]["annotations"]["argocd.argoproj.io/sync-options"]
        assert set(options.split(",")) == {"Prune=false", "Delete=false"}


def test_everything_lives_in_the_namespace() -> None:
    assert {doc["metadata"]["namespace"] for doc in manifests() if doc["kind"] != "Namespace"} == {"hichat"}


def test_the_app_is_replaced_without_a_gap() -> None:
    spec = manifest("Deployment", "hichat")["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["revisionHistoryLimit"] == 5
    pod = spec["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "gitlab-registry"}]
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
    assert {"cpu", "memory"} == set(container["resources"]["limits"])
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"


def test_exactly_one_line_takes_the_image() -> None:
    lines = (PROJECT / "k8s" / "hichat.yaml").read_text().splitlines()
    assert [line.strip() for line in lines if re.search(r"image:.*hichat", line)] == ['image: "hichat:latest"']


def test_every_selector_finds_its_pods_and_every_port_its_name() -> None:
    deployments = {
        doc["metadata"]["name"]: doc["spec"]["template"] for doc in manifests() if doc["kind"] == "Deployment"
    }
    for doc in manifests():
        if doc["kind"] != "Service":
            continue
        template = deployments[doc["metadata"]["name"]]
        assert doc["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in doc["spec"]["ports"]} <= ports


def test_whatever_a_pod_mounts_or_reads_is_there() -> None:
    pod = manifest("Deployment", "mysql")["spec"]["template"]["spec"]
    claims = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    ]
    maps = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    assert manifest("PersistentVolumeClaim", claims[0])
    assert "CREATE TABLE" in manifest("ConfigMap", maps[0])["data"]["01-schema.sql"]
    keys = [var["valueFrom"]["secretKeyRef"] for var in pod["containers"][0]["env"] if "valueFrom" in var]
    assert {ref["key"] for ref in keys} == set(manifest("Secret", "mysql")["stringData"])


def test_the_ingress_takes_every_host() -> None:
    (rule,) = manifest("Ingress", "hichat")["spec"]["rules"]
    assert "host" not in rule
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert path["backend"]["service"]["name"] == "hichat"


def test_every_image_is_pinned() -> None:
    images = re.findall(r"^(?:FROM |ARG PYTHON_IMAGE=)([^$\s]+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 1
    for doc in manifests():
        if doc["kind"] == "Deployment" and doc["metadata"]["name"] != "hichat":
            images += [container["image"] for container in doc["spec"]["template"]["spec"]["containers"]]
    pipeline = yaml.safe_load((PROJECT / ".gitlab-ci.yml").read_text())
    images += [pipeline["default"]["image"], pipeline["build"]["services"][0]["name"]]
    for image in images:
        assert image == "scratch" or re.search(r":\d+\.\d+\.\d+", image), image


def test_the_dockerfile_is_multi_stage_without_run_and_without_root() -> None:
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    words = [line.split()[0] for line in lines if line and not line.startswith(("#", " "))]
    assert words.count("FROM") == 2
    assert "RUN" not in words
    assert "USER 10001:10001" in lines
    assert 'CMD ["python", "-m", "hichat"]' in lines


def test_the_app_imports_the_standard_library_only() -> None:
    for path in (PROJECT / "hichat").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "hichat"}, f"{path.name}: {name}"
