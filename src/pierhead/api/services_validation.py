"""Every reason to refuse a Service, in the order in which the real server gives them: the order is part of the message."""

from __future__ import annotations

from typing import Any

from pierhead.api import Tree, metadata
from pierhead.api.rules import (
    IMMUTABLE,
    address,
    dns1123_label,
    dns1123_subdomain,
    duplicate,
    forbidden_field,
    invalid_value,
    invalid_values,
    label_causes,
    legacy_address,
    legacy_cidr,
    not_supported,
    optional_causes,
    ordinary_address,
    port_name,
    port_number,
    protocol_causes,
    qualified_name,
    required,
)
from pierhead.api.services_families import ADDRESSES, FIXED, changed, fit
from pierhead.api.services_spec import (
    CLUSTER_IP,
    EXTERNAL_NAME,
    LOAD_BALANCER,
    NODE_PORT,
    TYPES,
    cluster_ips,
    families,
    health_port,
    is_externally_accessible,
    is_headless,
    kind_of,
    needs_health_check,
    ports_of,
    spec_of,
)
from pierhead.errors import Cause

KUBELET_PORT = 10250
LONGEST_AFFINITY = 86400
"""Seconds: one day."""
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
"""The older name of the mode."""
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
LOAD_BALANCER_ONLY = f"may only be used when `type` is '{LOAD_BALANCER}'"


def service_causes(service: Tree, old: Tree | None) -> list[Cause]:
    """The whole object; ``old`` lends its grandfathered values, None at creation."""
    spec, before = spec_of(service), spec_of(old or {})
    return [
        *_topology(service),
        *_shape(spec),
        *_ports(spec),
        *label_causes("spec.selector", spec.get("selector") or {}),
        *_affinity(spec),
        *fit(spec, before),
        *_external_ips(spec, before),
        *_type(spec),
        *_doubles(spec),
        *_source_ranges(service, before),
        *_load_balancer(spec),
        *_external_traffic(spec),
        *_internal_traffic(spec),
        *_distribution(spec),
    ]


def update_causes(new: Tree, old: Tree) -> list[Cause]:
    """What may not change, then the new object as a whole."""
    now, before = spec_of(new), spec_of(old)
    causes = changed(now, before)
    if kind_of(now) == kind_of(before) == LOAD_BALANCER and now.get("loadBalancerClass") != before.get(
        "loadBalancerClass"
    ):
        causes.append(invalid_value("spec.loadBalancerClass", now.get("loadBalancerClass"), FIXED))
    if needs_health_check(now) and needs_health_check(before) and health_port(now) != health_port(before):
        causes.append(forbidden_field("spec.healthCheckNodePort", IMMUTABLE))
    return [*causes, *metadata.content(new["metadata"]), *service_causes(new, old)]


def _topology(service: Tree) -> list[Cause]:
    annotations = service["metadata"].get("annotations") or {}
    mode = annotations.get(TOPOLOGY_MODE)
    if mode is None or annotations.get(TOPOLOGY_HINTS, mode) == mode:
        return []
    text = f"must match annotations[{TOPOLOGY_HINTS}] when both are specified"
    return [invalid_value(f"metadata.annotations[{TOPOLOGY_MODE}]", mode, text)]


# -- what each type asks for ----------------------------------------------------------------------------------


def _shape(spec: Tree) -> list[Cause]:
    kind = kind_of(spec)
    causes: list[Cause] = []
    if not ports_of(spec) and not is_headless(spec) and kind != EXTERNAL_NAME:
        causes.append(required("spec.ports"))
    if kind == LOAD_BALANCER:
        text = f"may not expose port {KUBELET_PORT} externally since it is used by kubelet"
        exposed = [i for i, port in enumerate(ports_of(spec)) if port.get("port") == KUBELET_PORT]
        causes += [invalid_value(f"spec.ports[{i}].port", KUBELET_PORT, text) for i in exposed]
    if kind in (LOAD_BALANCER, NODE_PORT) and is_headless(spec):
        causes.append(invalid_value(f"{ADDRESSES}[0]", "None", f"may not be set to 'None' for {kind} services"))
    return causes + _external_name(spec) if kind == EXTERNAL_NAME else causes


def _external_name(spec: Tree) -> list[Cause]:
    given = {
        "clusterIPs": cluster_ips(spec),
        "ipFamilies": families(spec),
        "ipFamilyPolicy": spec.get("ipFamilyPolicy") is not None,
    }
    text = "may not be set for ExternalName services"
    causes = [forbidden_field(f"spec.{name}", text) for name, value in given.items() if value]
    name = (spec.get("externalName") or "").removesuffix(".")
    if not name:
        return [*causes, required("spec.externalName")]
    return causes + invalid_values("spec.externalName", name, dns1123_subdomain(name))


