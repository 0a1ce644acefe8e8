"""Names, proxies, address ranges, firewalls: what lies between the lab's parts and the world."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from shlex import quote

from lab.doctor.finding import Check, Seen, commands, wslconfig
from lab.doctor.view import Net, View, masked

DOMAIN = "lab.test"
_OUTSIDE = "registry-1.docker.io"
_PODS, _SERVICES = Net("10.42.0.0/16"), Net("10.43.0.0/16")
"""k3s's own defaults (contracts E.6)."""
_LOOPBACK = ("localhost", "127.0.0.1")
_INSIDE = (f".{DOMAIN}", f"gitlab.{DOMAIN}", ".svc", ".cluster.local", str(_PODS), str(_SERVICES))
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_POOLS = (
    (Net("172.17.0.0/16"), 16),
    (Net("172.18.0.0/15"), 16),
    (Net("172.20.0.0/14"), 16),
    (Net("172.24.0.0/13"), 16),
    (Net("192.168.0.0/16"), 20),
)
"""Docker's default address pools with the size of a network: 31 networks (contracts E.6)."""
_DESKTOP = "http.docker.internal"
"""Docker Desktop's own way out; it follows the settings of Windows."""
_CONTAINERS = re.compile(r"docker|br-|veth|cni|flannel|lo$")
_HALF = 1
"""A VPN that takes all traffic sets two routes of this prefix length instead of a default route."""


def dns(view: View) -> Seen:
    """Whether a name of the world outside can be resolved, and by whom."""
    servers = re.findall(r"^nameserver\s+(\S+)", view.read("/etc/resolv.conf"), re.MULTILINE)
    asked = f"by {', '.join(servers)}" if servers else "without any nameserver in /etc/resolv.conf"
    if view.machine.resolve(_OUTSIDE):
        return Seen("ok", f"{_OUTSIDE} is resolved {asked}")
    if any(view.variable(name) for name in _PROXIES):
        return Seen("ok", f"{_OUTSIDE} is not resolved {asked}; the proxy does that")
    if view.wsl:
        remedy = wslconfig("dnsTunneling=true")
    else:
        remedy = commands("resolvectl status", "sudo systemctl restart docker")
    return Seen(
        "warning",
        f"{_OUTSIDE} is not resolved {asked}",
        f"{remedy}\nDocker keeps the resolver it started with: connect a VPN first.",
    )


def hosts(view: View) -> Seen:
    """Lines of the lab's domain in /etc/hosts that point elsewhere than here."""
    found = []
    for line in view.read("/etc/hosts").splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        found += [(address, name) for name in names if name == DOMAIN or name.endswith(f".{DOMAIN}")]
    stale = [(address, name) for address, name in found if not address.startswith("127.") and address != "::1"]
    if stale:
        measured = ", ".join(f"{name} is {address}" for address, name in stale)
        return Seen("warning", measured, commands(rf"sudo sed -i '/{DOMAIN}/d' /etc/hosts"))
    return Seen(
        "ok", f"{len(found)} names point to this machine" if found else f"no lines for {DOMAIN}; none are needed"
    )


def proxy(view: View) -> Seen:
    """The proxy variables, and whether they spare what is here."""
    used = [f"{name}={masked(view.variable(name))}" for name in _PROXIES if view.variable(name)]
    if not used:
        return Seen("ok", "no proxy variables")
    wanted = _LOOPBACK + (_INSIDE if view.engine == "docker" else ())
    gaps = {name: _missing(view.machine.environ.get(name, ""), wanted) for name in ("no_proxy", "NO_PROXY")}
    missing = [word for word in wanted if word in gaps["no_proxy"] + gaps["NO_PROXY"]]
    if not missing:
        return Seen("ok", f"{', '.join(used)}; no_proxy spares the lab")
    whole = ",".join(dict.fromkeys([*_words(view.variable("no_proxy")), *wanted]))
    # Some programs read only one of the two spellings.
    remedy = commands(f"export no_proxy={quote(whole)}", f"export NO_PROXY={quote(whole)}") + "\n(also in ~/.profile)"
    return Seen("problem", f"{', '.join(used)}; no_proxy and NO_PROXY lack {', '.join(missing)}", remedy)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _missing(spared: str, wanted: tuple[str, ...]) -> list[str]:
    """What a no_proxy list does not cover; a domain covers the names below it, a network the networks inside."""
    words = [word.lstrip("*") for word in _words(spared)]
    return [name for name in wanted if "" not in words and not any(_covers(word, name) for word in words)]


