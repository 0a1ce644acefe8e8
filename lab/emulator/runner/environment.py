"""The job's variables as the runner completes and expands them, and the environment of its processes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lab.emulator.runner.client import REVISION, VERSION, architecture

# Go's os.Expand: $NAME and ${NAME}; `$$` is the variable named `$`, whose value is `$`.
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*)|(\$))")
_NEVER_FROM_THE_JOB = ("LAB_DOCKER_STORE",)


class Variables:
    """Variables of one job; a later one of the same name wins."""

    def __init__(self, rows: list[dict[str, Any]], files: Path) -> None:
        """``rows`` as in the payload; file variables are written into ``files``."""
        self._files = files
        self._rows = {row["key"]: row for row in rows}
        self._values: dict[str, str] = {}
        for row in self._rows.values():
            self._values[row["key"]] = str(files / row["key"]) if row.get("file") else str(row.get("value") or "")

    def set(self, key: str, value: str) -> None:
        """Add a variable of the runner's own."""
        self._rows.pop(key, None)
        self._values[key] = value

    def get(self, key: str, default: str = "") -> str:
        """The expanded value."""
        if key not in self._values:
            return default
        return self._values[key] if self._raw(key) else self.expand(self._values[key])

    def expand(self, text: str) -> str:
        """References replaced once; unknown names become empty, as in gitlab-runner."""
        return _REFERENCE.sub(lambda m: "$" if m[3] else self._values.get(m[1] or m[2], ""), text)

    def all(self) -> dict[str, str]:
        """Every variable with its expanded value."""
        return {key: self.get(key) for key in self._values}

    def secrets(self) -> list[str]:
        """Values that must not be shown."""
        return [str(row.get("value") or "") for row in self._rows.values() if row.get("masked")]

    def write_files(self) -> None:
        """Write the file variables, readable by the user alone."""
        for key, row in self._rows.items():
            if row.get("file"):
                path = self._files / key
                path.touch(mode=0o600)
                value = str(row.get("value") or "")
                path.write_text(value if row.get("raw") else self.expand(value))

    def _raw(self, key: str) -> bool:
        row = self._rows.get(key)
        return bool(row and (row.get("raw") or row.get("file")))


def runner_variables(*, builds: Path, project: Path, number: int, token: str) -> dict[str, str]:
    """Variables that GitLab leaves to the runner."""
    return {
        "CI_BUILDS_DIR": str(builds),
        "CI_PROJECT_DIR": str(project),
        "CI_CONCURRENT_ID": str(number),
        "CI_CONCURRENT_PROJECT_ID": str(number),
        "CI_RUNNER_VERSION": VERSION,
        "CI_RUNNER_REVISION": REVISION,
        "CI_RUNNER_EXECUTABLE_ARCH": f"linux/{architecture()}",
        "CI_RUNNER_SHORT_TOKEN": short(token),
        "CI_SHARED_ENVIRONMENT": "true",
    }


def short(token: str) -> str:
    """The harmless first characters of a runner's token, as gitlab-runner prints them."""
    return token.removeprefix("glrt-")[:9]


def environment(variables: Variables, *, home: Path, temporary: Path, commands: Path, store: Path) -> dict[str, str]:
    """The whole environment of a job's process: nothing of the emulator's own leaks in."""
    base = {
        "PATH": f"{commands}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "USER": os.environ.get("USER", "gitlab-runner"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "TMPDIR": str(temporary),
        "SHELL": "/bin/sh",
    }
    job = {key: value for key, value in variables.all().items() if key and "\0" not in value and "=" not in key}
    job = {key: value for key, value in job.items() if key not in _NEVER_FROM_THE_JOB}
    if "PATH" in job:
        job["PATH"] = f"{commands}{os.pathsep}{job['PATH']}"
    return {**base, **job, "LAB_DOCKER_STORE": str(store)}
