"""FloatingIPs and FloatingIPPools: each rule of one object by itself. What they may do to each other is the registry's."""

from __future__ import annotations

import copy
from ipaddress import ip_network
from typing import Any

import pytest

from pierhead.api import Tree, codec, metadata
from pierhead.api.kind import Kind
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL
from pierhead.api.network import Network
from pierhead.api.strategy import Write

GROUND = Network(
    "namespace", (ip_network("10.96.0.0/16"),), (ip_network("10.64.0.0/16"),), node_address="192.0.2.200",
    machine_address="10.97.0.1", second_node_address="fd00:10:97::2", second_machine_address="fd00:10:97::1",
)  # fmt: skip
LOOPBACK = Network("loopback", (ip_network("127.96.0.0/16"),), (ip_network("127.64.0.0/16"),))
NOW = "2026-01-02T03:04:05Z"


def created(
    kind: Kind, spec: Tree, name: str = "x", network: Network = GROUND, **fields: Any
) -> tuple[Tree, list[str]]:
    """The new object, and why it was refused."""
    obj: Tree = {"metadata": {"name": name}, "spec": spec} | fields
    codec.complete(kind, obj)
    write = Write(NOW, network)
    kind.strategy.prepare_create(obj, write)
    return obj, texts([*metadata.validate(kind, obj), *kind.strategy.validate(obj, write)])


def changed(kind: Kind, old: Tree, subresource: str = "", **fields: Any) -> tuple[Tree, list[str]]:
    obj, write = copy.deepcopy(old) | fields, Write(NOW, GROUND, subresource=subresource)
    codec.complete(kind, obj)
    kind.strategy.prepare_update(obj, old, write)
    return obj, texts(kind.strategy.validate_update(obj, old, write))


def texts(causes: list[Any]) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in causes]


# -- floating IPs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["web", "web.example.com", "192.0.2.7", "2001:db8::7", "service-0b1c"])
def test_a_floating_ip_is_named_as_people_like_or_after_its_address(name: str) -> None:
    assert created(FLOATING_IP, {}, name)[1] == []


@pytest.mark.parametrize("name", ["192.0.02.7", "2001:DB8::7", "2001:db8:0::7"])
def test_a_name_that_is_an_address_is_one_in_canonical_form(name: str) -> None:
    refused = created(FLOATING_IP, {"address": "192.0.2.1"}, name)[1]
    assert refused[0] == f'metadata.name: Invalid value: "{name}": must be a canonical format IP address'


@pytest.mark.parametrize("name", ["192.0.2.300", "192.0.2", "42"])
def test_a_name_that_can_only_be_a_misspelled_address_is_none(name: str) -> None:
    assert created(FLOATING_IP, {}, name)[1] == [
        f'metadata.name: Invalid value: "{name}": must be a valid IP address where it has digits and dots only, (e.g. 192.0.2.7)'
    ]


def test_a_name_that_is_an_address_wishes_for_it() -> None:
    assert created(FLOATING_IP, {}, "192.0.2.7")[0]["spec"] == {"address": "192.0.2.7"}
    assert created(FLOATING_IP, {"address": "192.0.2.8"}, "192.0.2.7")[1] == [
        'spec.address: Invalid value: "192.0.2.8": must be metadata.name where that is an address'
    ]


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"address": "192.0.2"}, 'spec.address: Invalid value: "192.0.2": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        ({"address": "192.0.2.07"}, 'spec.address: Invalid value: "192.0.2.07": must not have leading 0s'),
        ({"service": "web"}, 'spec.service: Invalid value: "web": must be NAMESPACE/NAME of a Service, (e.g. default/web)'),
        ({"service": "a/b/c"}, 'spec.service: Invalid value: "a/b/c": must be NAMESPACE/NAME of a Service, (e.g. default/web)'),
    ],
)  # fmt: skip
def test_a_wish_that_makes_no_sense(spec: Tree, refused: str) -> None:
    assert created(FLOATING_IP, spec)[1] == [refused]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\nb", "must be one line of printable text"),
        ("\x1b[31mred", "must be one line of printable text"),
        ("ö" * 129, "Too long: may not be more than 256 bytes"),
    ],
)
def test_a_remark_breaks_no_table(text: str, why: str) -> None:
    _, refused = created(FLOATING_IP, {"displayName": text})
    assert [cause.partition("spec.displayName: ")[2].endswith(why) for cause in refused] == [True]
    made, _ = created(FLOATING_IP, {"displayName": "shop"})
    _, refused = changed(FLOATING_IP, made, spec={"displayName": text})
    assert len(refused) == 1


