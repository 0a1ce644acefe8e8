import ipaddress
import re

import pytest

from lab.engines.docker import address, network, root_access, runner
from lab.errors import MachineError

Net = ipaddress.IPv4Network


def test_the_first_subnet_that_overlaps_nothing_is_taken():
    assert network.free([]) == Net("172.31.0.0/24")
    assert network.free([Net("172.31.0.0/25")]) == Net("172.31.1.0/24")
    assert network.free([Net("172.16.0.0/12")]) == Net("10.201.0.0/24")


def test_a_vpn_that_routes_everything_private_is_told():
    taken = [Net("172.16.0.0/12"), Net("10.0.0.0/8"), Net("192.168.0.0/16")]
    with pytest.raises(MachineError) as caught:
        network.free(taken)
    assert caught.value.code == "LAB-NET-01"
    assert "VPN" in caught.value.hint


def test_a_route_is_read_in_the_kernels_byte_order():
    assert network._address("0000A8C0") == "192.168.0.0"


def test_passwords_satisfy_gitlabs_rules():
    made = {root_access.new_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        assert len(password) >= 20
        assert not re.search(r"[aeiou]", password, re.IGNORECASE), "no word of a list can be in it"


@pytest.mark.parametrize(
    ("found", "where"),
    [
        ({"a": 1, "b": [{"c": 2, "more": 3}], "id": 7}, ""),
        ({"a": 1, "b": [{"c": 3}]}, "b.c"),
        ({"a": 1, "b": []}, "b"),
        ({}, "a"),
    ],
)
def test_keys_that_the_runner_adds_are_no_difference(found, where):
    assert runner.differs({"a": 1, "b": [{"c": 2}]}, found) == where


def nothing(_path):
    return ""


def test_the_engine_is_found_as_dockers_client_finds_it():
    files = {
        "/home/me/.docker/config.json": '{"currentContext": "desk"}',
    }
    assert address.resolve({"DOCKER_HOST": "tcp://127.0.0.1:2375"}, "/home/me", nothing) == "tcp://127.0.0.1:2375"
    assert address.resolve({}, "/home/me", nothing) == address.DEFAULT
    assert address.resolve({}, "/home/me", lambda path: files.get(path, "")) == address.DEFAULT, "a damaged context"