def _covers(word: str, name: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_network(name).subnet_of(ipaddress.ip_network(word))  # type: ignore[arg-type] # same family or ValueError
    plain = word.lstrip(".")
    return name.lstrip(".") == plain or name.endswith(f".{plain}")


def engine_proxy(view: View) -> Seen:
    """The proxy of the engine itself: it pulls the images, not this user's shell."""
    info = view.docker.info
    if view.docker.failure:
        return Seen("unknown", "Docker does not answer")
    address = str(info.get("HttpsProxy") or info.get("HttpProxy") or "")
    shell = view.variable("https_proxy") or view.variable("http_proxy")
    if not address and shell and not view.docker.desktop:
        spared = ",".join(_LOOPBACK + _INSIDE)
        lines = f"[Service]\\nEnvironment=HTTPS_PROXY={masked(shell)} HTTP_PROXY={masked(shell)} NO_PROXY={spared}\\n"
        remedy = commands(
            "sudo mkdir -p /etc/systemd/system/docker.service.d",
            f"printf '{lines}' | sudo tee /etc/systemd/system/docker.service.d/proxy.conf",
            "sudo systemctl daemon-reload && sudo systemctl restart docker",
        )
        return Seen("warning", "the shell has a proxy, Docker has none: pulls may hang", remedy)
    if not address or _DESKTOP in address:
        return Seen("ok", "none of its own")
    missing = _missing(str(info.get("NoProxy") or ""), (*_LOOPBACK, f"gitlab.{DOMAIN}"))
    if missing:
        where = "systemd: proxy.conf; Docker Desktop: Settings > Resources > Proxies"
        measured = f"{masked(address)}; its NO_PROXY lacks {', '.join(missing)}"
        return Seen("warning", measured, f"Add them to NO_PROXY of the Docker service ({where}).")
    return Seen("ok", f"{masked(address)}; it spares the lab")


def pools(view: View) -> Seen:
    """How many networks Docker can still make."""
    if view.docker.failure:
        return Seen("unknown", "Docker does not answer")
    taken = [network for _, network in view.engine_networks()]
    taken += [route.network for route in view.routes() if not _CONTAINERS.match(route.interface)]
    free = sum(1 for subnet in _subnets(view) if not any(subnet.overlaps(other) for other in taken))
    measured = f"{free} of Docker's networks are free"
    more = json.dumps({"default-address-pools": [{"base": "10.201.0.0/16", "size": 24}]})
    remedy = (
        commands("docker network prune")
        + f"\nOr give Docker more, in /etc/docker/daemon.json, then restart it:\n{more}"
    )
    if not free and not any(name == view.settings.name for name, _ in view.engine_networks()):
        return Seen("problem", measured, remedy)
    return Seen("warning", measured, remedy) if free < 3 else Seen("ok", measured)


def _subnets(view: View) -> Iterator[Net]:
    """Every network that Docker may hand out."""
    own = view.docker.info.get("DefaultAddressPools") or ()
    for base, size in [(Net(pool["Base"]), int(pool["Size"])) for pool in own] or _POOLS:
        yield from base.subnets(new_prefix=size)


def overlap(view: View) -> Seen:
    """Routes, most often a VPN's, that lie across the addresses of pods, services or the lab's network."""
    ranges = {"pods": _PODS, "services": _SERVICES}
    ours = (view.settings.name, f"k3d-{view.settings.name}")
    ranges |= {f"network {name}": net for name, net in view.engine_networks() if name in ours}
    routes = [
        route for route in view.routes() if not _CONTAINERS.match(route.interface) and route.network.prefixlen > _HALF
    ]
    hits = [
        f"{route.network} by {route.interface} covers {what} ({network})"
        for route in routes
        for what, network in ranges.items()
        if route.network.overlaps(network)
    ]
    if hits:
        remedy = "Disconnect the VPN while the lab runs, or have its routes made narrower; see them:\n" + commands(
            "ip route"
        )
        return Seen("warning", "; ".join(hits), remedy)
    everything = [route.interface for route in view.routes() if route.network.prefixlen <= _HALF]
    if everything:
        return Seen("warning", f"{everything[0]} takes all traffic: Docker may find no free address pool",
                    "Make the lab's network before the VPN connects: run `invoke up` first.")  # fmt: skip
    return Seen("ok", f"no route covers {_PODS} or {_SERVICES}")


def firewall(view: View) -> Seen:
    """Ufw, which drops what containers send to this machine."""
    if not re.search(r"^ENABLED=yes", view.read("/etc/ufw/ufw.conf"), re.MULTILINE):
        return Seen("ok", "ufw is not active" if view.read("/etc/ufw/ufw.conf") else "no ufw")
    policy = re.search(r'^DEFAULT_INPUT_POLICY="?(\w+)', view.read("/etc/default/ufw"), re.MULTILINE)
    if policy and policy[1] == "ACCEPT":
        return Seen("ok", "ufw is active and lets everything in")
    return Seen(
        "warning",
        "ufw is active: pods and jobs do not reach this machine",
        commands("sudo ufw allow from 172.16.0.0/12", f"sudo ufw allow from {_PODS}"),
    )


_ONLY = ("docker",)
CHECKS = (
    Check(
        "net.dns",
        "Names of the world outside",
        "Images are pulled by name, by Docker and by the cluster's nodes.",
        dns,
        _ONLY,
    ),
    Check(
        "net.hosts",
        "Lines in /etc/hosts",
        "An old line sends this machine to an address that is no longer the lab's.",
        hosts,
        _ONLY,
    ),
    Check(
        "net.proxy",
        "Proxy variables",
        "git, curl and kubectl send even 127.0.0.1 to it unless NO_PROXY spares that.",
        proxy,
    ),
    Check(
        "docker.proxy",
        "Docker's proxy",
        "The engine pulls with its own proxy settings, not with those of the shell.",
        engine_proxy,
        _ONLY,
    ),
    Check(
        "docker.pools",
        "Address pools",
        "Each network takes a range; when all are taken no cluster can be made.",
        pools,
        _ONLY,
        stops_up=True,
    ),
    Check(
        "net.overlap", "VPN and other routes", "Two networks with the same addresses hide each other.", overlap, _ONLY
    ),
    Check(
        "net.firewall",
        "Firewall",
        "It blocks the way from pods to this machine; registry and webhook then time out.",
        firewall,
        _ONLY,
    ),
)
