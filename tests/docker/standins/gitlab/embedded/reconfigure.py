"""``gitlab-ctl reconfigure``: from gitlab.rb to running services, seeding the database on the first run only.

A failed seed leaves the database half made, as upstream: later runs find the tables there and seed no more, so that
there is no administrator until the data volume is emptied.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import render

CONFIG, DATA, RAILS = Path("/etc/gitlab"), Path("/var/opt/gitlab"), Path("/var/opt/gitlab/gitlab-rails")
SERVICES = ("puma", "nginx")
VERSION = "19.3.0"
PREDICTABLE = ("gitlab", "devops", "password", "administrator", "admin@example.com", "admin", "root", "example")
BREACHED = ("12345678", "qwerty", "letmein", "iloveyou", "changeme", "welcome", "abc123", "sunshine", "trustno1")
INITIAL_PASSWORD_LIVES = 24 * 3600


class ReconfigureError(Exception):
    """What ends a reconfigure with exit code 1."""


def main() -> int:
    """Reconfigure; returns the exit code."""
    print("[INFO] Started Cinc Zero (stand-in)", flush=True)
    time.sleep(float(os.environ["STANDIN_BOOT_SECONDS"]) / 4)
    try:
        settings = evaluate()
        render.check(settings)
        secrets_file()
        seed(settings)
        changed = render.write(settings)
        start(changed)
    except ReconfigureError as error:
        print(f"FATAL: {error}", file=sys.stderr)
        print("There was an error running gitlab-ctl reconfigure:", error, sep="\n\n", file=sys.stderr, flush=True)
        return 1
    private(RAILS / "VERSION", VERSION)
    (DATA / "bootstrapped").touch()
    print("Notes:\nIt was configured by a stand-in.\n\ngitlab Reconfigured!", flush=True)
    return 0


def evaluate() -> dict[str, Any]:
    """The settings, with Ruby's own error where there is one."""
    ruby = ["ruby", "/opt/gitlab/embedded/standin/config.rb"]
    result = subprocess.run(ruby, capture_output=True, text=True, check=False, timeout=60)
    if result.returncode:
        raise ReconfigureError(result.stderr.strip())
    settings: dict[str, Any] = json.loads(result.stdout)
    for name in ("external_url", "registry_external_url"):
        url = urlsplit(settings.get(name) or "http://unset")
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ReconfigureError(f"GitLab {name} must include a schema and FQDN, e.g. http://gitlab.example.com/")
        if name == "registry_external_url" and url.path not in {"", "/"}:
            raise ReconfigureError(f"Unsupported CI external URL path: {url.path}")
        if url.scheme == "https":
            raise ReconfigureError(f"not in the stand-in: {name} with https")
    return settings


def secrets_file() -> None:
    """``gitlab-secrets.json``: made once, then kept."""
    path = CONFIG / "gitlab-secrets.json"
    if not path.exists():
        names = ("secret_key_base", "db_key_base", "otp_key_base")
        private(path, json.dumps({"gitlab_rails": {name: secrets.token_hex(64) for name in names}}, indent=2))


def seed(settings: dict[str, Any]) -> None:
    """The database's first content: user root."""
    initial = CONFIG / "initial_root_password"
    if initial.exists() and time.time() - initial.stat().st_mtime > INITIAL_PASSWORD_LIVES:
        initial.unlink()
    tables = DATA / "postgresql/tables"
    if tables.exists():
        return
    chosen = os.environ.get("GITLAB_ROOT_PASSWORD") or settings["gitlab_rails"].get("initial_root_password")
    if chosen and len(chosen) < 8:
        raise ReconfigureError("initial_root_password: Length is too short, minimum is 8 characters")
    tables.parent.mkdir(parents=True, exist_ok=True)
    tables.touch()
    if chosen and (chosen.lower() in BREACHED or any(word in chosen.lower() for word in (*PREDICTABLE, *BREACHED))):
        raise ReconfigureError(
            "bash[migrate gitlab-rails database] had an error: Could not create the default administrator account:\n\n"
            "--> Password must not contain commonly used combinations of words and letters"
        )
    password = chosen or secrets.token_urlsafe(32)
    private(RAILS / "etc/seed", password)
    if not chosen:
        private(initial, f"# WARNING: This value is valid only for the first login.\n\nPassword: {password}\n")


def start(changed: set[str]) -> None:
    """Start every service; restart those whose configuration changed."""
    deadline = time.monotonic() + 30
    while not all((Path("/opt/gitlab/sv") / name / "supervise/ok").exists() for name in SERVICES):
        if time.monotonic() > deadline:
            raise ReconfigureError("runit does not supervise the services: is runsvdir running?")
        time.sleep(0.1)
    for name in SERVICES:
        running = "run:" in sv("status", name).partition(";")[0]
        sv("restart" if running and name in changed else "start", name)


def sv(command: str, service: str) -> str:
    """Run runit's sv; answers what it says."""
    environment = {**os.environ, "SVDIR": "/opt/gitlab/service", "SVWAIT": "30"}
    result = subprocess.run(
        ["sv", command, service], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    if result.returncode and command != "status":
        raise ReconfigureError(f"sv {command} {service}: {result.stdout.strip()}")
    return result.stdout


def private(path: Path, text: str) -> None:
    """Write a file with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
