"""Protobuf bodies, as Go clients send them."""

import base64
from typing import Any

import pytest

from pierhead.api import codec
from pierhead.api.kind import Kind
from pierhead.api.kinds import CONFIG_MAP, LEASE, NAMESPACE, POD, SERVICE
from pierhead.errors import ApiError

SENT = base64.b64decode(
    "azhzAAoNCgJ2MRIHU2VydmljZRJGChEKA3dlYloKCgNhcHASA3dlYhIxChgKBGh0dHASA1RDUBhQIgkIARAAGgN3ZWISCgoDYXBwEgN3ZWIiCUNsdXN0ZXJJUBoAIgA="
)
"""A Service as a Go client writes it."""


def number(value: int) -> bytes:
    out = b""
    value &= 2**64 - 1
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(place: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return number(place << 3) + number(value)
    raw = value.encode() if isinstance(value, str) else value
    return number(place << 3 | 2) + number(len(raw)) + raw


def body(kind: Kind, raw: bytes, version: str = "") -> bytes:
    named = field(1, version or kind.api_version) + field(2, kind.name)
    return b"k8s\x00" + field(1, named) + field(2, raw)


def tree(kind: Kind, raw: bytes) -> Any:
    return codec.decode(kind, body(kind, raw), "protobuf").tree


def refusal(kind: Kind, raw: bytes) -> str:
    with pytest.raises(ApiError) as caught:
        codec.decode(kind, raw, "protobuf")
    assert caught.value.code == 400
    return caught.value.message


def test_a_service_of_a_go_client() -> None:
    found = codec.decode(SERVICE, SENT, "protobuf").tree
    assert found["metadata"] == {"name": "web", "labels": {"app": "web"}}
    assert found["spec"] == {
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web"}],
        "selector": {"app": "web"},
        "type": "ClusterIP",
    }


def test_a_namespace() -> None:
    assert tree(NAMESPACE, field(1, field(1, "room")))["metadata"] == {"name": "room"}


def test_negative_numbers_times_and_pointers() -> None:
    spec = field(1, "me") + field(2, -1) + field(3, field(1, 1_700_000_000) + field(2, 5000)) + field(5, 0)
    assert tree(LEASE, field(2, spec))["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": -1,
        "acquireTime": "2023-11-14T22:13:20.000005Z",
        "leaseTransitions": 0,
    }


def test_bytes_embedded_structs_and_quantities() -> None:
    assert tree(CONFIG_MAP, field(3, field(1, "a") + field(2, b"\x00\x01")))["binaryData"] == {"a": "AAE="}
    volume = field(1, "v") + field(2, field(2, b""))
    limits = field(1, field(1, "cpu") + field(2, field(1, "0.5")))
    probe = field(1, field(2, field(2, field(1, 0) + field(2, 80)))) + field(2, 3)
    container = field(1, "c") + field(8, limits) + field(11, probe)
    spec = tree(POD, field(2, field(1, volume) + field(2, container)))["spec"]
    assert spec["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert spec["containers"] == [
        {
            "name": "c",
            "resources": {"limits": {"cpu": "500m"}},
            "readinessProbe": {"httpGet": {"port": 80}, "initialDelaySeconds": 3},
        }
    ]


def test_unknown_numbers_are_passed_over() -> None:
    raw = (
        field(1, field(1, "web"))
        + field(99, "x")
        + field(98, 7)
        + number(97 << 3 | 5)
        + b"1234"
        + number(96 << 3 | 1)
        + b"12345678"
    )
    assert tree(SERVICE, raw)["metadata"] == {"name": "web"}


def test_what_is_no_envelope() -> None:
    prefix = "the object provided is unrecognized (must be of type Service): "
    assert refusal(SERVICE, b"") == f"{prefix}empty data (<empty>)"
    wrong = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    assert refusal(SERVICE, b"{}") == f"{prefix}{wrong} ({{}})"
    assert refusal(SERVICE, b"k8s\x00\x0a\x7f") == f"{prefix}unexpected EOF (6b3873000a7f)"


def test_what_is_cut_off_or_of_another_wire_type() -> None:
    prefix = 'Service in version "v1" cannot be handled as a Service: '
    assert refusal(SERVICE, body(SERVICE, b"\x0a\x05x")) == f"{prefix}unexpected EOF"
    assert refusal(SERVICE, body(SERVICE, field(1, 5))) == f"{prefix}proto: wrong wireType = 0 for field Metadata"
    assert refusal(SERVICE, body(SERVICE, b"\x0b")) == f"{prefix}proto: illegal wireType 3"


def test_another_kind() -> None:
    assert "unknown conversion" in refusal(SERVICE, body(POD, b""))
