"""`adopt`: what is said about a project, what is offered, and that nothing of the person's is ever replaced."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from shapes import fits

from lab import assets, settings
from lab.adopt import inspection, offers, pipeline, repository, stacks
from lab.adopt.command import Adoption
from lab.console import Console
from lab.errors import UsageError

FLASK = {"requirements.txt": "flask\n", "app.py": 'app = Flask(__name__)\n@app.get("/healthz")\ndef health(): ...\n'}
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front}}
    spec:
      containers:
        - name: web
          image: registry.example.org/team/web:1.0
          ports: [{containerPort: 9000}]
          readinessProbe: {httpGet: {path: /ready, port: 9000}}
"""


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def project(folder: Path, files: dict[str, str], *, branch: str = "main") -> Path:
    """A git repository with one commit."""
    folder.mkdir(exist_ok=True)
    put(folder, files)
    git(folder, "init", "-q", "-b", branch)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def profile(folder: Path, called: str = "") -> offers.Profile:
    return inspection.profile(repository.look(folder, called), "k8s-config")


def found(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Level and place of every finding, by id."""
    result: dict[str, list[tuple[str, str]]] = {}
    for finding in inspection.findings(profile(folder)):
        result.setdefault(finding.id, []).append((finding.level, finding.where))
    return result


def offered(folder: Path) -> dict[str, str]:
    return {offer.name: offer.text for offer in offers.offers(profile(folder))}


def run(home: Path, folder: Path, *, write: bool = True, name: str = "", running: bool = False) -> str:
    stream = io.StringIO()
    held = settings.load(home / "lab.yaml", {}).project
    adoption = Adoption(home / "lab.yaml", {}, Console(stream=stream), held, running=running)
    adoption.adopt(str(folder), name=name, write=write)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("files", "name", "command"),
    [
        (FLASK, "Python with Flask", 'flask --app app:app run --host 0.0.0.0 --port "$PORT"'),
        ({**FLASK, "requirements.txt": "flask\ngunicorn\n"}, "Python with Flask", 'gunicorn --bind "0.0.0.0:$PORT"'),
        ({"main.py": "api = FastAPI()\n", "requirements.txt": ""}, "Python with FastAPI", "uvicorn main:api"),
        ({"manage.py": "", "requirements.txt": "django\n"}, "Python with Django", "manage.py runserver"),
        ({"shop/__main__.py": ""}, "Python", '"-m", "shop"'),
        ({"package.json": '{"scripts": {"start": "node x"}}'}, "Node.js", '["npm", "start"]'),
        ({"package.json": "{}", "server.js": ""}, "Node.js", '["node", "server.js"]'),
        ({"package.json": "{}", "public/index.html": ""}, "static site", "http.server"),
        ({"package.json": "not JSON", "index.html": ""}, "static site", "http.server"),
        (
            {
                "package.json": '{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "7"}}',
                "index.html": "",
            },
            "Node.js, built into a site",
            "/src/dist ./",
        ),
        ({"go.mod": "", "cmd/shop/main.go": ""}, "Go", '"/app"'),
        ({"pom.xml": "<project/>"}, "Java with Maven", "server.port"),
        ({"build.gradle.kts": "plugins {}"}, "Java with Gradle", "server.port"),
        ({"index.php": ""}, "PHP", "-t ."),
        ({"public/index.php": "", "composer.json": "{}"}, "PHP", "-t public"),
    ],
)
def test_a_stack_is_known_by_its_files_and_its_dockerfile_fits(tmp_path, files, name, command):
    put(tmp_path, files)
    stack = stacks.recognise(repository.look(tmp_path))
    assert stack is not None
    assert stack.name == name
    text = offered(tmp_path)["Dockerfile"].replace('\\"', '"')
    assert command in text
    assert "USER 10001:10001" in text
    assert "EXPOSE 8080" in text
    fetches = name.startswith(("Go", "Java", "Node.js, built"))
    assert ("RUN " in text) == (fetches or "requirements.txt" in files or "composer.json" in files)


def test_no_offered_dockerfile_has_a_fault_that_adopt_itself_would_name(tmp_path):
    for number, template in enumerate(sorted(assets.folder("gitlab/adopt").glob("*/Dockerfile*"))):
        values = {"port": 8080, "command": '["x"]', "install": "true", "package": ".", "root": ".", "output": "dist"}
        folder = tmp_path / str(number)
        put(folder, {"Dockerfile": assets.render(f"gitlab/adopt/{template.parent.name}/{template.name}", **values)})
        faults = [
            each
            for each, seen in found(folder).items()
            if each.startswith("dockerfile.") and (seen[0][0] == "wrong" or "pinned" in each)
        ]
        assert faults == [], template


def test_every_template_is_offered_to_somebody_and_has_the_samples_python():
    source = Path(stacks.__file__).read_text()
    (python,) = re.findall(r"PYTHON_IMAGE=(python:\S+)$", assets.text("gitlab/project/Dockerfile"), re.MULTILINE)
    templates = sorted(assets.folder("gitlab/adopt").glob("*/Dockerfile*"))
    assert templates
    for template in templates:
        assert f'"{template.parent.name}/{template.name}"' in source, template
        assert set(re.findall(r"python:[\w.-]+", template.read_text())) <= {python}, template


def test_the_offered_pipeline_is_the_samples_own_with_other_names():
    names = {
        "title": "HiChat", "name": "hichat", "image": "hichat", "image_file": "k8s/hichat.yaml", "manifests": "k8s",
        "config_branch": "k8s-config", "context": ".",
    }  # fmt: skip
    sample = assets.text("gitlab/project/.gitlab-ci.yml")
    assert pipeline.general(**names) == sample
    other = {
        "title": "Shop", "name": "shop", "image": "shop", "image_file": "a b/manifests/app.yaml",
        "manifests": "a b/manifests", "config_branch": "deploy", "context": "a b",
    }  # fmt: skip
    text = pipeline.general(**other)
    assert not any(word in text for word in ("hichat", "HiChat", "k8s"))
    assert yaml.safe_load(text)["variables"]["CONFIG_BRANCH"] == "deploy"
    assert "git checkout \"$CI_COMMIT_SHA\" -- 'a b/manifests'" in text
    assert 'sed "s|image:.*shop.*|image: \\"$image\\"|" \'a b/manifests/app.yaml\' > app.yaml.new' in text
    assert len(text.splitlines()) == len(sample.splitlines())


def test_everything_is_offered_to_a_project_that_has_nothing_but_code(tmp_path):
    folder = project(tmp_path / "My Shop", FLASK)
    assert list(offered(folder)) == [
        "Dockerfile", ".dockerignore", "k8s/deployment.yaml", "k8s/service.yaml", "k8s/ingress.yaml", ".gitlab-ci.yml",
    ]  # fmt: skip
    deployment = yaml.safe_load(offered(folder)["k8s/deployment.yaml"])
    service = yaml.safe_load(offered(folder)["k8s/service.yaml"])
    ingress = yaml.safe_load(offered(folder)["k8s/ingress.yaml"])
    assert deployment["metadata"] == {"name": "my-shop", "namespace": "my-shop", "labels": {"app": "my-shop"}}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": service["metadata"]["name"], "port": {"number": service["spec"]["ports"][0]["port"]}}


def test_what_was_offered_satisfies_the_next_look(tmp_path):
    folder = project(tmp_path / "shop", FLASK)
    run(tmp_path, folder)
    levels = {level for seen in found(folder).values() for level, _ in seen}
    assert levels <= {"ok", "note"}
    assert offered(folder) == {}


def test_a_project_with_manifests_gets_what_is_missing_fitted_to_them(tmp_path):
    folder = project(
        tmp_path / "shop", {"Dockerfile": "FROM a:1\nUSER 7\nEXPOSE 9000\n", "deploy/web.yaml": DEPLOYMENT}
    )
    texts = offered(folder)
    assert list(texts) == ["deploy/service.yaml", "deploy/ingress.yaml", ".gitlab-ci.yml"]
    assert yaml.safe_load(texts["deploy/service.yaml"])["spec"]["selector"] == {"app": "web", "tier": "front"}
    assert "s|image:.*web.*|" in texts[".gitlab-ci.yml"]
    assert profile(folder).settings() == {
        "project.path": "root/shop", "project.source": str(folder), "project.branch": "main",
        "project.manifests": "deploy", "project.image_file": "deploy/web.yaml", "project.deployment": "web",
        "project.namespace": "team", "project.health": "/ready",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "finding", "level_and_line"),
    [
        ("Dockerfile", "FROM python\nUSER 1\nEXPOSE 1\n", "dockerfile.pinned", "note 1"),
        ("Dockerfile", "FROM a:1 AS b\nFROM registry.example.com:5000/x:latest\n", "dockerfile.pinned", "note 2"),
        ("Dockerfile", "FROM a:1\nEXPOSE 80\nUSER root\n", "dockerfile.user", "wrong 3"),
        ("Dockerfile", "FROM a:1\nEXPOSE 80\nUSER node\n", "dockerfile.user", "note 3"),
        ("Dockerfile", "FROM a:1\n# x\nRUN a \\\n  b\n", "dockerfile.run", "note 3"),
        ("k8s/a.yaml", "kind: Deployment\nmetadata: {\n", "k8s.yaml", "wrong 3"),
        ("k8s/a.yaml", DEPLOYMENT + "        - image: registry.corp.example:5000/db:1\n", "hosts", "wrong 14"),
        ("k8s/a.yaml", DEPLOYMENT + "        - image: reg.corp.example/db:1\n", "k8s.registry", "wrong 14"),
        ("k8s/a.yaml", DEPLOYMENT + "        - name: two\n          image: web\n", "k8s.image", "wrong 11"),
        (".gitlab-ci.yml", "a: [\n", "ci.yaml", "wrong 2"),
        (".gitlab-ci.yml", "a:\n  script: docker build -t $CI_COMMIT_SHA .; docker push x\n", "ci.tag", "wrong 2"),
        (".gitlab-ci.yml", "a:\n  script: docker push 10.0.0.5:5050/x\n", "hosts", "wrong 2"),
        (".gitlab-ci.yml", "x: 1\ninclude: /ci/build.yml\n", "ci.include", "note 2"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_line(tmp_path, name, text, finding, level_and_line):
    project(tmp_path / "shop", {"app.py": "", name: text})
    level, _, line = level_and_line.partition(" ")
    assert (level, f"{name}:{line}") in found(tmp_path / "shop").get(finding, [])


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("a:\n  script: make\n", {"ci.build", "ci.push", "ci.config-branch"}),
        ("a:\n  script: [docker build ., docker push $I:$CI_COMMIT_SHORT_SHA]\n", {"ci.config-branch"}),
        (
            """\
.x: &x
  script:
    - docker build .
    - docker push $I:$CI_COMMIT_SHORT_SHA
a: *x
b:
  script:
    - !reference [.x, script]
    - git push $URL HEAD:k8s-config
""",
            set(),
        ),
    ],
)
def test_a_pipeline_is_asked_for_the_three_things_that_the_loop_needs(tmp_path, text, missing):
    project(tmp_path / "shop", {".gitlab-ci.yml": text})
    seen = found(tmp_path / "shop")
    assert {each for each, rows in seen.items() if each.startswith("ci.") and rows[0][0] == "missing"} == missing


def test_manifests_among_the_code_are_to_be_moved(tmp_path):
    folder = project(tmp_path / "shop", {"app.py": "", "deployment.yaml": DEPLOYMENT})
    assert found(folder)["k8s.folder"] == [("wrong", "deployment.yaml")]
    assert profile(folder).settings()["project.image_file"] == "k8s/deployment.yaml"


def test_the_applications_own_image_may_name_any_registry_and_an_application_file_is_passed_over(tmp_path):
    image = DEPLOYMENT.replace("registry.example.org/team/web:1.0", "gitlab.iceymoss:5050/root/web:latest")
    other = "kind: Application\nmetadata: {namespace: argocd}\nspec: {source: {repoURL: http://172.21.0.1/x.git}}\n"
    folder = project(tmp_path / "shop", {"k8s/a.yaml": image, "k8s/argocd-application.yaml": other})
    assert "hosts" not in found(folder)
    assert "k8s.namespace" not in found(folder)
    (folder / "k8s/argocd-application.yaml").rename(folder / "k8s/app.yaml")
    assert found(folder)["k8s.application"] == [("wrong", "k8s/app.yaml")]
    assert found(folder)["hosts"] == [("wrong", "k8s/app.yaml:3")]


@pytest.mark.parametrize(
    "text",
    [
        "kind: Deployment\n",
        "kind: Deployment\nmetadata: x\nspec: [1]\n",
        "kind: Deployment\nmetadata: {name: 7}\nspec: {template: {metadata: 1, spec: {containers: x}}}\n",
        "kind: Service\nspec: {selector: x, ports: {a: 1}}\n---\nkind: Ingress\nspec: {rules: 3}\n",
        "kind: Service\nspec:\n---\nkind: Deployment\nspec: {template: {spec: {containers: [1]}}}\n",
        "a: 2026-02-30\nkind: x\n",
        "kind: &a [*a]\n",
        "- 1\n--- 7\n",
    ],
)
def test_no_manifest_is_too_strange_to_look_at(tmp_path, text):
    folder = project(tmp_path / "shop", {**FLASK, "k8s/a.yaml": text, ".gitlab-ci.yml": text})
    assert found(folder)
    assert offered(folder)


def test_what_runs_beside_it_under_docker_compose_is_named(tmp_path):
    compose = "services:\n  web: {build: .}\n  db: {image: 'mysql:8'}\n  cache: {image: redis}\n  odd: 3\n"
    folder = project(tmp_path / "shop", {**FLASK, "docker-compose.yml": compose})
    (finding,) = [each for each in inspection.findings(profile(folder)) if each.id == "compose"]
    assert (finding.level, finding.where) == ("note", "docker-compose.yml")
    assert "db (mysql:8), cache (redis)" in finding.text
    (folder / "docker-compose.yml").write_text("services: [1\n")
    assert "compose" not in found(folder)


def test_root_is_wrong_only_where_the_manifests_refuse_it(tmp_path):
    files = {"Dockerfile": "FROM a:1\nEXPOSE 9000\n", "k8s/a.yaml": DEPLOYMENT}
    folder = project(tmp_path / "shop", files)
    assert found(folder)["dockerfile.user"][0][0] == "note"
    strict = DEPLOYMENT.replace("    spec:\n", "    spec:\n      securityContext: {runAsNonRoot: true}\n")
    (folder / "k8s/a.yaml").write_text(strict)
    assert found(folder)["dockerfile.user"][0][0] == "wrong"


def test_several_namespaces_and_an_ingress_for_one_name_are_named(tmp_path):
    ingress = "kind: Ingress\nmetadata: {name: i, namespace: other}\nspec: {rules: [{host: a.example}]}\n"
    folder = project(tmp_path / "shop", {"k8s/a.yaml": DEPLOYMENT, "k8s/b.yaml": ingress})
    seen = found(folder)
    assert seen["k8s.namespace"] == [("wrong", "k8s/b.yaml")]
    assert seen["k8s.host"] == [("note", "k8s/b.yaml")]


def test_the_application_is_told_from_its_database(tmp_path):
    database = DEPLOYMENT.replace("web", "cache").replace("registry.example.org/team/cache:1.0", "redis:8")
    folder = project(tmp_path / "shop", {"app.py": "", "k8s/a.yaml": database, "k8s/b.yaml": DEPLOYMENT})
    assert profile(folder).settings()["project.image_file"] == "k8s/b.yaml"


def test_a_folder_of_a_repository_is_built_there_and_the_whole_repository_is_pushed(tmp_path):
    root = project(tmp_path / "mono", {"services/shop/" + name: text for name, text in FLASK.items()})
    folder = root / "services/shop"
    assert found(folder)["git.subfolder"] == [("note", "")]
    texts = offered(folder)
    assert "services/shop/Dockerfile" in texts
    assert "services/shop/k8s/deployment.yaml" in texts
    assert '"$IMAGE:$CI_COMMIT_REF_SLUG" services/shop\n' in texts[".gitlab-ci.yml"]
    said = profile(folder).settings()
    assert (said["project.source"], said["project.manifests"]) == (str(root), "services/shop/k8s")
    assert "services/shop" in run(tmp_path, root, write=False)


def test_a_repository_without_anything_known_is_offered_nothing(tmp_path):
    folder = project(tmp_path / "notes", {"README.md": ""})
    said = run(tmp_path, folder)
    assert found(folder)["dockerfile"] == [("missing", "Dockerfile")]
    assert "to mend by hand: dockerfile" in said
    assert not (tmp_path / "lab.yaml").exists()
    assert git(folder, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("arrange", "finding", "level"),
    [
        (lambda _folder: None, "git.repository", "missing"),
        (lambda folder: git(folder, "init", "-q"), "git.commits", "missing"),
        (lambda folder: (project(folder, {}), (folder / "app.py").write_text("new")), "git.uncommitted", "note"),
        (lambda folder: (project(folder, {}), git(folder, "checkout", "-q", "--detach")), "git.branch", "wrong"),
        (lambda folder: project(folder, {}, branch="k8s-config"), "git.branch", "wrong"),
        (lambda folder: project(folder, {".gitmodules": ""}), "git.submodules", "note"),
        (lambda folder: project(folder, {".gitattributes": "*.bin filter=lfs\n"}), "git.lfs", "wrong"),
    ],
)
def test_what_git_does_not_push_is_said(tmp_path, arrange, finding, level):
    put(tmp_path / "shop", {"app.py": ""})
    arrange(tmp_path / "shop")
    assert found(tmp_path / "shop")[finding][0][0] == level


def test_another_branch_goes_into_lab_yaml(tmp_path):
    run(tmp_path, project(tmp_path / "shop", FLASK, branch="develop"))
    assert settings.load(tmp_path / "lab.yaml", {}).project.branch == "develop"


def test_a_bare_repository_is_read_and_never_written(tmp_path):
    source = project(tmp_path / "shop", FLASK)
    git(tmp_path, "clone", "-q", "--bare", str(source), "shop.git")
    assert profile(tmp_path / "shop.git").stack is not None
    assert repository.look(tmp_path / "shop.git").slug == "shop"
    with pytest.raises(UsageError) as caught:
        run(tmp_path, tmp_path / "shop.git")
    assert caught.value.code == "LAB-ADOPT-07"


def test_without_write_nothing_changes(tmp_path):
    folder = project(tmp_path / "shop", FLASK)
    said = run(tmp_path, folder, write=False)
    assert "kind: Deployment" in said
    assert f"invoke adopt {folder} --write" in said
    assert git(folder, "status", "--porcelain") == ""
    assert not (tmp_path / "lab.yaml").exists()


def test_nothing_is_replaced_or_committed_and_lab_yaml_keeps_its_comments(tmp_path):
    (tmp_path / "lab.yaml").write_text("# mine\nproject:\n  branch: other # why\nports: {app: 9000}\n")
    folder = project(tmp_path / "shop", {**FLASK, "Dockerfile": "FROM mine:1\n", "k8s/service.yaml": "a: 1\n"})
    said = run(tmp_path, folder)
    assert (folder / "Dockerfile").read_text() == "FROM mine:1\n"
    assert (folder / "k8s/service.yaml").read_text() == "a: 1\n"
    assert (folder / "k8s/shop-service.yaml").exists()
    assert git(folder, "rev-list", "--count", "HEAD").strip() == "1"
    assert f"git -C {folder} add k8s/deployment.yaml" in said
    text = (tmp_path / "lab.yaml").read_text()
    assert "# mine\n" in text
    assert "  branch: main # why\n" in text
    assert settings.load(tmp_path / "lab.yaml", {}).project.source == folder
    assert "invoke up" in run(tmp_path, folder, write=False)


def test_a_second_run_after_a_killed_one_goes_on(tmp_path):
    folder = project(tmp_path / "shop", FLASK)
    writing = offers.write(repository.look(folder), list(offers.offers(profile(folder))))
    next(writing)
    next(writing)
    writing.close()
    run(tmp_path, folder)
    assert offered(folder) == {}


def test_a_file_that_git_ignores_stays_and_is_named(tmp_path):
    folder = project(tmp_path / "shop", {**FLASK, ".gitignore": "Dockerfile\n", "Dockerfile": "FROM mine:1\n"})
    run(tmp_path, folder)
    assert (folder / "Dockerfile").read_text() == "FROM mine:1\n"


def test_a_folder_that_leads_out_of_the_repository_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder = project(tmp_path / "shop", FLASK)
    (folder / "k8s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError) as caught:
        run(tmp_path, folder)
    assert caught.value.code == "LAB-ADOPT-06"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_refused_write_is_a_message(tmp_path, monkeypatch):
    folder = project(tmp_path / "shop", FLASK)

    def refused(path: Path, _data: bytes) -> Path:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("lab.files.stage", refused)
    with pytest.raises(UsageError) as caught:
        run(tmp_path, folder)
    assert caught.value.code == "LAB-ADOPT-06"
    assert "Permission denied" in caught.value.evidence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_missing_permissions_are_a_message(tmp_path):
    folder = project(tmp_path / "shop", FLASK)
    folder.chmod(0o500)
    with pytest.raises(UsageError) as caught:
        run(tmp_path, folder)
    assert caught.value.code == "LAB-ADOPT-06"
    folder.chmod(0o000)
    with pytest.raises(UsageError) as caught:
        repository.look(folder)
    assert caught.value.code == "LAB-ADOPT-03"
    folder.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "code"),
    [("nowhere", "LAB-ADOPT-01"), ("file", "LAB-ADOPT-02"), ("circle", "LAB-ADOPT-03"), ("repo/.git", "LAB-ADOPT-05")],
)
def test_a_path_that_cannot_be_adopted_is_a_message(tmp_path, name, code):
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to("circle")
    project(tmp_path / "repo", {"a": ""})
    with pytest.raises(UsageError) as caught:
        repository.look(tmp_path / name)
    assert caught.value.code == code
    assert caught.value.hint


def test_the_lab_does_not_adopt_itself():
    with pytest.raises(UsageError) as caught:
        repository.look(assets.folder("gitlab/project"))
    assert caught.value.code == "LAB-ADOPT-04"


def test_a_huge_folder_is_looked_at_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(repository, "MOST_FILES", 10)
    put(tmp_path, {"app.py": "", **{f"data/{number}": "" for number in range(30)}, "node_modules/x/app.py": ""})
    seen = repository.look(tmp_path)
    assert "app.py" in seen.names
    assert len(seen.names) <= 10
    assert [finding.id for finding in repository.findings(seen)] == ["git.repository", "git.size"]


@pytest.mark.parametrize(
    ("folder", "slug"),
    [("My Shop", "my-shop"), ("9lives", "app-9lives"), ("我的项目", "app"), ("x" * 70, "x" * 40), ("a.git", "a")],
)
def test_a_name_becomes_a_dns_label(tmp_path, folder, slug):
    (tmp_path / folder).mkdir()
    assert repository.look(tmp_path / folder).slug == slug


def test_a_name_can_be_given(tmp_path):
    folder = project(tmp_path / "shop", FLASK)
    run(tmp_path, folder, name="store")
    assert settings.load(tmp_path / "lab.yaml", {}).project.path == "root/store"


def test_a_lab_that_carries_another_project_is_to_be_emptied_first(tmp_path):
    said = run(tmp_path, project(tmp_path / "shop", FLASK), running=True)
    assert "root/hichat" in said
    assert "invoke down --purge" in said


def test_the_documents_hold_findings_offers_settings_and_the_result(tmp_path):
    stream = io.StringIO()
    folder = project(tmp_path / "shop", FLASK)
    held = settings.load(tmp_path / "lab.yaml", {}).project
    adoption = Adoption(tmp_path / "lab.yaml", {}, Console(as_json=True, stream=stream), held, running=False)
    adoption.adopt(str(folder), name="", write=False)
    documents = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {document["type"] for document in documents} == {"repository", "finding", "offer", "settings", "result"}
    assert [document for document in documents if not fits(document)] == []
    assert documents[0]["stack"] == "Python with Flask"
    assert documents[-1] == {
        "type": "result", "ready": False, "next": [f"invoke adopt {folder} --write"],
    }  # fmt: skip
