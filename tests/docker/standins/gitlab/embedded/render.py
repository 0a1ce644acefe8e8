"""The files that reconfigure makes: for nginx, the emulator and the health check."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

from lab.emulator.config import Config

PUMA, REGISTRY = 8080, 5000
DATA, ETC = Path("/var/opt/gitlab"), Path("/opt/gitlab/etc")
LOOPBACK = ["127.0.0.0/8", "::1/128"]
_HEALTH = "^/(-/(health|readiness|liveness|metrics)|health_check)"
_NGINX = Template("""\
# Made by gitlab-ctl reconfigure.
daemon off;
user root;
worker_processes 2;
pid /var/opt/gitlab/nginx/nginx.pid;
error_log /var/log/gitlab/nginx/error.log;
events { worker_connections 1024; }
http {
  access_log /var/log/gitlab/nginx/access.log;
  client_max_body_size 0;
  proxy_http_version 1.1;
  proxy_buffering off;
  proxy_request_buffering off;
  proxy_read_timeout 3600;
  proxy_connect_timeout 300;
  proxy_set_header Host $$http_host;
  proxy_set_header X-Forwarded-For $$proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto http;
  $servers
}
""")
_GITLAB = Template("""
  server {
    listen *:$port;
    server_name $host;
    location / { proxy_pass http://127.0.0.1:$puma; }
    location = /help { proxy_pass http://127.0.0.1:$puma/-/health; }
    location ~ $health {
      $allowed
      deny all;
      error_page 403 = @hidden;
      proxy_pass http://127.0.0.1:$puma;
    }
    location @hidden { set $$nothing ""; return 404 $$nothing; }  # a plain "" would bring nginx's own page
  }
""")
_REGISTRY = Template("""
  server {
    listen *:$port;
    server_name $host;
    location / { proxy_pass http://127.0.0.1:$registry; }
  }
""")


def check(settings: dict[str, Any]) -> None:
    """Say which settings only print a deprecation."""
    for old, new in (("nginx", "gitlab_rails['nginx']"), ("registry_nginx", "registry['nginx']")):
        for key in settings[old]:
            if key.startswith("listen"):
                print(f"Deprecations:\n* {old}['{key}'] has been moved to {new} in GitLab 19.2", flush=True)


def write(settings: dict[str, Any]) -> set[str]:
    """Write every file; answers the services whose files changed."""
    url = urlsplit(settings["external_url"])
    port = _listen(settings, "gitlab_rails", "nginx") or url.port or 80
    servers = _GITLAB.substitute(
        port=port,
        host=url.hostname,
        puma=PUMA,
        health=_HEALTH,
        allowed=" ".join(f"allow {each};" for each in settings["gitlab_rails"].get("monitoring_whitelist", LOOPBACK)),
    )
    registry = ""
    if settings.get("registry_external_url"):
        registry = urlsplit(settings["registry_external_url"]).netloc
        listen = _listen(settings, "registry", "registry_nginx") or registry.partition(":")[2] or 80
        servers += _REGISTRY.substitute(port=listen, host=registry.partition(":")[0], registry=REGISTRY)
    changed = set()
    if _put(DATA / "nginx/conf/nginx.conf", _NGINX.substitute(servers=servers)):
        changed.add("nginx")
    if _emulator(settings["external_url"].rstrip("/"), registry):
        changed.add("puma")
    _put(ETC / "gitlab-healthcheck-rc", f"url='http://localhost:{port}/help'\n")
    return changed


def _listen(settings: dict[str, Any], group: str, old: str) -> int | None:
    new = settings[group].get("nginx", {}).get("listen_port")
    found: int | None = new or settings[old].get("listen_port")
    return found


def _emulator(url: str, registry: str) -> bool:
    path = DATA / "gitlab-rails/etc/emulator.json"
    before = path.read_text() if path.exists() else ""
    Config(
        data=DATA / "emulator",
        gitlab_url=url,
        registry=registry or "registry.invalid",
        gitlab_port=PUMA,
        registry_port=REGISTRY,
        components=("gitlab",),
    ).write(path)
    return path.read_text() != before


def _put(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return True
