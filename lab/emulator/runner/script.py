"""Shell scripts: the job's own commands, and the one that gets the sources (as gitlab-runner's shells/ write them)."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lab.emulator.runner.environment import Variables

_PREAMBLE = "set -e\nif (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n"


def commands(lines: list[str], *, folder: Path) -> str:
    """A script that prints each command before it runs it; it ends with the first one that fails."""
    body = [_PREAMBLE, f"cd {shlex.quote(str(folder))}\n"]
    for line in lines:
        text = line.strip("\n")
        if not text.strip():
            body.append("echo\n")
            continue
        head, _, more = text.partition("\n")
        shown = f"$ {head} # collapsed multi-line command" if more else f"$ {head}"
        body.append(f"printf '\\033[32;1m%s\\033[0;m\\n' {shlex.quote(shown)}\n{text}\n")
    return "".join(body)


class Sources:
    """How a job's ``git_info`` becomes a work tree."""

    def __init__(self, git: dict[str, Any], variables: Variables, clone_url: str = "") -> None:
        self._git = git
        self._variables = variables
        parts = urlsplit(git["repo_url"])
        host = parts.netloc.rpartition("@")[2]
        base = urlsplit(clone_url) if clone_url else parts._replace(netloc=host, path="")
        self.base = f"{base.scheme}://{base.netloc}"
        self.url = urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + parts.path, "", ""))
        self._login = parts.netloc.rpartition("@")[0]

    def credentials(self) -> str:
        """A git configuration that puts the job's token into every URL of this GitLab, for the job's own git too."""
        scheme, _, rest = self.base.partition("://")
        return f'[url "{scheme}://{self._login}@{rest}"]\n\tinsteadOf = "{self.base}"\n'

    @property
    def strategy(self) -> str:
        """``fetch``, ``clone``, ``none`` or ``empty``."""
        return self._variables.get("GIT_STRATEGY") or "fetch"

    def script(self, folder: Path, config: Path) -> str:
        """Make ``folder`` hold the job's commit; ``config`` is the file with `credentials`."""
        quoted = shlex.quote(str(folder))
        if self.strategy in ("none", "empty"):
            empty = f"rm -rf {quoted}\n" if self.strategy == "empty" else ""
            return f"set -e\n{empty}mkdir -p {quoted}\necho 'Skipping Git repository setup'\n"
        again = f"rm -rf {quoted}\n" if self.strategy == "clone" else ""
        return f"set -e\n{again}{self._fetch(quoted, shlex.quote(str(config)))}{self._checkout()}{self._submodules()}"

    def _fetch(self, folder: str, config: str) -> str:
        depth = int(self._git.get("depth") or 0)
        refspecs = " ".join(shlex.quote(spec) for spec in self._git["refspecs"])
        what = f"Fetching changes with git depth set to {depth}..." if depth else "Fetching changes..."
        limit = f" --depth {depth}" if depth else ""
        unshallow = "" if depth else "\nif [ -f .git/shallow ]; then more=--unshallow; fi"
        flags = self._variables.get("GIT_FETCH_EXTRA_FLAGS") or "--prune --quiet"
        return f"""{_notice(what)}
if [ -d {folder}/.git ]; then kept=1; else kept=; mkdir -p {folder}; git init --quiet {folder}; fi
cd {folder}
rm -f .git/index.lock .git/shallow.lock .git/HEAD.lock .git/config.lock
[ -n "$kept" ] && echo "Reinitialized existing Git repository in $PWD/.git/" \
  || echo "Initialized empty Git repository in $PWD/.git/"
git config include.path {config}
git config fetch.recurseSubmodules false
git config transfer.bundleURI true
git config remote.origin.url {shlex.quote(self.url)}
if [ -z "$kept" ]; then {_notice("Created fresh repository.")}; fi
more={unshallow}
git fetch origin --no-recurse-submodules {refspecs}{limit} $more {flags}
"""

    def _checkout(self) -> str:
        if self._variables.get("GIT_CHECKOUT", "true").lower() == "false":
            return _notice("Skipping Git checkout") + "\n"
        sha, ref = self._git["sha"], self._git["ref"]
        flags = self._variables.get("GIT_CLEAN_FLAGS") or "-ffdx"
        clean = "" if flags == "none" else f"git clean {flags} >/dev/null\n"
        kind = f"detached HEAD (ref is {ref})"
        return f"{_notice(f'Checking out {sha[:8]} as {kind}...')}\ngit checkout -f -q {shlex.quote(sha)}\n{clean}"

    def _submodules(self) -> str:
        strategy = self._variables.get("GIT_SUBMODULE_STRATEGY") or "none"
        if strategy not in ("normal", "recursive"):
            return f"{_notice('Skipping Git submodules setup')}\n"
        recursive = " --recursive" if strategy == "recursive" else ""
        return (
            f"{_notice('Updating/initializing submodules...')}\n"
            f"git submodule sync{recursive}\ngit submodule update --init{recursive}\n"
        )


def _notice(text: str) -> str:
    return f"printf '\\033[32;1m%s\\033[0;m\\n' {shlex.quote(text)}"
