"""Whatever stands in Services and EndpointSlices: the rules are made, and a Service beside them is carried."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from compiled import GROUND, Kernel
from forwarded import HERE, NETWORK, NODE, OUTSIDE, VIP, cluster_ip, endpoint, pod, service, slice_of, table_of
from pierhead.api import views
from pierhead.forwarding.nftlayout import Ground
from pierhead.forwarding.place import Place
from pierhead.forwarding.trace import Packet
from pierhead.wire.nftables import Family

SIX = Ground(Family.IP6, "uid", ("fd00:100::11",), (ip_network("fd00:10:96::/112"),), (ip_network("fd00:10:244::/48"),))
GROUNDS = (GROUND, SIX)
EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))
PLACES: tuple[Place, ...] = (
    HERE,
    replace(HERE, network=replace(NETWORK, endpoint_ranges=EVERYWHERE)),
)

numbers = st.sampled_from([80, 9376, 65535, -1, 0, 65536, 70000]) | st.integers(-(1 << 31), (1 << 31) - 1)
ports = st.sampled_from([80, 8080]) | st.integers(1, 65535)
ordinary = st.sampled_from([pod(1), pod(2), cluster_ip(1), cluster_ip(2)])
odd = st.sampled_from(
    [
        "", "None", NODE, VIP, OUTSIDE, "0.0.0.0", "::", "::1", "127.0.0.1", "255.255.255.255", "010.1.2.3", "1.2.3", "1.2.3.4.5",
        "1.2.3.-4", "::ffff:10.1.2.3", "::ffff:0:0", "fd00:10:244::1", "fe80::1%eth0", "ff02::1",
    ]
)  # fmt: skip
addresses = st.sampled_from(["ordinary", "ordinary", "odd", "any", "text"]).flatmap(
    {"ordinary": ordinary, "odd": odd, "any": st.ip_addresses().map(str), "text": st.text(max_size=12)}.__getitem__
)
words = st.sampled_from(["http", "http", "", "a"])
protocols = st.sampled_from(["TCP", "TCP", "UDP", "SCTP", "", None])
ranges = st.tuples(addresses, st.sampled_from(["", "/0", "/8", "/24", "/32", "/128", "/129", "/-1", "/x"])).map("".join)
flags = st.none() | st.booleans()
named = st.lists(st.fixed_dictionaries({"name": st.sampled_from(["", "node-a", "z1", "elsewhere"])}), max_size=3)

services = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
        "clusterIP": addresses,
        "clusterIPs": st.lists(addresses, max_size=2),
        "externalIPs": st.lists(addresses, max_size=3),
        "ingress": st.lists(addresses, max_size=3),
        "loadBalancerSourceRanges": st.lists(ranges, max_size=3),
        "externalTrafficPolicy": st.sampled_from(["Cluster", "Local", ""]),
        "internalTrafficPolicy": st.sampled_from(["Cluster", "Local"]) | st.none(),
        "sessionAffinity": st.sampled_from(["None", "ClientIP", ""]),
        "sessionAffinityConfig": st.none()
        | st.fixed_dictionaries({"clientIP": st.fixed_dictionaries({"timeoutSeconds": st.integers(0, 86400)})}),
        "ports": st.lists(
            st.fixed_dictionaries(
                {
                    "name": words,
                    "port": ports,
                    "nodePort": st.just(0) | ports,
                    "protocol": st.sampled_from(["TCP", "TCP", "UDP", "SCTP"]),
                }
            ),
            min_size=1,
            max_size=3,
        ),
        "metadata": st.fixed_dictionaries(
            {
                "annotations": st.dictionaries(
                    st.just("service.beta.kubernetes.io/load-balancer-source-ranges"),
                    st.lists(ranges, max_size=3).map(",".join),
                )
            }
        ),
    }
)
slices = st.fixed_dictionaries(
    {
        "addressType": st.sampled_from(["IPv4", "IPv4", "IPv6", "FQDN", ""]),
        "ports": st.lists(
            st.fixed_dictionaries({"name": words | st.none(), "protocol": protocols, "port": numbers | st.none()}), max_size=3
        ),
        "endpoints": st.lists(
            st.fixed_dictionaries(
                {
                    "addresses": st.lists(addresses, max_size=2),
                    "conditions": st.fixed_dictionaries({"ready": flags, "serving": flags, "terminating": flags}),
                    "nodeName": st.sampled_from([None, "", "node-a", "elsewhere"]),
                    "hints": st.none() | st.fixed_dictionaries({"forZones": named, "forNodes": named}),
                }
            ),
            max_size=4,
        ),
    }
)  # fmt: skip


def slice_from(tree: dict[str, Any]) -> views.EndpointSlice:
    metadata = {"namespace": "default", "name": "s", "labels": {"kubernetes.io/service-name": "hostile"}}
    return msgspec.convert({"metadata": metadata} | tree, views.EndpointSlice)


def others() -> tuple[views.Service | views.EndpointSlice, ...]:
    """The older Service, so that nobody takes its frontend."""
    healthy = service("healthy", clusterIP=cluster_ip(77), created="2000-01-01T00:00:00Z")
    return healthy, slice_of("healthy", endpoint(11))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(services, st.lists(slices, max_size=3)), min_size=1, max_size=3), st.sampled_from(PLACES)
)  # fmt: skip
def test_no_service_and_no_slice_stops_the_others(steps: list[Any], place: Place) -> None:
    kernels = [Kernel(ground) for ground in GROUNDS]
    for spec, given_slices in steps:
        hostile = service("hostile", **{**spec, "metadata": dict(spec["metadata"])})
        table = table_of(*others(), hostile, *map(slice_from, given_slices), place=place)
        for kernel in kernels:
            kernel.hold(table)
        (fate,) = kernels[0].fates(Packet(pod(12), "TCP", cluster_ip(77), 8080))
        assert (fate.verdict, str(fate.destination), fate.port) == ("forward", pod(11), 9376)