def test_a_display_name_is_a_remark_for_people() -> None:
    made, refused = created(FLOATING_IP, {"displayName": "Öffentlich, für alle!"})
    assert refused == []
    remarked, refused = changed(FLOATING_IP, made, spec={"displayName": ""})
    assert refused == []
    assert "displayName" not in remarked["spec"] or remarked["spec"]["displayName"] == ""


def test_whose_address_it_is_never_changes() -> None:
    old = created(FLOATING_IP, {"pool": "p", "address": "192.0.2.7", "service": "default/web"})[0]
    again, refused = changed(FLOATING_IP, old, spec={"displayName": "x"})
    assert refused == []
    assert again["spec"] == old["spec"] | {"displayName": "x"}, "what a manifest leaves out stays"
    others = {"pool": "q", "address": "192.0.2.8", "service": "default/api"}
    assert changed(FLOATING_IP, old, spec=others)[1] == [
        f'spec.{name}: Invalid value: "{value}": field is immutable' for name, value in others.items()
    ]


def test_the_status_of_a_floating_ip_is_written_only_as_its_status() -> None:
    given = {"address": "192.0.2.7"}
    old = created(FLOATING_IP, {}, status=given)[0]
    assert old["status"] == {}
    assert changed(FLOATING_IP, old, status=given)[0]["status"] == {}
    now, refused = changed(FLOATING_IP, old, "status", status=given, spec={"displayName": "x"})
    assert (now["status"], now["spec"], refused) == (given, {}, [])


def test_the_region_of_an_address_is_not_for_others_to_write() -> None:
    old = created(FLOATING_IP, {})[0] | {"status": {"address": "192.0.2.7", "region": "local"}}
    written = {"address": "192.0.2.7", "region": "moon"}
    assert changed(FLOATING_IP, old, "status", status=written)[0]["status"] == old["status"]
    assert changed(FLOATING_IP, old | {"status": {}}, "status", status={"region": "moon"})[0]["status"] == {}


def test_an_address_once_given_stays() -> None:
    old = created(FLOATING_IP, {})[0] | {"status": {"address": "192.0.2.7"}}
    for other in ("192.0.2.8", ""):
        assert changed(FLOATING_IP, old, "status", status={"address": other})[1] == [
            f'status.address: Invalid value: "{other}": field is immutable'
        ]
    assert changed(FLOATING_IP, old, "status", status={"address": "192.0.2.7", "services": ["web"]})[1] == [
        'status.services[0]: Invalid value: "web": must be NAMESPACE/NAME of a Service, (e.g. default/web)'
    ]


# -- pools --------------------------------------------------------------------------------------------------


def test_a_new_pool_is_of_this_region_and_wholly_free() -> None:
    made, refused = created(FLOATING_IP_POOL, {"ranges": ["192.0.2.0/28", "192.0.2.64"]}, status={"used": 9})
    assert refused == []
    assert made["spec"]["region"] == "local"
    assert made["status"] == {"used": 0, "free": 15}
    assert created(FLOATING_IP_POOL, {"ranges": ["2001:db8::/32"]})[0]["status"]["free"] == 2**63 - 1


