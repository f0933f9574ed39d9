"""Endpoints and EndpointSlices: what differs from what was recorded, and what no input may break."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api import Tree
from pierhead.api.endpoints import EndpointsStrategy
from pierhead.api.endpointslices import EndpointSliceStrategy
from pierhead.api.network import Network
from pierhead.api.strategy import Strategy, Write
from pierhead.api.views import EndpointSlice
from pierhead.errors import Cause

RANGES = (ip_network("10.96.0.0/16"),)
PLAIN = Write("", Network("none", RANGES))
LOOPBACK = Write("", Network("loopback", RANGES))


def _endpoints(*ips: str) -> Tree:
    return {"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": ip} for ip in ips]}]}


def _slice(*ips: str, kind: str = "IPv4", **more: Any) -> Tree:
    return {"metadata": {"name": "s"}, "addressType": kind, "endpoints": [{"addresses": list(ips)}]} | more


@pytest.mark.parametrize(
    ("strategy", "obj"),
    [(EndpointsStrategy(), _endpoints("127.64.0.2")), (EndpointSliceStrategy(), _slice("127.64.0.2"))],
)
def test_loopback_addresses_pass_where_pods_live_there(strategy: Strategy, obj: Tree) -> None:
    assert strategy.validate(obj, LOOPBACK) == []
    assert "loopback range" in strategy.validate(obj, PLAIN)[0].message


@pytest.mark.parametrize(
    ("strategy", "obj"),
    [(EndpointsStrategy(), _endpoints("127.0.0.1")), (EndpointSliceStrategy(), _slice("127.0.0.1"))],
)
def test_the_api_server_may_be_where_it_is(strategy: Strategy, obj: Tree) -> None:
    kubernetes = obj | {"metadata": {"name": "kubernetes", "namespace": "default"}}
    assert strategy.validate(kubernetes, PLAIN) == []
    elsewhere = obj | {"metadata": {"name": "kubernetes", "namespace": "other"}}
    assert "loopback range" in strategy.validate(elsewhere, PLAIN)[0].message


@pytest.mark.parametrize(
    ("strategy", "old", "new"),
    [
        (EndpointsStrategy(), _endpoints("010.0.0.1"), _endpoints("010.0.0.1", "10.0.0.2")),
        (EndpointSliceStrategy(), _slice("010.0.0.1"), _slice("010.0.0.1", "10.0.0.2")),
    ],
)
def test_what_an_older_server_let_in_may_stay(strategy: Strategy, old: Tree, new: Tree) -> None:
    assert strategy.validate_update(new, old, PLAIN) == []
    assert "leading 0s" in strategy.validate(new, PLAIN)[0].message


def test_unchanged_subsets_are_not_judged_again() -> None:
    bad = {"metadata": {"name": "e"}, "subsets": [{"ports": [{"port": 0}]}]}
    assert EndpointsStrategy().validate_update(bad, bad, PLAIN) == []


def test_the_generation_counts_content_and_labels() -> None:
    strategy, old = EndpointSliceStrategy(), _slice("10.0.0.1")
    strategy.prepare_create(old, PLAIN)
    assert old["metadata"]["generation"] == 1
    for new, generation in (
        (_slice("10.0.0.1"), 1),
        (_slice("10.0.0.2"), 2),
        (_slice("10.0.0.1", ports=[{"name": "", "port": 80, "protocol": "TCP"}]), 2),
        (_slice("10.0.0.1", metadata={"name": "s", "labels": {"a": "b"}}), 2),
        (_slice("10.0.0.1", metadata={"name": "s", "annotations": {"a": "b"}}), 1),
    ):
        new["metadata"]["generation"] = 1
        strategy.prepare_update(new, old, PLAIN)
        assert new["metadata"]["generation"] == generation


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a.example.com.", ""),
        ("localhost", "should be a domain with at least two segments separated by dots"),
        ("", "Required value"),
        ("a_b.c", "a lowercase RFC 1123 subdomain"),
        ("x" * 64 + ".c", "must be no more than 63 characters"),
    ],
)
def test_domains_are_fully_qualified(value: str, text: str) -> None:
    causes = EndpointSliceStrategy().validate(_slice(value, kind="FQDN"), PLAIN)
    assert (text in causes[0].message) if text else causes == []


_TEXT = st.sampled_from(["", "a", "A_b", "10.0.0.1", "127.0.0.1", "::1", "x" * 70])
_PORTS = st.none() | st.lists(
    st.fixed_dictionaries(
        {},
        optional={"name": _TEXT, "port": st.integers(-1, 70000), "protocol": _TEXT, "appProtocol": st.none() | _TEXT},
    ),
    max_size=3,
)
_ADDRESSES = st.none() | st.lists(
    st.fixed_dictionaries({}, optional={"ip": _TEXT, "hostname": _TEXT, "nodeName": st.none() | _TEXT}), max_size=3
)
_SUBSETS = st.lists(
    st.fixed_dictionaries({}, optional={"addresses": _ADDRESSES, "notReadyAddresses": _ADDRESSES, "ports": _PORTS}),
    max_size=3,
)
_HINTS = st.none() | st.fixed_dictionaries(
    {}, optional={"forZones": st.lists(st.fixed_dictionaries({"name": _TEXT}), max_size=9)}
)
_SLICES = st.fixed_dictionaries(
    {},
    optional={
        "addressType": st.sampled_from(["", "IPv4", "IPv6", "FQDN", "x"]),
        "endpoints": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "addresses": st.none() | st.lists(_TEXT, max_size=3),
                    "hostname": st.none() | _TEXT,
                    "nodeName": st.none() | _TEXT,
                    "hints": _HINTS,
                },
            ),
            max_size=3,
        ),
        "ports": _PORTS,
    },
)


def _walk(strategy: Strategy, new: Tree, old: Tree) -> list[Cause]:
    """What is wrong with the change, when both were made first."""
    found = []
    for obj in (new, old):
        strategy.default(obj)
        strategy.prepare_create(obj, PLAIN)
        found += strategy.validate(obj, PLAIN)
        strategy.warnings(obj, None)
    if not found:
        assert strategy.validate_update(new, new, PLAIN) == []
    strategy.prepare_update(new, old, PLAIN)
    strategy.warnings(new, old)
    return found + strategy.validate_update(new, old, LOOPBACK)


@given(_SUBSETS, st.none() | _SUBSETS)
def test_endpoints_that_are_good_stay_good_and_others_are_told_where(new: list[Tree], old: list[Tree] | None) -> None:
    causes = _walk(EndpointsStrategy(), {"metadata": {}, "subsets": new}, {"metadata": {}, "subsets": old})
    assert all(cause.field.startswith("subsets[") and cause.message for cause in causes)


@given(_SLICES, _SLICES)
def test_slices_that_are_good_stay_good_and_others_are_told_where(new: Tree, old: Tree) -> None:
    causes = _walk(EndpointSliceStrategy(), {"metadata": {}} | new, {"metadata": {}} | old)
    assert all(cause.field.startswith(("addressType", "endpoints[", "ports[")) and cause.message for cause in causes)


def test_what_endpoints_have_in_common_is_held_once() -> None:
    said = {"conditions": {"ready": True, "serving": False}, "nodeName": "node-of-both", "zone": "zone-of-both"}
    target = {"kind": "Pod", "namespace": "namespace-of-both"}
    endpoints = [
        {"addresses": [f"10.0.0.{last}"], **said, "targetRef": target | {"name": str(last)}} for last in (1, 2)
    ]
    found = msgspec.convert({"metadata": {"name": "s"}, "endpoints": endpoints}, EndpointSlice)
    one, other = msgspec.json.decode(msgspec.json.encode(found), type=EndpointSlice).endpoints or ()
    assert one.conditions is other.conditions
    assert (one.conditions.ready, one.conditions.serving, one.conditions.terminating) == (True, False, None)
    assert one.node_name is other.node_name
    assert one.zone is other.zone
    assert one.target_ref
    assert other.target_ref
    assert one.target_ref.kind is other.target_ref.kind
    assert one.target_ref.namespace is other.target_ref.namespace
    assert (one.target_ref.name, other.target_ref.name) == ("1", "2")
