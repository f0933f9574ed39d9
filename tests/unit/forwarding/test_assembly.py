"""Tables: built from any Services and slices, joined in any order, compared, applied and walked."""

from __future__ import annotations

from ipaddress import ip_network
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from forwarded import HERE, NETWORK, VIP, cluster_ip, endpoint, nodes, pod, service, slice_of, table_of, zones
from pierhead.api import views
from pierhead.forwarding.assembly import NOTHING, Assembly
from pierhead.forwarding.build import build
from pierhead.forwarding.diff import RemoveRule, SetBackends, SetRule, applied, diff, whole
from pierhead.forwarding.table import ForwardingTable, Frontend, Refusal, ServiceName
from pierhead.forwarding.trace import Packet, trace

maybe = st.none() | st.booleans()
endpoints = st.builds(
    endpoint,
    st.integers(1, 5),
    node=st.sampled_from(["node-a", "node-b", None]),
    ready=maybe,
    serving=maybe,
    terminating=maybe,
    hints=st.none() | st.sampled_from([zones("z1"), zones("z2"), nodes("node-a"), nodes("node-b")]),
)
slices = st.lists(
    st.builds(
        lambda found, number: slice_of("any", *found, ports=[{"name": "http", "protocol": "TCP", "port": number}]),
        st.lists(endpoints, max_size=4),
        st.sampled_from([9376, 9377]),
    ),
    max_size=3,
)
services = st.builds(
    lambda **spec: service(**spec),
    clusterIP=st.integers(1, 3).map(cluster_ip),
    internalTrafficPolicy=st.sampled_from(["Cluster", "Local"]),
    externalTrafficPolicy=st.sampled_from(["Cluster", "Local"]),
    externalIPs=st.sampled_from([[], [VIP]]),
    sessionAffinity=st.sampled_from(["None", "ClientIP"]),
    created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
)
regions = st.dictionaries(
    st.sampled_from(["a", "b", "c"]).map(lambda name: ServiceName("default", name)), st.tuples(services, slices)
)


def parts(region: dict[ServiceName, tuple[views.Service, list[views.EndpointSlice]]]) -> dict[ServiceName, Any]:
    return {name: build(named(found, name), own, HERE) for name, (found, own) in region.items()}


def named(found: views.Service, name: ServiceName) -> views.Service:
    metadata = views.ObjectMeta(
        name=name.name, namespace=name.namespace, creation_timestamp=found.metadata.creation_timestamp
    )
    return views.Service(metadata, found.spec, found.status)


def joined(region: dict[ServiceName, tuple[views.Service, list[views.EndpointSlice]]]) -> Assembly:
    assembly = Assembly()
    assembly.update(parts(region))
    return assembly


@given(services, slices, st.randoms())
def test_building_does_not_depend_on_the_order_of_what_is_read(
    found: views.Service, own: list[views.EndpointSlice], chance: Random
) -> None:
    first = build(found, own, HERE)
    chance.shuffle(own)
    assert build(found, own, HERE) == first


@given(regions, regions)
def test_applying_a_difference_to_the_old_table_gives_the_new_one(old: Any, new: Any) -> None:
    before, after = joined(old).table(), joined(new).table()
    assert applied(before, diff(before, after)) == after
    assert applied(before, whole(after)) == after
    assert diff(after, after) == ()


@given(st.lists(regions, min_size=1, max_size=4))
def test_following_changes_one_by_one_is_the_same_as_building_everything_anew(steps: list[Any]) -> None:
    assembly, table, held = Assembly(), ForwardingTable(), set[ServiceName]()
    for region in steps:
        gone = dict.fromkeys(held - region.keys(), NOTHING)
        for name, part in {**gone, **parts(region)}.items():
            table = applied(table, assembly.update({name: part}))
        held = set(region)
    fresh = joined(steps[-1])
    assert table == assembly.table() == fresh.table()
    assert assembly.refusals() == fresh.refusals()


@given(regions, regions)
def test_at_no_point_of_a_change_does_a_frontend_lead_to_unknown_backends(old: Any, new: Any) -> None:
    table = joined(old).table()
    for change in diff(table, joined(new).table()):
        table = applied(table, [change])
        assert all(rule.key in table.backends for rule in table.rules.values())


@given(services, slices)
def test_the_tracer_agrees_with_the_rules_read_naively(found: views.Service, own: list[views.EndpointSlice]) -> None:
    table = table_of(
        found, *(views.EndpointSlice(_of_web(item), item.address_type, item.endpoints, item.ports) for item in own)
    )
    traced = trace(table, Packet(pod(200), "TCP", found.spec.cluster_ip, 8080), HERE)
    verdict, chosen = naive(own, found.spec.internal_traffic_policy or "Cluster")
    assert traced.verdict == verdict
    assert {(item.address, item.port) for item in traced.endpoints} == chosen


def _of_web(found: views.EndpointSlice) -> views.ObjectMeta:
    return views.ObjectMeta(name=found.metadata.name, namespace="default", labels={"kubernetes.io/service-name": "web"})


