"""Questions about the ``spec`` of a Service that defaulting, transitions, allocation and validation all ask.

Specs are decoded JSON of the right types; a field that is absent, null or empty means the same.
"""

from __future__ import annotations

from pierhead.api import Tree

CLUSTER_IP = "ClusterIP"
NODE_PORT = "NodePort"
LOAD_BALANCER = "LoadBalancer"
EXTERNAL_NAME = "ExternalName"
TYPES = (CLUSTER_IP, EXTERNAL_NAME, LOAD_BALANCER, NODE_PORT)

NO_ADDRESS = "None"
"""The ``clusterIP`` of a headless Service."""

SINGLE_STACK = "SingleStack"
PREFER_DUAL_STACK = "PreferDualStack"
REQUIRE_DUAL_STACK = "RequireDualStack"
POLICIES = (PREFER_DUAL_STACK, REQUIRE_DUAL_STACK, SINGLE_STACK)
FAMILIES = ("IPv4", "IPv6")


def spec_of(service: Tree) -> Tree:
    found: Tree = service.get("spec") or {}
    return found


def kind_of(spec: Tree) -> str:
    """The ``type``; empty before defaulting."""
    return spec.get("type") or ""


def ports_of(spec: Tree) -> list[Tree]:
    found: list[Tree] = spec.get("ports") or []
    return found


def cluster_ip(spec: Tree) -> str:
    return spec.get("clusterIP") or ""


def cluster_ips(spec: Tree) -> list[str]:
    return spec.get("clusterIPs") or []


def families(spec: Tree) -> list[str]:
    return spec.get("ipFamilies") or []


def policy(spec: Tree) -> str:
    return spec.get("ipFamilyPolicy") or ""


def is_headless(spec: Tree) -> bool:
    return cluster_ip(spec) == NO_ADDRESS


def is_selectorless_headless(spec: Tree) -> bool:
    """Somebody else says where it leads: such a Service may name families which the region does not have."""
    return is_headless(spec) and not spec.get("selector")


def needs_cluster_ip(spec: Tree) -> bool:
    """Headless Services count: "None" is an address that was decided on."""
    return kind_of(spec) != EXTERNAL_NAME


def may_have_node_ports(spec: Tree) -> bool:
    return kind_of(spec) in (NODE_PORT, LOAD_BALANCER)


def wants_node_ports(spec: Tree) -> bool:
    """Whether ports without a node port are given one."""
    return kind_of(spec) == NODE_PORT or (
        kind_of(spec) == LOAD_BALANCER and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def needs_health_check(spec: Tree) -> bool:
    return kind_of(spec) == LOAD_BALANCER and spec.get("externalTrafficPolicy") == "Local"


def is_externally_accessible(spec: Tree) -> bool:
    return may_have_node_ports(spec) or (kind_of(spec) == CLUSTER_IP and bool(spec.get("externalIPs")))


def node_ports(spec: Tree) -> list[int]:
    """Those of its ports, in order, with doubles; not the one for health checks."""
    return [port["nodePort"] for port in ports_of(spec) if port.get("nodePort")]


def health_port(spec: Tree) -> int:
    return spec.get("healthCheckNodePort") or 0
