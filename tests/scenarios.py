"""What new connections meet: one table, one expectation, every data plane. Rules of kube-proxy 1.36 in nftables mode.

Pods 11 to 16 answer. ``instead`` names what a proxy in userspace does where it cannot do as a kernel does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataplanes import Object, names, to
from forwarded import NODE, VIP, cluster_ip, endpoint, nodes, pod, service, slice_of, zones
from pierhead.forwarding.trace import Packet

REFUSED, DROPPED = {"refused"}, {"dropped"}
CANNOT_BE_SILENT = REFUSED
"""A socket either exists, and accepts, or does not, and the kernel refuses."""


@dataclass(frozen=True)
class Row:
    title: str
    objects: tuple[Object, ...]
    packet: Packet
    meets: set[str]
    instead: set[str] | None = None


def web(*endpoints: dict[str, Any], **spec: Any) -> tuple[Object, ...]:
    return service(**spec), slice_of("web", *endpoints)


LOCAL_INSIDE = {"internalTrafficPolicy": "Local"}
NODE_PORT = {"type": "NodePort", "ports": [{"name": "http", "port": 8080, "nodePort": 30080}]}
BALANCED = {"type": "LoadBalancer", "ingress": [VIP]}
BOTH = [{"name": "http", "port": 8080}, {"name": "dns", "port": 8080, "protocol": "UDP"}]
BOTH_OF_SLICE = [{"name": "http", "port": 9376}, {"name": "dns", "port": 9377, "protocol": "UDP"}]
CLUSTER = to(cluster_ip())

ROWS = (
    Row("a choice among all ready endpoints", web(endpoint(11), endpoint(12), endpoint(13)), CLUSTER, names(11, 12, 13)),
    Row("endpoints of other nodes as well", web(endpoint(11), endpoint(12, node="node-b")), CLUSTER, names(11, 12)),
    Row("no endpoint at all: refused at once", web(), CLUSTER, REFUSED),
    Row("no slice at all: refused at once", (service(),), CLUSTER, REFUSED),
    Row("UDP without endpoints: refused", (service(ports=BOTH), slice_of("web")), to(cluster_ip(), protocol="UDP"), REFUSED),
    Row(
        "UDP and TCP on one port number, each to its own target",
        (service(ports=BOTH), slice_of("web", endpoint(11), ports=BOTH_OF_SLICE)),
        to(cluster_ip(), protocol="UDP"),
        names(11, port=9377),
    ),
    Row("a port the Service does not have: refused", web(endpoint(11)), to(cluster_ip(), 8081), REFUSED),
    Row(
        "TCP to a Service that has only SCTP: refused",
        (service(ports=[{"name": "http", "port": 8080, "protocol": "SCTP"}]), slice_of("web", endpoint(11))),
        CLUSTER,
        REFUSED,
    ),
    Row("an unassigned service address: dropped", web(endpoint(11)), to(cluster_ip(77)), DROPPED, CANNOT_BE_SILENT),
    Row(
        "a named port with different numbers in two slices",
        (service(), slice_of("web", endpoint(11)), slice_of("web", endpoint(12), ports=[{"name": "http", "port": 9377}])),
        CLUSTER,
        names(11) | names(12, port=9377),
    ),
    Row("conditions not given count as ready", web(endpoint(11, ready=None)), CLUSTER, names(11)),
    Row("ready ones before terminating ones", web(endpoint(11), endpoint(12, terminating=True)), CLUSTER, names(11)),
    Row("none ready: those that serve while they terminate", web(endpoint(12, terminating=True)), CLUSTER, names(12)),
    Row("terminating and no longer serving", web(endpoint(12, terminating=True, serving=False)), CLUSTER, REFUSED),
    Row("serving, neither ready nor terminating: never", web(endpoint(12, ready=False, serving=True)), CLUSTER, REFUSED),
    Row("the same address in two slices counts once", (*web(endpoint(11)), slice_of("web", endpoint(11), endpoint(12))), CLUSTER, names(11, 12)),
    Row(
        "the same address terminating in one slice and ready in another",
        (*web(endpoint(11, terminating=True)), slice_of("web", endpoint(11), endpoint(12))),
        CLUSTER,
        names(11, 12),
    ),
    Row("of several addresses the first", (service(), slice_of("web", endpoint(11, addresses=[pod(12), pod(11)]))), CLUSTER, names(12)),
    Row("a slice port without a number", (service(), slice_of("web", endpoint(11), ports=[{"name": "http"}])), CLUSTER, REFUSED),
    Row("a slice port without a name", (service(), slice_of("web", endpoint(11), ports=[{"port": 9376}])), CLUSTER, REFUSED),
    Row("a slice of another protocol", (service(), slice_of("web", endpoint(11), ports=BOTH_OF_SLICE[1:])), CLUSTER, REFUSED),
    Row("a slice of host names", (service(), slice_of("web", endpoint(11), address_type="FQDN")), CLUSTER, REFUSED),
    Row(
        "a slice of a headless Service",
        (service(), slice_of("web", endpoint(11), labels={"service.kubernetes.io/headless": ""})),
        CLUSTER,
        REFUSED,
    ),
    Row("another proxy's Service", web(endpoint(11), metadata={"labels": {"service.kubernetes.io/service-proxy-name": "x"}}), CLUSTER, DROPPED, CANNOT_BE_SILENT),
    Row("ExternalName", web(endpoint(11), type="ExternalName", externalName="example.org"), CLUSTER, DROPPED, CANNOT_BE_SILENT),
    # -- policies
    Row("internal Local: only this node's", web(endpoint(11), endpoint(12, node="node-b"), **LOCAL_INSIDE), CLUSTER, names(11)),
    Row("internal Local, only remote ones: silence", web(endpoint(12, node="node-b"), **LOCAL_INSIDE), CLUSTER, DROPPED, CANNOT_BE_SILENT),
    Row("internal Local, none anywhere: refused", web(**LOCAL_INSIDE), CLUSTER, REFUSED),
    Row("internal Local: an endpoint without node is not local", web(endpoint(12, node=None), **LOCAL_INSIDE), CLUSTER, DROPPED, CANNOT_BE_SILENT),
    Row(
        "internal Local: a local one that terminates before a remote one that is ready",
        web(endpoint(11, terminating=True), endpoint(12, node="node-b"), **LOCAL_INSIDE),
        CLUSTER,
        names(11),
    ),
    # -- other ways in
    Row("a node port", web(endpoint(11), **NODE_PORT), to(NODE, 30080), names(11)),
    Row("a node port without endpoints: refused", web(**NODE_PORT), to(NODE, 30080), REFUSED),
    Row(
        "external Local does not count for the node itself",
        web(endpoint(11), endpoint(12, node="node-b"), externalTrafficPolicy="Local", **NODE_PORT),
        to(NODE, 30080),
        names(11, 12),
    ),
    Row("an external address", web(endpoint(11), externalIPs=[VIP]), to(VIP), names(11)),
    Row("a load balancer's address", web(endpoint(11), **BALANCED), to(VIP), names(11)),
    Row("a source that is allowed", web(endpoint(11), loadBalancerSourceRanges=[f" {pod(0)}/24 "], **BALANCED), to(VIP, source=pod(20)), names(11)),
    Row("a source that is not allowed", web(endpoint(11), loadBalancerSourceRanges=["192.0.2.0/24"], **BALANCED), to(VIP), DROPPED, CANNOT_BE_SILENT),
    Row("source ranges do not protect the cluster IP", web(endpoint(11), loadBalancerSourceRanges=["192.0.2.0/24"], **BALANCED), CLUSTER, names(11)),
    # -- hints
    Row("zone hints: only this zone's", web(endpoint(11, hints=zones("z1")), endpoint(12, hints=zones("z2"))), CLUSTER, names(11)),
    Row("one endpoint without a hint: hints are ignored", web(endpoint(11, hints=zones("z1")), endpoint(12)), CLUSTER, names(11, 12)),
    Row("no hint for this zone: hints are ignored", web(endpoint(11, hints=zones("z3")), endpoint(12, hints=zones("z2"))), CLUSTER, names(11, 12)),
    Row(
        "node and zone hints: the node wins",
        web(endpoint(11, hints=zones("z1") | nodes("node-a")), endpoint(12, hints=zones("z1") | nodes("node-b"))),
        CLUSTER,
        names(11),
    ),
    Row(
        "the only endpoint hinted here is not ready: all others",
        web(endpoint(11, ready=False, hints=zones("z1")), endpoint(12, hints=zones("z2"))),
        CLUSTER,
        names(12),
    ),
)  # fmt: skip
