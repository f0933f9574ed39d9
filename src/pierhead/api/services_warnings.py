"""What the API server says about a Service that it accepts all the same."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.rules import address_warnings, cidr_warnings
from pierhead.api.services_spec import EXTERNAL_NAME, cluster_ips, is_headless, kind_of, spec_of
from pierhead.api.services_validation import TOPOLOGY_HINTS, TOPOLOGY_MODE


def spec_warnings(service: Tree) -> list[str]:
    """Of a write of the object itself."""
    spec = spec_of(service)
    texts: list[str] = []
    if TOPOLOGY_HINTS in (service["metadata"].get("annotations") or {}):
        texts.append(f"annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead")
    texts += _ignored(spec) if is_headless(spec) else _addresses(spec)
    if kind_of(spec) == EXTERNAL_NAME and spec.get("externalIPs"):
        texts.append(f'spec.externalIPs is ignored when spec.type is "{EXTERNAL_NAME}"')
    if kind_of(spec) != EXTERNAL_NAME and spec.get("externalName"):
        texts.append(f'spec.externalName is ignored when spec.type is not "{EXTERNAL_NAME}"')
    if spec.get("trafficDistribution") == "PreferClose":
        texts.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return texts


def status_warnings(service: Tree) -> list[str]:
    """Of a write of the status alone. The paths end at the entry: the real server's do."""
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    found = ((f"status.loadBalancer.ingress[{i}]", entry.get("ip") or "") for i, entry in enumerate(entries))
    return [text for path, ip in found for text in address_warnings(path, ip)]


def _ignored(spec: Tree) -> list[str]:
    """What a headless Service has no use for, in the spelling of the real server."""
    given = {
        "loadBalancerIP": spec.get("loadBalancerIP"),
        "externalIPs": spec.get("externalIPs"),
        "SessionAffinity": spec.get("sessionAffinity") not in (None, "", "None"),
    }
    return [f"spec.{name} is ignored for headless services" for name, value in given.items() if value]


def _addresses(spec: Tree) -> list[str]:
    texts: list[str] = []
    external = spec.get("externalIPs") or []
    if external and kind_of(spec) != EXTERNAL_NAME:
        texts.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    for name, values in (("clusterIPs", cluster_ips(spec)), ("externalIPs", external)):
        for i, ip in enumerate(values):
            texts += address_warnings(f"spec.{name}[{i}]", ip)
    texts += address_warnings("spec.loadBalancerIP", spec.get("loadBalancerIP") or "")
    for i, text in enumerate(spec.get("loadBalancerSourceRanges") or []):
        texts += cidr_warnings(f"spec.loadBalancerSourceRanges[{i}]", text.strip())
    return texts