# -- ports --------------------------------------------------------------------------------------------------


def _ports(spec: Tree) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    several = len(ports_of(spec)) > 1
    for i, port in enumerate(ports_of(spec)):
        path = f"spec.ports[{i}]"
        name = port.get("name") or ""
        if name:
            causes += invalid_values(f"{path}.name", name, dns1123_label(name))
            if name in names:
                causes.append(duplicate(f"{path}.name", name))
            names.add(name)
        elif several:
            causes.append(required(f"{path}.name"))
        causes += _port(path, port)
    return causes


def _port(path: str, port: Tree) -> list[Cause]:
    number, protocol, target = port.get("port") or 0, port.get("protocol") or "", port.get("targetPort") or 0
    causes = invalid_values(f"{path}.port", number, port_number(number))
    causes += protocol_causes(f"{path}.protocol", protocol)
    texts = port_name(target) if isinstance(target, str) else port_number(target)
    causes += invalid_values(f"{path}.targetPort", target, texts)
    return causes + optional_causes(f"{path}.appProtocol", port.get("appProtocol"), qualified_name)


def _doubles(spec: Tree) -> list[Cause]:
    """(protocol, node port) and (protocol, port) are unique."""
    causes: list[Cause] = []
    if kind_of(spec) == CLUSTER_IP:
        text = f"may not be used when `type` is '{CLUSTER_IP}'"
        used = [i for i, port in enumerate(ports_of(spec)) if port.get("nodePort")]
        causes += [forbidden_field(f"spec.ports[{i}].nodePort", text) for i in used]
    for i, port in _repeated(spec, "nodePort"):
        causes.append(duplicate(f"spec.ports[{i}].nodePort", port["nodePort"]))
    for i, port in _repeated(spec, "port"):
        causes.append(duplicate(f"spec.ports[{i}]", _go_port(port)))
    return causes


def _repeated(spec: Tree, field: str) -> list[tuple[int, Tree]]:
    """Ports whose (protocol, number) an earlier port has; a node port of 0 is none."""
    seen: set[tuple[str, int]] = set()
    found: list[tuple[int, Tree]] = []
    for i, port in enumerate(ports_of(spec)):
        pair = (port.get("protocol") or "", port.get(field) or 0)
        if field == "nodePort" and not pair[1]:
            continue
        if pair in seen:
            found.append((i, port))
        seen.add(pair)
    return found


def _go_port(port: Tree) -> dict[str, Any]:
    """The real server prints its internal struct, of which only these two fields are filled in."""
    return {
        "Name": "",
        "Protocol": port.get("protocol") or "",
        "AppProtocol": None,
        "Port": port.get("port") or 0,
        "TargetPort": 0,
        "NodePort": 0,
    }


# -- fields of their own --------------------------------------------------------------------------------------


def _affinity(spec: Tree) -> list[Cause]:
    mode, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    path = "spec.sessionAffinityConfig"
    if not mode:
        return [required("spec.sessionAffinity")]
    if mode == "ClientIP":
        timeout = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        if timeout is None:
            return [required(path, "when session affinity type is ClientIP")]
        if not 0 < timeout <= LONGEST_AFFINITY:
            text = f"must be greater than 0 and less than {LONGEST_AFFINITY}"
            return [invalid_value(f"{path}.clientIP.timeoutSeconds", timeout, text)]
        return []
    if mode == "None":
        return [forbidden_field(path, "must not be set when session affinity is None")] if config else []
    return [not_supported("spec.sessionAffinity", mode, ("ClientIP", "None"))]


def _external_ips(spec: Tree, before: Tree) -> list[Cause]:
    causes: list[Cause] = []
    for i, ip in enumerate(spec.get("externalIPs") or []):
        path = f"spec.externalIPs[{i}]"
        malformed = legacy_address(path, ip, before.get("externalIPs") or [])
        causes += malformed or invalid_values(path, ip, ordinary_address(ip))
    return causes


def _type(spec: Tree) -> list[Cause]:
    if not kind_of(spec):
        return [required("spec.type")]
    return [] if kind_of(spec) in TYPES else [not_supported("spec.type", kind_of(spec), TYPES)]


