"""Which addresses and ports a Service gets, keeps and gives back."""

from __future__ import annotations

import random
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pierhead.api import Tree
from pierhead.api.network import Network
from pierhead.api.services import ServiceStrategy
from pierhead.api.strategy import Write
from pierhead.core.allocation import allocate, held, port_claim
from pierhead.core.claims import Allocation
from pierhead.errors import ApiError

SINGLE = Network("none", (ip_network("10.96.0.0/16"),))
DUAL = Network("none", (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112")))
TINY = Network("none", (ip_network("10.96.0.0/29"),), node_ports=range(30000, 30003))


class Claims(dict[str, str]):
    def holder(self, key: str) -> str | None:
        return self.get(key)


def _service(name: str = "web", namespace: str = "default", **spec: Any) -> Tree:
    obj = {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"port": 80}]} | spec}
    ServiceStrategy().default(obj)
    ServiceStrategy().prepare_create(obj, Write("", SINGLE))
    return obj


def _create(obj: Tree, claims: Claims, network: Network = SINGLE, *, dry_run: bool = False) -> Allocation:
    allocation = allocate(obj, None, network, claims, random.Random(1).randrange, dry_run=dry_run)
    claims.update(dict.fromkeys(allocation.take, obj["metadata"]["name"]))
    return allocation


def _update(old: Tree, claims: Claims, network: Network = SINGLE, **spec: Any) -> tuple[Tree, Allocation]:
    new = {"metadata": old["metadata"], "spec": {"ports": [{"port": 80}]} | spec}
    ServiceStrategy().default(new)
    ServiceStrategy().prepare_update(new, old, Write("", network))
    allocation = allocate(new, old, network, claims, random.Random(2).randrange)
    for claim in allocation.release:
        del claims[claim]
    claims.update(dict.fromkeys(allocation.take, old["metadata"]["name"]))
    return new, allocation


def _message(service: Tree, claims: Claims, network: Network = SINGLE) -> str:
    with pytest.raises(ApiError) as caught:
        _create(service, claims, network)
    return f"{caught.value.code} {caught.value.message}"


def test_a_given_address_lies_above_the_band_for_choosing() -> None:
    service, claims = _service(), Claims()
    _create(service, claims)
    assert service["spec"]["clusterIPs"] == [service["spec"]["clusterIP"]]
    assert claims == {f"claims/ip/{service['spec']['clusterIP']}": "web"}
    assert int(service["spec"]["clusterIP"].split(".")[2]) >= 1


def test_one_address_has_one_claim_however_it_is_written() -> None:
    claims = Claims()
    _create(_service(clusterIP="fd00:10:96:0::66"), claims, DUAL)
    assert list(claims) == ["claims/ip/fd00:10:96::66"]
    assert "provided IP is already allocated" in _message(_service(clusterIP="fd00:10:96::66"), claims, DUAL)


def test_the_first_address_is_for_kubernetes_alone() -> None:
    claims = Claims()
    assert "10.96.0.1: provided IP is already allocated" in _message(_service(clusterIP="10.96.0.1"), claims)
    _create(_service("kubernetes", clusterIP="10.96.0.1"), claims)
    assert list(claims) == ["claims/ip/10.96.0.1"]


def test_a_full_range_is_a_failure_of_the_server() -> None:
    claims = Claims()
    for i in range(5):
        _create(_service(f"s{i}"), claims, TINY)
    assert _message(_service(), claims, TINY) == (
        '500 Internal error occurred: failed to allocate a serviceIP for Service "web": range is full'
    )


def test_full_node_ports_are_a_failure_of_the_server() -> None:
    claims = Claims({port_claim(number): "x" for number in TINY.node_ports})
    assert _message(_service(type="NodePort"), claims, TINY) == (
        "500 Internal error occurred: failed to allocate a nodePort: range is full"
    )