@pytest.mark.parametrize(
    ("ranges", "refused"),
    [
        ([], ["spec.ranges: Required value: a pool gives out at least one address"]),
        (["192.0.2.7"] * 257, ["spec.ranges: Too many: 257: must have at most 256 items"]),
        (["10.96.7.0/24"], ['spec.ranges[0]: Invalid value: "10.96.7.0/24": overlaps the range of cluster IPs (10.96.0.0/16)']),
        (["10.64.0.9"], ['spec.ranges[0]: Invalid value: "10.64.0.9": overlaps the range of pods (10.64.0.0/16)']),
        (["192.0.2.128/25"], ['spec.ranges[0]: Invalid value: "192.0.2.128/25": overlaps the address of the node (192.0.2.200)']),
        (["10.97.0.1"], ['spec.ranges[0]: Invalid value: "10.97.0.1": overlaps this machine\'s address on the link to its nodes (10.97.0.1)']),
        (["fd00:10:97::/112"], [
            'spec.ranges[0]: Invalid value: "fd00:10:97::/112": overlaps the address of the node (fd00:10:97::2)',
            'spec.ranges[0]: Invalid value: "fd00:10:97::/112": overlaps this machine\'s address on the link to its nodes (fd00:10:97::1)',
        ]),
        (["127.99.0.9"], ['spec.ranges[0]: Invalid value: "127.99.0.9": may not be in the loopback range (127.0.0.0/8, ::1/128)']),
        (["0.0.0.0"], ['spec.ranges[0]: Invalid value: "0.0.0.0": may not be in the unspecified range (0.0.0.0/8, ::/128)']),
        (["192.0.2.7", "240.0.0.1"], ['spec.ranges[1]: Invalid value: "240.0.0.1": may not be in the reserved range (240.0.0.0/4)']),
        (["224.0.1.9"], ['spec.ranges[0]: Invalid value: "224.0.1.9": may not be in the multicast range (224.0.0.0/4, ff00::/8)']),
        (["ff05::/112"], ['spec.ranges[0]: Invalid value: "ff05::/112": may not be in the multicast range (224.0.0.0/4, ff00::/8)']),
        (["169.254.3.0/24"], ['spec.ranges[0]: Invalid value: "169.254.3.0/24": may not be in the link-local range (169.254.0.0/16, fe80::/10)']),
    ],
)  # fmt: skip
def test_what_a_pool_cannot_give_out(ranges: list[str], refused: list[str]) -> None:
    assert created(FLOATING_IP_POOL, {"ranges": ranges})[1] == refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("255.255.255.255", ["broadcast", "reserved"]),
        ("126.0.0.1-128.0.0.1", ["broadcast", "loopback"]),
        ("::-::1:0:0:0", ["unspecified", "IPv4-mapped", "loopback"]),
    ],
)
def test_each_reason_against_a_range_is_given_also_where_only_its_middle_is_unfit(text: str, words: list[str]) -> None:
    refused = created(FLOATING_IP_POOL, {"ranges": [text]})[1]
    assert len(refused) == len(words)
    assert all(word in why for word, why in zip(words, refused, strict=True))


def test_a_region_inside_loopback_gives_out_loopback_addresses() -> None:
    assert created(FLOATING_IP_POOL, {"ranges": ["127.99.0.0/24"]}, network=LOOPBACK)[1] == []
    assert created(FLOATING_IP_POOL, {"ranges": ["127.0.0.0/24"]}, network=LOOPBACK)[1] == [
        'spec.ranges[0]: Invalid value: "127.0.0.0/24": overlaps the address of the node (127.0.0.1)'
    ]


def test_the_zones_of_a_pool_are_named_once_each() -> None:
    assert created(FLOATING_IP_POOL, {"ranges": ["192.0.2.7"], "zones": ["a", "", "a"]})[1] == [
        "spec.zones[1]: Required value",
        'spec.zones[2]: Duplicate value: "a"',
    ]


def test_a_pool_keeps_its_region_unless_another_is_named() -> None:
    old = created(FLOATING_IP_POOL, {"ranges": ["192.0.2.7"], "region": "north"})[0]
    grown, refused = changed(FLOATING_IP_POOL, old, spec={"ranges": ["192.0.2.7", "192.0.2.9"]})
    assert (grown["spec"]["region"], refused) == ("north", [])
    assert grown["status"] == {"used": 0, "free": 2}
    moved, refused = changed(FLOATING_IP_POOL, old, spec={"ranges": ["192.0.2.7"], "region": "south"})
    assert (moved["spec"]["region"], refused) == ("south", [])
    (refusal,) = changed(FLOATING_IP_POOL, old, spec={"ranges": ["192.0.2.7"], "region": "a b"})[1]
    assert refusal.startswith('spec.region: Invalid value: "a b": a lowercase RFC 1123 subdomain')


def test_the_counts_of_a_pool_are_written_only_as_its_status() -> None:
    old = created(FLOATING_IP_POOL, {"ranges": ["192.0.2.7"]})[0]
    assert changed(FLOATING_IP_POOL, old, status={"used": 1})[0]["status"] == old["status"]
    assert changed(FLOATING_IP_POOL, old, "status", status={"used": 1, "free": -1})[1] == [
        "status.free: Invalid value: -1: must be greater than or equal to 0"
    ]
