"""The parts of the k3s stand-in that need no engine: its flags, registries.yaml, CoreDNS' blocks, DNS packets."""

from __future__ import annotations

import ipaddress
import struct
import sys
from pathlib import Path

import pytest

from lab.emulator.docker.references import parse

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docker/standins/k3s"))

from k3s_node import arguments, corefile, dns, packets
from k3s_node.network import Network
from k3s_node.registries import Registries


def test_flags_that_k3d_passes_are_taken():
    given = ["--tls-san", "127.0.0.1", "--tls-san", "lb", "--disable-default-registry-endpoint"]
    found = arguments.parse("server", [*given, "--kubelet-arg=fail-cgroupv1=false", "--token=t"])
    assert found.tls_san == ["127.0.0.1", "lb"]
    assert found.disable_default_registry_endpoint
    assert found.token == "t"


@pytest.mark.parametrize("flag", ["--no-such", "--disable-default-registry", "--kubelet-arg=no-such=1", "extra"])
def test_other_flags_end_k3s(flag, capsys):
    with pytest.raises(SystemExit) as caught:
        arguments.parse("server", [flag])
    assert caught.value.code == 1
    assert capsys.readouterr().err


MIRRORS = {
    "docker.io": {"endpoint": ["http://mirror:5000"]},
    "quay.io": {"endpoint": ["http://mirror:5000/v2/quay", "https://quay.io"]},
    "ghcr.io": {"endpoint": ["https://mirror"], "rewrite": {"^(.*)": "proxy/$1"}},
    "*": {"endpoint": ["http://any"]},
}


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("redis", ["http://mirror:5000/v2/library/redis", "https://registry-1.docker.io/v2/library/redis"]),
        ("quay.io/a/b", ["http://mirror:5000/v2/quay/a/b", "https://quay.io/v2/a/b"]),
        ("ghcr.io/a/b", ["https://mirror/v2/proxy/a/b", "https://ghcr.io/v2/a/b"]),
        ("other.test:5050/a", ["http://any/v2/a", "https://other.test:5050/v2/a"]),
    ],
)
def test_endpoints_follow_registries_yaml(name, bases):
    found = Registries(MIRRORS).endpoints(parse(name))
    assert [each.base for each in found] == bases
    assert found[0].query == f"?ns={parse(name).domain}"
    assert found[-1].query == ""


def test_without_the_default_endpoint_an_unknown_registry_has_none(tmp_path):
    path = tmp_path / "registries.yaml"
    path.write_text('configs: {"r.test:5050": {auth: {username: u, password: p}, tls: {insecure_skip_verify: true}}}')
    assert Registries.read(path, default=False).endpoints(parse("r.test:5050/a")) == []
    (endpoint,) = Registries.read(path, default=True).endpoints(parse("r.test:5050/a"))
    assert (endpoint.login, endpoint.verify) == (("u", "p"), False)
    assert Registries.read(tmp_path / "missing", default=True).mirrors == {}
    path.write_text("mirrors: [")
    with pytest.raises(ValueError, match="failed to load registry configuration"):
        Registries.read(path, default=True)


def test_what_was_read_is_kept_for_other_programs(tmp_path):
    Registries(MIRRORS, default=False).keep(tmp_path / "kept.json")
    assert Registries.kept(tmp_path / "kept.json") == Registries(MIRRORS, default=False)
    assert (tmp_path / "kept.json").stat().st_mode & 0o777 == 0o600


def test_server_blocks_have_hosts_or_forward():
    text = "lab.test:53 {\n  errors\n  hosts {\n    10.0.0.1 a.lab.test b.lab.test\n    fallthrough\n  }\n}\n"
    other = "x.test other.test {\n  forward . 10.0.0.2 10.0.0.3 {\n    policy sequential\n  }\n}\n"
    found = {each.zone: each for each in corefile.custom({"a.server": text, "b.server": other, "ignored": "junk"})}
    assert found["lab.test"].hosts == {"a.lab.test": "10.0.0.1", "b.lab.test": "10.0.0.1"}
    assert found["lab.test"].fallthrough
    assert found["x.test"].forward == found["other.test"].forward == ["10.0.0.2", "10.0.0.3"]
    assert [found["lab.test"].covers(name) for name in ("lab.test", "a.lab.test", "xlab.test")] == [True, True, False]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.override": "hosts {\n 10.0.0.1 a\n}"}, "can only be used once"),
        ({"a.server": "lab.test {\n hosts\n hosts\n}"}, "can only be used once"),
        ({"a.server": "lab.test {\n}", "b.server": "lab.test {\n}"}, "already defined"),
        ({"a.server": ".:53 {\n}"}, "already defined"),
        ({"a.server": "lab.test {\n nonsense\n}"}, "Unknown directive 'nonsense'"),
        ({"a.server": "hosts { 10.0.0.1 a }"}, "Unknown directive"),
        ({"a.server": "lab.test {\n forward .\n}"}, "Wrong argument count"),
        ({"a.server": "lab.test {\n hosts {\n  a.lab.test 10.0.0.1\n }\n}"}, "unknown property"),
    ],
)
def test_what_coredns_would_refuse_is_refused(files, words):
    with pytest.raises(corefile.CorefileError, match=words):
        corefile.custom(files)


def test_a_loopback_resolver_is_not_one_that_pods_can_reach(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("search x\nnameserver 172.18.0.1\noptions ndots:0\n")
    assert dns.nameservers([str(path), "dns://10.0.0.2:53"]) == ["172.18.0.1", "10.0.0.2"]
    path.write_text("nameserver 127.0.0.11\n")
    assert dns.nameservers([str(path)]) == ["8.8.8.8"]


def test_packets_carry_names_and_addresses():
    packet = packets.query("Gitlab.lab.test")
    name, kind, end = packets.question(packet)
    assert (name, kind) == ("gitlab.lab.test", 1)
    answer = packets.reply(packet, end, 0, ["10.0.0.1", "10.0.0.2"], 60)
    assert packets.addresses(answer) == ["10.0.0.1", "10.0.0.2"]
    assert answer[:2] == packet[:2]
    spelled = (
        packet[:end]
        + packet[12:end][: end - 16]
        + struct.pack("!HHIH", 1, 1, 1, 4)
        + ipaddress.ip_address("10.0.0.9").packed
    )
    counted = spelled[:6] + struct.pack("!H", 1) + spelled[8:]
    assert packets.addresses(counted) == ["10.0.0.9"]
    with pytest.raises(ValueError, match="truncated"):
        packets.question(packet[:14])


def test_a_pods_address_is_not_given_again_at_once():
    network = Network()
    first = network._free()
    assert network._free() != first  # the first was given back, and yet the next one has its turn
    everyone = {network._free() for _ in range(252)}
    assert first in everyone
    assert everyone <= set(range(2, 255))