def test_twins_share_a_node_port_at_creation_only() -> None:
    claims = Claims()
    service = _service(type="NodePort", ports=_twins())
    assert len(_create(service, claims).take) == 2
    first, second = (port["nodePort"] for port in service["spec"]["ports"])
    assert first == second
    apart, _ = _update(_create_plain(claims), claims, type="NodePort", ports=_twins())
    first, second = (port["nodePort"] for port in apart["spec"]["ports"])
    assert first != second


def _twins() -> list[Tree]:
    return [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]


def _create_plain(claims: Claims) -> Tree:
    service = _service("plain")
    _create(service, claims)
    return service


def test_what_the_update_keeps_is_kept_and_what_it_drops_is_released() -> None:
    service, claims = _service(type="LoadBalancer", externalTrafficPolicy="Local"), Claims()
    _create(service, claims)
    assert len(claims) == 3
    same, allocation = _update(service, claims, type="LoadBalancer", externalTrafficPolicy="Local")
    assert same["spec"] == service["spec"]
    assert allocation == Allocation()
    plain, _ = _update(same, claims, type="ClusterIP")
    assert list(claims) == list(held(plain)) == [f"claims/ip/{service['spec']['clusterIP']}"]
    _update(plain, claims, type="ExternalName", externalName="a.example.com")
    assert claims == {}


def test_the_second_family_comes_and_goes_with_the_policy() -> None:
    service, claims = _service(), Claims()
    _create(service, claims, DUAL)
    dual, _ = _update(service, claims, DUAL, ipFamilyPolicy="RequireDualStack")
    assert dual["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert len(claims) == 2
    single, allocation = _update(
        dual,
        claims,
        DUAL,
        ipFamilyPolicy="SingleStack",
        clusterIPs=dual["spec"]["clusterIPs"],
        clusterIP=dual["spec"]["clusterIP"],
        ipFamilies=["IPv4", "IPv6"],
    )
    assert single["spec"]["clusterIPs"] == service["spec"]["clusterIPs"]
    assert allocation.release == (f"claims/ip/{dual['spec']['clusterIPs'][1]}",)


def test_turning_headless_is_left_to_validation() -> None:
    service, claims = _service(), Claims()
    _create(service, claims)
    new, allocation = _update(
        service, claims, clusterIP="None", ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="RequireDualStack"
    )
    assert allocation.take == ()
    (cause, *_) = ServiceStrategy().validate_update(new, service, Write("", SINGLE))
    assert (cause.field, cause.message) == ("spec.clusterIPs[0]", 'Invalid value: ["None"]: may not change once set')


def test_a_preference_does_not_follow_the_region() -> None:
    service, claims = _service(ipFamilyPolicy="PreferDualStack"), Claims()
    _create(service, claims, SINGLE)
    same, allocation = _update(service, claims, DUAL, ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"])
    assert same["spec"]["ipFamilies"] == ["IPv4"]
    assert allocation == Allocation()


def test_a_dry_run_takes_nothing_and_looks_only_at_node_ports() -> None:
    claims = Claims({"claims/ip/10.96.0.9": "x", port_claim(30001): "x"})
    service = _service(type="LoadBalancer", externalTrafficPolicy="Local")
    assert _create(service, claims, dry_run=True) == Allocation()
    assert service["spec"]["clusterIP"] == "10.96.0.0"
    assert (service["spec"]["ports"][0]["nodePort"], service["spec"]["healthCheckNodePort"]) == (32769, 32770)
    _create(_service(clusterIP="10.96.0.9"), claims, dry_run=True)
    with pytest.raises(ApiError, match="provided port is already allocated"):
        _create(_service(type="NodePort", ports=[{"port": 80, "nodePort": 30001}]), claims, dry_run=True)


def test_a_name_that_no_address_can_bear_is_found_here() -> None:
    assert "spec.parentRef.name: Required value" in _message(_service(""), Claims())
    assert "may not contain '/'" in _message(_service("a/b"), Claims())


# -- properties ---------------------------------------------------------------------------------------------

_ADDRESSES = st.sampled_from(
    ["", "None", "10.96.0.1", "10.96.0.5", "10.96.0.05", "10.97.0.1", "fd00:10:96::5", "fd00:10:96:0::5", "x", "::"]
)
_FAMILIES = st.sampled_from(["IPv4", "IPv6", "IPv5"])
_PORTS = st.fixed_dictionaries(
    {"port": st.sampled_from([0, 80, 81, 70000])},
    optional={
        "name": st.sampled_from(["", "a", "b", "B_"]),
        "protocol": st.sampled_from(["TCP", "UDP", "x"]),
        "nodePort": st.sampled_from([0, 30000, 30001, 30002, 9]),
        "targetPort": st.sampled_from([0, 80, "", "http", "--"]),
        "appProtocol": st.sampled_from(["", "http"]),
    },
)
SPECS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Foo"]),
        "ports": st.none() | st.lists(_PORTS, max_size=3),
        "selector": st.none() | st.dictionaries(st.sampled_from(["a", "a b"]), st.sampled_from(["", "x", "a b"])),
        "clusterIP": _ADDRESSES,
        "clusterIPs": st.none() | st.lists(_ADDRESSES, max_size=3),
        "ipFamilies": st.none() | st.lists(_FAMILIES, max_size=3),
        "ipFamilyPolicy": st.none() | st.sampled_from(["SingleStack", "PreferDualStack", "RequireDualStack", "x"]),
        "externalTrafficPolicy": st.sampled_from(["", "Local", "Cluster", "x"]),
        "internalTrafficPolicy": st.none() | st.sampled_from(["", "Local", "x"]),
        "healthCheckNodePort": st.sampled_from([0, 30000, 30001, -1]),
        "allocateLoadBalancerNodePorts": st.none() | st.booleans(),
        "sessionAffinity": st.sampled_from(["", "None", "ClientIP", "x"]),
        "sessionAffinityConfig": st.none() | st.just({}) | st.just({"clientIP": {"timeoutSeconds": 0}}),
        "externalIPs": st.none() | st.lists(_ADDRESSES, max_size=2),
        "externalName": st.sampled_from(["", "a.example.com.", "a_b"]),
        "loadBalancerIP": _ADDRESSES,
        "loadBalancerClass": st.none() | st.sampled_from(["", "a/b"]),
        "loadBalancerSourceRanges": st.none() | st.lists(st.sampled_from(["10.0.0.1/8", " ::/0 ", "x"]), max_size=2),
        "trafficDistribution": st.none() | st.sampled_from(["", "PreferClose", "x"]),
    },
)