def _source_ranges(service: Tree, before: Tree) -> list[Cause]:
    """The field, whose path has a capital L for historical reasons, or else the annotation that came before it."""
    spec = spec_of(service)
    ranges = spec.get("loadBalancerSourceRanges") or []
    if ranges:
        path = "spec.LoadBalancerSourceRanges"
        causes = [] if kind_of(spec) == LOAD_BALANCER else [forbidden_field(path, LOAD_BALANCER_ONLY)]
        known = [text.strip() for text in before.get("loadBalancerSourceRanges") or []]
        for i, text in enumerate(ranges):
            causes += legacy_cidr(f"{path}[{i}]", text.strip(), known)
        return causes
    annotation = (service["metadata"].get("annotations") or {}).get(SOURCE_RANGES)
    return [] if annotation is None else _source_range_annotation(spec, annotation)


def _source_range_annotation(spec: Tree, annotation: str) -> list[Cause]:
    path = f"metadata.annotations[{SOURCE_RANGES}]"
    if kind_of(spec) != LOAD_BALANCER:
        return [forbidden_field(path, LOAD_BALANCER_ONLY)]
    texts = annotation.split(",") if annotation.strip() else []
    return [cause for text in texts for cause in legacy_cidr(path, text.strip(), ())]


def _load_balancer(spec: Tree) -> list[Cause]:
    allocate, name = spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass")
    if kind_of(spec) == LOAD_BALANCER:
        causes = [required("spec.allocateLoadBalancerNodePorts")] if allocate is None else []
        return causes + optional_causes("spec.loadBalancerClass", name, qualified_name)
    given = {"allocateLoadBalancerNodePorts": allocate, "loadBalancerClass": name}
    return [forbidden_field(f"spec.{field}", LOAD_BALANCER_ONLY) for field, value in given.items() if value is not None]


def _external_traffic(spec: Tree) -> list[Cause]:
    value, number = spec.get("externalTrafficPolicy") or "", health_port(spec)
    path, health = "spec.externalTrafficPolicy", "spec.healthCheckNodePort"
    causes: list[Cause] = []
    if not is_externally_accessible(spec):
        if value:
            causes.append(invalid_value(path, value, "may only be set for externally-accessible services"))
    elif not value:
        causes.append(required(path))
    elif value not in ("Cluster", "Local"):
        causes.append(not_supported(path, value, ("Cluster", "Local")))
    if needs_health_check(spec):
        return causes + ([required(health)] if not number else invalid_values(health, number, port_number(number)))
    if number:
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid_value(health, number, text))
    return causes


def _internal_traffic(spec: Tree) -> list[Cause]:
    value = spec.get("internalTrafficPolicy")
    if value is None or value in ("Cluster", "Local"):
        return []
    return [not_supported("spec.internalTrafficPolicy", value, ("Cluster", "Local"))]


def _distribution(spec: Tree) -> list[Cause]:
    value = spec.get("trafficDistribution")
    if value is None or value in DISTRIBUTIONS:
        return []
    return [not_supported("spec.trafficDistribution", value, DISTRIBUTIONS)]


# -- status -------------------------------------------------------------------------------------------------


def status_causes(service: Tree, old: Tree) -> list[Cause]:
    """Of what a load balancer reports; its ports and the conditions nobody checks."""
    ingress, path = _ingress(service), "status.loadBalancer.ingress"
    if ingress and kind_of(spec_of(service)) != LOAD_BALANCER:
        return [forbidden_field(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    known = [entry.get("ip") or "" for entry in _ingress(old)]
    return [cause for i, entry in enumerate(ingress) for cause in _reported(f"{path}[{i}]", entry, known)]


def _ingress(service: Tree) -> list[Tree]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _reported(path: str, entry: Tree, known: list[str]) -> list[Cause]:
    ip, hostname, mode = entry.get("ip") or "", entry.get("hostname") or "", entry.get("ipMode")
    causes = legacy_address(f"{path}.ip", ip, known) if ip else []
    if ip and mode is None:
        causes.append(required(f"{path}.ipMode", "must be specified when `ip` is set"))
    elif not ip and mode is not None:
        causes.append(forbidden_field(f"{path}.ipMode", "may not be specified when `ip` is not set"))
    elif mode is not None and mode not in ("Proxy", "VIP"):
        causes.append(not_supported(f"{path}.ipMode", mode, ("Proxy", "VIP")))
    if hostname:
        causes += invalid_values(f"{path}.hostname", hostname, dns1123_subdomain(hostname))
        if address(hostname):
            causes.append(invalid_value(f"{path}.hostname", hostname, "must be a DNS name, not an IP address"))
    return causes
