"""Conventions that no linter knows: what may be imported where, and what stands in the documents."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "lab").rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("load", "remote.load"):  # imports by name
            names |= {str(word.value) for word in node.args if isinstance(word, ast.Constant)}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("package", "doors"),
    [
        ("gitlab", {"lab/forge.py"}),
        ("kubernetes", {"lab/cluster.py"}),
        ("docker", {"lab/engines/docker/daemon.py"}),
        ("invoke", set()),
        ("subprocess", {"lab/shell.py", "lab/engines/embedded.py"}),
    ],
)
def test_each_client_library_has_one_door(package, doors):
    users = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if package in imported(path) and "emulator" not in path.relative_to(ROOT).parts
    }
    assert users == doors


def test_the_environment_is_read_in_few_places():
    users = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if "os.environ" in path.read_text() and "emulator" not in path.relative_to(ROOT).parts
    }
    assert users <= {"lab/shell.py"}, "pass it from tasks.py"


def test_python_gitlab_is_not_hidden_by_the_folder_of_that_name():
    spec = importlib.util.find_spec("gitlab")
    assert spec is not None
    assert spec.origin is not None
    assert "site-packages" in spec.origin or "dist-packages" in spec.origin
    assert not [folder for folder in ("gitlab", "k8s", "runner") if (ROOT / folder / "__init__.py").exists()]


def codes() -> list[tuple[str, str, bool]]:
    """Every error that is made: its code, its module, and whether it says what to do next."""
    return [
        (str(call.args[0].value), str(path.relative_to(ROOT)), "hint" in {keyword.arg for keyword in call.keywords})
        for path in MODULES
        if "emulator" not in path.parts
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
        if str(call.args[0].value).startswith("LAB-")
    ]


def test_every_error_says_what_to_do_next():
    # A wrong key's error is its own instruction; `follow` adds each hop's hint; a check has one of its own.
    without = ("LAB-CONF", "LAB-FLAG", "LAB-FOLLOW-T2", "LAB-ARGO-01", "LAB-VER-02")
    assert codes()
    assert [(code, path) for code, path, hint in codes() if not hint and not code.startswith(without)] == []


def test_a_code_stands_for_one_problem():
    places: dict[str, set[str]] = {}
    for code, path, _ in codes():
        places.setdefault(code, set()).add(path)
    shared = {code for code, paths in places.items() if len(paths) > 1}
    assert shared <= {
        "LAB-CONF-01",  # lab.yaml cannot be read, or not be written back
        "LAB-HOOK-01",  # the webhook is missing, seen by `up` and by `follow`
    }


def test_every_kind_of_json_document_is_in_the_schema():
    from lab.console.shapes import DOCUMENTS

    made = {
        str(value.value)
        for path in MODULES
        if "document(" in path.read_text() and not {"emulator", "config"} & set(path.relative_to(ROOT).parts)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "type" and isinstance(value, ast.Constant)
    }
    assert {"step", "finding", "image"} <= made
    assert made - {"object", "array", "string", "integer", "number", "boolean"} <= set(DOCUMENTS)


def test_only_the_console_prints():
    users = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if path.relative_to(ROOT).parts[1] not in ("console", "emulator")
        and any(
            word in path.read_text() for word in ("sys.stdout.w", "sys.stderr.w", "print(", "import rich", "from rich")
        )
    }
    assert users == set()


def test_what_the_package_reads_beside_its_modules_is_installed_with_it():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {
        str(path.relative_to(ROOT))
        for package, patterns in declared.items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = [path.relative_to(ROOT) for path in (ROOT / "lab").rglob("*.*") if path.is_file()]
    read = {path for path in files if path.suffix not in (".py", ".pyc") and not any(p[0] == "." for p in path.parts)}
    assert installed == set(map(str, read))


def test_listing_the_tasks_imports_no_heavy_client():
    heavy = "('kubernetes', 'gitlab', 'aiohttp', 'docker', 'rich')"
    code = f"import sys, tasks; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_task_is_listed_in_a_group_and_in_the_readme():
    sys.path.insert(0, str(ROOT))
    try:
        import tasks
    finally:
        sys.path.remove(str(ROOT))
    names = set(tasks.namespace.task_names) - {"tasks"}
    assert names == {name for group in tasks.GROUPS.values() for name in group}
    readme = (ROOT / "README.md").read_text()
    assert [name for name in sorted(names) if f"`{name}" not in readme and f"invoke {name}" not in readme] == []
