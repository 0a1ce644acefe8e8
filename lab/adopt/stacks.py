"""What an application is written in, as far as that decides how its image is built; known by its usual files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lab.adopt.repository import Repository

USUAL_PORT = 8080
_SOURCES = (".py", ".js", ".mjs", ".cjs", ".ts", ".go", ".java", ".kt", ".php", ".properties", ".yml", ".yaml")
_NOT_SOURCES = re.compile(
    r"(^|/)(node_modules|vendor|tests?|\.github|\.gitlab|k8s|docs?)/|(^|/)\.|docker-compose|[._]test\."
)
_MOST_SOURCES = 200
_HEALTH = re.compile(
    r"""["'`](/(?:[a-z0-9_-]+/){0,2}(?:health|healthz|healthcheck|health_check|ready|readyz|livez|ping))["'`]"""
)
_PORTS = re.compile(
    r"""\.listen\(\s*(\d{2,5})\b|ListenAndServe\(\s*"[^":]*:(\d{2,5})"|server\.port\s*[=:]\s*(\d{2,5})\b"""
    r"""|\bport\s*=\s*(\d{4,5})\b""",
    re.IGNORECASE,
)
_OBJECT = re.compile(r"^(\w+)\s*(?::\s*\w+\s*)?=\s*(?:flask\.|fastapi\.)?(Flask|FastAPI)\(", re.MULTILINE)
_MAINS = ("app.py", "main.py", "server.py", "wsgi.py", "run.py", "manage.py")
_SITES = ("", "public/", "dist/", "site/", "www/", "html/", "build/")


@dataclass(frozen=True)
class Stack:
    """One way to build an image."""

    name: str
    """For people, ``Python with Flask``."""
    template: str
    """The Dockerfile below gitlab/adopt."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What the template asks for, beside the port."""
    memory: str = "256Mi"
    """Limit of the container."""
    health: str = ""
    """Health path that a framework or a static site has without anybody writing it; empty for none."""


@dataclass(frozen=True)
class Source:
    """What the program text tells."""

    port: int
    """Where it listens when nothing tells it."""
    reads_port: bool
    """Whether it may listen where the variable PORT says; on the embedded engine it must."""
    health: str
    """The first health path that stands in it, or empty."""


def recognise(repository: Repository) -> Stack | None:
    """The stack of the application; None when no file gives it away."""
    for candidate in (_maven, _gradle, _go, _php, _node, _python, _static):
        found = candidate(repository)
        if found:
            return found
    return None


def applications(repository: Repository) -> list[str]:
    """Subfolders that look like applications of their own, for a repository whose top does not."""
    marks = ("Dockerfile", "package.json", "go.mod", "pom.xml", "requirements.txt", "pyproject.toml", "composer.json")
    folders = {name.rpartition("/")[0] for name in repository.names if name.rpartition("/")[2] in marks}
    return sorted(folder for folder in folders if folder and folder.count("/") < 3)


def source(repository: Repository) -> Source:
    """Look into the program text: port, PORT, health path."""
    texts = list(_texts(repository))
    health = [match.group(1) for text in texts for match in _HEALTH.finditer(text)]
    ports = [int(next(filter(None, match.groups()))) for text in texts for match in _PORTS.finditer(text)]
    reads_port = any(re.search(r"\bPORT\b", text) for text in texts)
    port = USUAL_PORT if reads_port or not ports else ports[0]
    return Source(port, reads_port, min(health, key=_rank) if health else "")


def _rank(path: str) -> tuple[bool, int]:
    """The plainest health path first."""
    return ("health" not in path, len(path))


def _texts(repository: Repository) -> Iterator[str]:
    names = [name for name in repository.names if name.endswith(_SOURCES) and not _NOT_SOURCES.search(name)]
    for name in sorted(names, key=lambda each: (each.count("/"), each))[:_MOST_SOURCES]:
        text = repository.read(repository.at(name))
        if text:
            yield text


def _text(repository: Repository, name: str) -> str:
    return (repository.read(repository.at(name)) or "") if name in repository.names else ""


def _maven(repository: Repository) -> Stack | None:
    text = _text(repository, "pom.xml")
    return _java(text, "maven/Dockerfile", "Maven") if text else None


def _gradle(repository: Repository) -> Stack | None:
    text = _text(repository, "build.gradle") or _text(repository, "build.gradle.kts")
    return _java(text, "gradle/Dockerfile", "Gradle") if text else None


def _java(text: str, template: str, tool: str) -> Stack:
    health = "/actuator/health" if "spring-boot-starter-actuator" in text else ""
    return Stack(f"Java with {tool}", template, memory="512Mi", health=health)