@settings(max_examples=150)
@given(
    st.sampled_from([SINGLE, DUAL, TINY]),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), SPECS, st.booleans()), max_size=6),
)
def test_no_history_of_writes_breaks_a_rule_or_gives_anything_twice(
    network: Network, writes: list[tuple[str, dict[str, Any], bool]]
) -> None:
    strategy, write = ServiceStrategy(), Write("", network)
    stored: dict[str, Tree] = {}
    claims = Claims()
    for name, spec, dry_run in writes:
        old = stored.get(name)
        new: Tree = {"metadata": {"name": name, "namespace": "x"}, "spec": _copy(spec)}
        strategy.default(new)
        if old is None:
            strategy.prepare_create(new, write)
        else:
            strategy.prepare_update(new, old, write)
            once = _copy(new)
            strategy.prepare_update(new, old, write)
            assert new == once, "wiping is idempotent"
        try:
            allocation = allocate(new, old, network, claims, random.Random(3).randrange, dry_run=dry_run)
        except ApiError:
            continue
        causes = strategy.validate(new, write) if old is None else strategy.validate_update(new, old, write)
        strategy.warnings(new, old)
        strategy.selectable(new)
        if causes or dry_run:
            continue
        assert not set(allocation.take) & claims.keys()
        for claim in allocation.release:
            assert claims.pop(claim) == name
        claims.update(dict.fromkeys(allocation.take, name))
        stored[name] = new
        assert {claim for claim, holder in claims.items() if holder == name} == set(held(new))


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
