"""What happens to a Service's fields on the way from one state to the next, before anything is allocated or judged.

Three things, in this order. *Carried over*: what was allocated and the new object leaves out, so that a manifest can be sent
again. *Agreed*: ``clusterIP`` and ``clusterIPs``, of which old clients know only the first. *Wiped*: what no longer applies to the
new type and was not changed by this write; what was changed stays, for validation to refuse.
"""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.services_spec import (
    EXTERNAL_NAME,
    LOAD_BALANCER,
    cluster_ip,
    cluster_ips,
    health_port,
    is_externally_accessible,
    kind_of,
    may_have_node_ports,
    needs_cluster_ip,
    needs_health_check,
    node_ports,
    ports_of,
    wants_node_ports,
)


def agree_at_creation(new: Tree) -> None:
    """Who names only ``clusterIP`` means ``clusterIPs`` too. The reverse is an error, which validation finds."""
    if cluster_ip(new) and not cluster_ips(new):
        new["clusterIPs"] = [cluster_ip(new)]


def carry_over(new: Tree, old: Tree) -> None:
    """Fills in place what the stored spec has allocated and the new one does not mention."""
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        _carry_over_addresses(new, old)
    if wants_node_ports(old) and wants_node_ports(new):
        _carry_over_node_ports(new, old)
    if needs_health_check(old) and needs_health_check(new) and not health_port(new) and health_port(old):
        new["healthCheckNodePort"] = health_port(old)


def _carry_over_addresses(new: Tree, old: Tree) -> None:
    if not cluster_ip(new) and cluster_ip(old):
        new["clusterIP"] = cluster_ip(old)
    if not cluster_ips(new) and cluster_ips(old) and cluster_ip(new) == cluster_ip(old):
        new["clusterIPs"] = list(cluster_ips(old))


def _carry_over_node_ports(new: Tree, old: Tree) -> None:
    """By the port's name; a number that another port of the new object has is not given twice."""
    taken = set(node_ports(old)) & set(node_ports(new))
    by_name = {port.get("name") or "": port.get("nodePort") or 0 for port in ports_of(old)}
    for port in ports_of(new):
        number = by_name.get(port.get("name") or "", 0)
        if number and not port.get("nodePort") and number not in taken:
            port["nodePort"] = number


def agree(new: Tree, old: Tree) -> None:
    """Makes ``clusterIPs`` follow a ``clusterIP`` that was changed alone."""
    if cluster_ip(new) == cluster_ip(old):
        return
    if not cluster_ip(new) and cluster_ips(new) == cluster_ips(old):
        new.pop("clusterIPs", None)
    elif cluster_ip(new) and cluster_ips(new) in ([], cluster_ips(old)):
        new["clusterIPs"] = [cluster_ip(new)]


def wipe(new: Tree, old: Tree) -> None:
    """Drops in place what does not apply to the new type and is as it was."""
    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        _wipe_addresses(new, old)
    if may_have_node_ports(old) and not may_have_node_ports(new) and set(node_ports(new)) <= set(node_ports(old)):
        for port in ports_of(new):
            port.pop("nodePort", None)
    if needs_health_check(old) and not needs_health_check(new):
        _drop_unchanged(new, old, "healthCheckNodePort")
    if is_externally_accessible(old) and not is_externally_accessible(new):
        _drop_unchanged(new, old, "externalTrafficPolicy")
    if kind_of(old) == LOAD_BALANCER != kind_of(new):
        _drop_unchanged(new, old, "allocateLoadBalancerNodePorts")
        _drop_unchanged(new, old, "loadBalancerClass")


def _wipe_addresses(new: Tree, old: Tree) -> None:
    if cluster_ips(new) == cluster_ips(old):
        new.pop("clusterIP", None)
        new.pop("clusterIPs", None)
    _drop_unchanged(new, old, "ipFamilies")
    _drop_unchanged(new, old, "ipFamilyPolicy")


def _drop_unchanged(new: Tree, old: Tree, name: str) -> None:
    if new.get(name) == old.get(name):
        new.pop(name, None)


def drop_internal_policy(new: Tree) -> None:
    """An ExternalName has no inside; a right value is dropped, a wrong one stays to be refused."""
    if kind_of(new) == EXTERNAL_NAME and new.get("internalTrafficPolicy") in ("Cluster", "Local"):
        del new["internalTrafficPolicy"]


def wipe_status(status: Tree, new: Tree, old: Tree) -> Tree:
    """The status that remains: whoever leaves LoadBalancer leaves its addresses."""
    if kind_of(old) == LOAD_BALANCER != kind_of(new):
        return status | {"loadBalancer": {}}
    return status