def naive(slices: list[views.EndpointSlice], policy: str) -> tuple[str, set[tuple[str, int]]]:
    """The sentences of the rules, one after the other, over plain dicts."""
    entries: dict[tuple[str, int], list[tuple[views.Endpoint, bool, bool, bool]]] = {}
    for item in slices:
        for port in item.ports or ():
            for found in item.endpoints or ():
                conditions = found.conditions
                ready = conditions.ready in (None, True)
                serving = ready if conditions.serving is None else conditions.serving
                entry = (found, ready, serving, conditions.terminating is True)
                entries.setdefault((found.addresses[0], port.port or 0), []).append(entry)
    sockets = {
        key: min(found, key=lambda e: (e[3], not e[1], not e[2], e[0].node_name != "node-a", *_hints(e[0])))
        for key, found in entries.items()
    }
    everywhere = usable(sockets)
    if policy == "Local":
        here = usable({key: entry for key, entry in sockets.items() if entry[0].node_name == "node-a"})
        return ("forward", here) if here else ("drop" if everywhere else "reject", set())
    ready_ones = {key: entry[0].hints for key, entry in sockets.items() if entry[1]}
    near = hinted(ready_ones)
    return ("forward", near or everywhere) if everywhere else ("reject", set())


def _hints(found: views.Endpoint) -> tuple[list[str], list[str]]:
    hints = found.hints or views.EndpointHints()
    return sorted(item.name for item in hints.for_nodes), sorted(item.name for item in hints.for_zones)


def usable(sockets: dict[tuple[str, int], tuple[views.Endpoint, bool, bool, bool]]) -> set[tuple[str, int]]:
    ready = {key for key, (_, is_ready, _, _) in sockets.items() if is_ready}
    return ready or {key for key, (_, _, serving, terminating) in sockets.items() if serving and terminating}


def hinted(ready: dict[tuple[str, int], views.EndpointHints | None]) -> set[tuple[str, int]]:
    for_node = {key: [item.name for item in hints.for_nodes] if hints else [] for key, hints in ready.items()}
    for_zone = {key: [item.name for item in hints.for_zones] if hints else [] for key, hints in ready.items()}
    for found, here in ((for_node, "node-a"), (for_zone, "z1")):
        if all(found.values()) and any(here in names for names in found.values()):
            return {key for key, names in found.items() if here in names}
    return set()


def test_one_endpoint_more_is_one_change_whatever_the_number_of_frontends() -> None:
    spec: dict[str, Any] = {
        "type": "NodePort",
        "externalIPs": [VIP],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
    }
    old = table_of(service(**spec), slice_of("web", endpoint(1)))
    new = table_of(service(**spec), slice_of("web", endpoint(1), endpoint(2)))
    assert [type(change) for change in diff(old, new)] == [SetBackends]


def test_a_frontend_that_changes_hands_is_one_change() -> None:
    assembly = Assembly()
    web, api = ServiceName("default", "web"), ServiceName("default", "api")
    assembly.update({web: build(service("web"), (), HERE)})
    changes = assembly.update({web: NOTHING, api: build(service("api"), (), HERE)})
    frontend = Frontend("TCP", cluster_ip(), 8080)
    assert [change.frontend for change in changes if isinstance(change, SetRule)] == [frontend]
    assert not any(isinstance(change, RemoveRule) for change in changes)


def test_nobody_takes_a_cluster_ip_as_his_external_address() -> None:
    thief = service("a-thief", clusterIP=cluster_ip(2), externalIPs=[cluster_ip()], created="2020-01-01T00:00:00Z")
    assembly = Assembly()
    name, owner = ServiceName("default", "a-thief"), ServiceName("default", "web")
    assembly.update({name: build(thief, (), HERE), owner: build(service(), (), HERE)})
    assert assembly.table().rules[Frontend("TCP", cluster_ip(), 8080)].key.service == owner
    text = f"TCP {cluster_ip()}:8080 belongs to default/web"
    assert assembly.refusals() == (Refusal(name, "TCP", cluster_ip(), 8080, "FrontendTaken", text),)


def test_an_address_is_the_same_however_it_is_written() -> None:
    pods = replace(NETWORK, pod_ranges=(ip_network("fd01::/64"),))
    written = service(clusterIP="FD00:0::A", externalIPs=["2001:DB8::0001", "not one"], ingress=["2001:db8:0::2", ""])
    behind = slice_of("web", endpoint(1, addresses=["fd01:0::5"]), address_type="IPv6")
    table = build(written, [behind], replace(HERE, network=pods)).table
    assert {frontend.address for frontend in table.rules} == {"fd00::a", "2001:db8::1"}
    assert [found.address for backends in table.backends.values() for found in backends.cluster] == ["fd01::5"]
    balanced = service(clusterIP="fd00::a", type="LoadBalancer", ingress=["2001:db8:0::2"])
    assert "2001:db8::2" in {frontend.address for frontend in build(balanced, (), HERE).table.rules}
