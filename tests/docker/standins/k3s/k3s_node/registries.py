"""``/etc/rancher/k3s/registries.yaml``: where an image may come from. Read once, when k3s starts.

Source: k3s docs/installation/private-registry.md; endpoints and their order as k3s writes them into hosts.toml.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from lab.emulator.docker.references import DEFAULT_DOMAIN, Reference
from lab.emulator.images import Endpoint

PATH = Path("/etc/rancher/k3s/registries.yaml")
KEPT = Path("/var/lib/rancher/k3s/agent/etc/containerd/registries.json")
_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class Registries:
    """Mirrors and settings by registry; ``default`` adds the registry itself, over HTTPS, as the last endpoint."""

    mirrors: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, Any] = field(default_factory=dict, repr=False)
    default: bool = True

    @classmethod
    def read(cls, path: Path = PATH, *, default: bool) -> Registries:
        """Read the file, if there is one; raises ValueError when it is no YAML mapping."""
        try:
            found = yaml.safe_load(path.read_text()) or {}
        except FileNotFoundError:
            found = {}
        except yaml.YAMLError as error:
            raise ValueError(f"failed to load registry configuration: {error}") from error
        if not isinstance(found, dict) or set(found) - {"mirrors", "configs", "auths"}:
            raise ValueError(f"failed to load registry configuration: {path}: not mirrors and configs")
        return cls(found.get("mirrors") or {}, found.get("configs") or {}, default)

    def keep(self, path: Path = KEPT) -> None:
        """Write down what is in force, for the node's other programs (mode 0600)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def kept(cls, path: Path = KEPT) -> Registries:
        """What is in force since the start of k3s; raises OSError before the first one."""
        return cls(**json.loads(path.read_text()))

    def endpoints(self, name: Reference) -> list[Endpoint]:
        """Where ``name`` is looked for, in order."""
        mirror = self.mirrors.get(name.domain) or self.mirrors.get("*") or {}
        path = _rewritten(name.path, mirror.get("rewrite") or {})
        found = [self._endpoint(url, path, name) for url in mirror.get("endpoint") or ()]
        own = _HUB if name.domain == DEFAULT_DOMAIN else name.domain
        if self.default and not any(each.host == own and each.base.startswith("https:") for each in found):
            found.append(self._endpoint(f"https://{own}", name.path, name))
        return found

    def _endpoint(self, url: str, path: str, name: Reference) -> Endpoint:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host = _HUB if parts.netloc == DEFAULT_DOMAIN else parts.netloc
        folder = parts.path.rstrip("/") or "/v2"
        settings = self.configs.get(host) or (self.configs.get(name.domain) if host == _HUB else None) or {}
        auth = settings.get("auth") or {}
        login = (str(auth["username"]), str(auth.get("password", ""))) if auth.get("username") else None
        verify = not (settings.get("tls") or {}).get("insecure_skip_verify")
        query = "" if host in (name.domain, _HUB) else f"?ns={name.domain}"
        return Endpoint(f"{parts.scheme}://{host}{folder}/{path}", host, query, verify, login)


def _rewritten(path: str, rules: dict[str, str]) -> str:
    for pattern, replacement in rules.items():
        changed = re.sub(pattern, re.sub(r"\$\{?(\d+)\}?", r"\\\1", replacement), path)
        if changed != path:
            return changed
    return path
