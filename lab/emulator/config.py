"""What one emulator process is told: where its data lies, its addresses and names, its first secrets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

COMPONENTS = ("gitlab", "runner", "kubernetes")


@dataclass(frozen=True)
class Config:
    """Settings of an emulator process; written by whoever starts it, as one JSON file with mode 0600."""

    data: Path
    """Folder that holds everything the emulator knows. It survives the process."""
    bind: str = "127.0.0.1"
    """Address that every listener binds."""
    gitlab_url: str = "http://127.0.0.1:8929"
    """GitLab's external URL: the identity in every payload and link (no trailing slash)."""
    registry: str = "127.0.0.1:5050"
    """``host:port`` of the registry as image names carry it; containers of images from elsewhere are simulated."""
    gitlab_port: int = 8929
    registry_port: int = 5050
    kubernetes_port: int = 6550
    argocd_port: int = 8443
    app_port: int = 8088
    """Where the cluster's ingress listens (plain HTTP)."""
    root_password: str = field(default="", repr=False)
    root_token: str = field(default="", repr=False)
    """Personal access token of ``root`` (scopes api, sudo), made on the first start."""
    components: tuple[str, ...] = COMPONENTS
    profile: str = "fast"
    """``fast``, or ``upstream`` for the real systems' delays and quirks."""
    argocd_url: str = "https://127.0.0.1:8443"
    names: tuple[str, ...] = ()
    """Further names and addresses that the Kubernetes API's certificate is for."""
    kubernetes_version: str = "v1.33.5+emulator"
    """What ``/version`` says."""
    ingress_tls_port: int = 0
    """Where the ingress listens with TLS; 0 for nowhere."""

    @property
    def upstream(self) -> bool:
        """Whether the real systems' delays are wanted."""
        return self.profile == "upstream"

    def write(self, path: Path) -> None:
        """Write the settings to ``path`` with mode 0600; the file never exists with a wider mode."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({**asdict(self), "data": str(self.data)}, indent=2))
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Config:
        """Read settings written by `write`; raises ValueError on an unknown key."""
        raw: dict[str, Any] = json.loads(path.read_text())
        unknown = set(raw) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"{path}: unknown keys {', '.join(sorted(unknown))}")
        raw["data"] = Path(raw["data"])
        raw["components"] = tuple(raw.get("components", COMPONENTS))
        raw["names"] = tuple(raw.get("names", ()))
        return cls(**raw)
