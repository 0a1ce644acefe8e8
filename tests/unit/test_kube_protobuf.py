from __future__ import annotations

import pytest

from lab.emulator.kube.errors import StatusError
from lab.emulator.kube.web.protobuf import decode


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while True:
        value, byte = value >> 7, value & 0x7F
        if not value:
            return out + bytes([byte])
        out += bytes([byte | 0x80])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*pairs):
    return b"".join(field(number, value) for number, value in pairs)


def body(api_version, kind, raw):
    return b"k8s\x00" + message((1, message((1, api_version), (2, kind))), (2, raw))


def test_a_secret():
    meta = message((1, "s"), (3, "default"), (11, message((1, "app"), (2, "x"))))
    raw = message((1, meta), (2, message((1, "password"), (2, b"\x00\xff"))), (3, "Opaque"))
    found = decode(body("v1", "Secret", raw))
    assert found == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "default", "labels": {"app": "x"}},
        "data": {"password": "AP8="},
        "type": "Opaque",
    }


def test_numbers_ports_quantities_and_inlined_structs():
    port = message((3, 8080), (4, "TCP"))
    limits = message((1, "cpu"), (2, message((1, "500m"))))
    get = message((1, "/health"), (2, message((1, 0), (2, 8080))), (4, "HTTP"))
    probe = message((1, message((2, get))), (2, 5))
    container = message((1, "web"), (2, "nginx"), (6, port), (8, message((1, limits))), (11, probe))
    pod = message((2, container), (4, -1))
    template = message((2, pod))
    spec = message((1, 2), (3, template))
    found = decode(body("apps/v1", "Deployment", message((2, spec))))["spec"]
    assert found["replicas"] == 2
    (made,) = found["template"]["spec"]["containers"]
    assert made["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert made["resources"] == {"limits": {"cpu": "500m"}}
    assert made["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8080, "scheme": "HTTP"}
    assert made["readinessProbe"]["initialDelaySeconds"] == 5
    assert found["template"]["spec"]["terminationGracePeriodSeconds"] == -1


def test_what_cannot_be_read():
    with pytest.raises(StatusError) as caught:
        decode(b"nonsense")
    assert caught.value.code == 400
    with pytest.raises(StatusError) as caught:
        decode(body("v1", "Secret", b"\x0a\xff"))
    assert caught.value.code == 400
    with pytest.raises(StatusError) as caught:
        decode(body("example.com/v1", "Widget", b""))
    assert caught.value.message == "not emulated: protobuf bodies of kind Widget in example.com/v1"