def _go(repository: Repository) -> Stack | None:
    if "go.mod" not in repository.names:
        return None
    mains = sorted(name.rpartition("/")[0] for name in repository.names if name.endswith("/main.go"))
    package = "." if "main.go" in repository.names or not mains else f"./{mains[0]}"
    return Stack("Go", "go/Dockerfile", {"package": package}, memory="128Mi")


def _php(repository: Repository) -> Stack | None:
    places = [folder for folder in ("public/", "") if f"{folder}index.php" in repository.names]
    if not places:
        return None
    root = places[0].rstrip("/") or "."
    packages = "composer.json" in repository.names
    return Stack("PHP", "php/Dockerfile.composer" if packages else "php/Dockerfile", {"root": root}, health="/")


def _node(repository: Repository) -> Stack | None:
    try:
        package = json.loads(_text(repository, "package.json") or "null")
    except ValueError:
        return None
    if not isinstance(package, dict):
        return None
    install = "npm ci" if "package-lock.json" in repository.names else "npm install"
    packages = {name for key in ("dependencies", "devDependencies") for name in _names(package.get(key))}
    bundlers = [output for bundler, output in _BUNDLERS.items() if bundler in packages]
    if bundlers and "build" in _names(package.get("scripts")):
        values = {"install": install, "output": bundlers[0]}
        return Stack("Node.js, built into a site", "node/Dockerfile.site", values, memory="64Mi", health="/")
    start = "start" in _names(package.get("scripts"))
    mains = [name for name in (package.get("main"), "server.js", "index.js", "app.js") if name in repository.names]
    if not start and not mains:
        return None
    command = ["npm", "start"] if start else ["node", str(mains[0])]
    template = "node/Dockerfile.packages" if package.get("dependencies") else "node/Dockerfile"
    return Stack("Node.js", template, {"command": json.dumps(command), "install": install})


_BUNDLERS = {"react-scripts": "build", "vite": "dist", "@vue/cli-service": "dist"}
"""Where each puts the pages that it makes."""


def _names(value: object) -> list[str]:
    """The keys of a JSON object; none of anything else."""
    return [str(key) for key in value] if isinstance(value, dict) else []


def _python(repository: Repository) -> Stack | None:
    install = next((command for name, command in _INSTALLS.items() if name in repository.names), "")
    mains = [name for name in _MAINS if name in repository.names]
    packages = [name for name in repository.names if name.endswith("/__main__.py") and name.count("/") == 1]
    if not (install or mains or packages):
        return None
    wanted = "".join(_text(repository, name) for name in _INSTALLS).lower()
    name, command = _python_command(repository, mains, packages, wanted)
    template = "python/Dockerfile.packages" if install else "python/Dockerfile"
    return Stack(name, template, {"command": json.dumps(command), "install": install})


_INSTALLS = {
    "requirements.txt": "pip install --no-cache-dir -r requirements.txt",
    "pyproject.toml": "pip install --no-cache-dir .",
}


def _python_command(
    repository: Repository, mains: list[str], packages: list[str], wanted: str
) -> tuple[str, list[str]]:
    """The framework, and how its server is started so that it listens on every address and on $PORT."""
    listening: Mapping[str, Callable[[str, str], str]] = {
        "Flask": lambda module, name: (
            f'gunicorn --bind "0.0.0.0:$PORT" {module}:{name}'
            if "gunicorn" in wanted
            else f'python -m flask --app {module}:{name} run --host 0.0.0.0 --port "$PORT"'
        ),
        "FastAPI": lambda module, name: f'python -m uvicorn {module}:{name} --host 0.0.0.0 --port "$PORT"',
    }
    if "manage.py" in mains:
        return "Python with Django", _shell('python manage.py runserver "0.0.0.0:$PORT"')
    for file in mains:
        found = _OBJECT.search(_text(repository, file))
        if found:
            return f"Python with {found[2]}", _shell(listening[found[2]](file.removesuffix(".py"), found[1]))
    if mains:
        return "Python", ["python", mains[0]]
    return "Python", ["python", "-m", packages[0].partition("/")[0] if packages else repository.slug.replace("-", "_")]


def _shell(command: str) -> list[str]:
    """A command whose variables a shell fills in before it gives its place to the program."""
    return ["sh", "-c", f"exec {command}"]


def _static(repository: Repository) -> Stack | None:
    for folder in _SITES:
        if f"{folder}index.html" in repository.names:
            return Stack("static site", "static/Dockerfile", {"root": folder or "."}, memory="64Mi", health="/")
    return None
