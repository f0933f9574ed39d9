"""EndpointSlices: what stands behind a Service, in pieces of a size that can be sent around."""

from __future__ import annotations

from collections.abc import Callable

from pierhead.api import Tree
from pierhead.api.endpoints import may_be_loopback
from pierhead.api.rules import (
    IMMUTABLE,
    address_warnings,
    dns1123_label,
    dns1123_subdomain,
    duplicate,
    family,
    invalid_value,
    invalid_values,
    label_value,
    legacy_address,
    not_supported,
    optional_causes,
    ordinary_address,
    protocol_causes,
    qualified_name,
    required,
    too_many,
)
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MOST_ENDPOINTS = 1000
MOST_ADDRESSES = 100
MOST_PORTS = 20000
MOST_HINTS = 8


class EndpointSliceStrategy(Strategy):
    """The rules of kubernetes-services.md §2.6, and a generation that counts labels too: controllers select by them."""

    def default(self, obj: Tree) -> None:
        for port in obj.get("ports") or []:
            port["name"] = port.get("name") or ""
            port["protocol"] = port.get("protocol") or "TCP"

    def prepare_create(self, obj: Tree, write: Write) -> None:
        obj["metadata"]["generation"] = 1
        _drop(obj)

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        _drop(obj)
        if _content(obj) != _content(old):
            obj["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        return _slice(obj, known=frozenset(), loopback=may_be_loopback(obj, write.network))

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        known = frozenset(ip for endpoint in old.get("endpoints") or [] for ip in endpoint.get("addresses") or [])
        causes = _slice(obj, known=known, loopback=may_be_loopback(obj, write.network))
        if obj.get("addressType") != old.get("addressType"):
            causes.append(invalid_value("addressType", obj.get("addressType") or "", IMMUTABLE))
        return causes

    def warnings(self, obj: Tree, old: Tree | None) -> list[str]:
        if obj.get("addressType") == "FQDN":
            return ["spec.addressType: FQDN endpoints are deprecated"]
        texts: list[str] = []
        for i, endpoint in enumerate(obj.get("endpoints") or []):
            for k, ip in enumerate(endpoint.get("addresses") or []):
                texts += address_warnings(f"endpoints[{i}].addresses[{k}]", ip)
        return texts


def _drop(obj: Tree) -> None:
    """Empty lists, which are stored as none, and a field of v1beta1, which v1 still reads and no longer stores."""
    for name in ("endpoints", "ports"):
        if not obj.get(name):
            obj.pop(name, None)
    for endpoint in obj.get("endpoints") or []:
        endpoint.pop("deprecatedTopology", None)


def _content(obj: Tree) -> tuple[object, ...]:
    labels = obj["metadata"].get("labels") or {}
    return labels, obj.get("addressType"), obj.get("endpoints") or [], obj.get("ports") or []


def _slice(obj: Tree, *, known: frozenset[str], loopback: bool) -> list[Cause]:
    kind = obj.get("addressType") or ""
    causes: list[Cause] = []
    if not kind:
        causes.append(required("addressType"))
    elif kind not in ADDRESS_TYPES:
        causes.append(not_supported("addressType", kind, ADDRESS_TYPES))
    endpoints = obj.get("endpoints") or []
    if len(endpoints) > MOST_ENDPOINTS:
        causes.append(too_many("endpoints", len(endpoints), MOST_ENDPOINTS))
    else:
        for i, endpoint in enumerate(endpoints):
            causes += _endpoint(f"endpoints[{i}]", endpoint, kind, known=known, loopback=loopback)
    return causes + _ports(obj.get("ports") or [])


def _endpoint(path: str, endpoint: Tree, kind: str, *, known: frozenset[str], loopback: bool) -> list[Cause]:
    addresses = endpoint.get("addresses") or []
    causes: list[Cause] = []
    if not addresses:
        causes.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > MOST_ADDRESSES:
        causes.append(too_many(f"{path}.addresses", len(addresses), MOST_ADDRESSES))
    for k, value in enumerate(addresses):
        if kind == "FQDN":
            causes += _domain(f"{path}.addresses[{k}]", value)
        elif kind in ADDRESS_TYPES:
            causes += _ip(f"{path}.addresses", k, value, kind, known=known, loopback=loopback)
    causes += optional_causes(f"{path}.nodeName", endpoint.get("nodeName"), dns1123_subdomain)
    causes += optional_causes(f"{path}.hostname", endpoint.get("hostname"), dns1123_label)
    return causes + _hints(f"{path}.hints", endpoint.get("hints") or {})


def _ip(path: str, place: int, value: str, kind: str, *, known: frozenset[str], loopback: bool) -> list[Cause]:
    causes = legacy_address(f"{path}[{place}]", value, known)
    if causes:
        return causes
    if family(value) != kind:
        causes.append(invalid_value(path, value, f"must be an {kind} address"))
    return causes + invalid_values(f"{path}[{place}]", value, ordinary_address(value, loopback=loopback))


def _domain(path: str, value: str) -> list[Cause]:
    if not value:
        return [required(path)]
    name = value.removesuffix(".")
    texts = dns1123_subdomain(name)
    if texts:
        return [invalid_value(path, name, ",".join(texts))]
    labels = name.split(".")
    if len(labels) < 2:
        return [invalid_value(path, name, "should be a domain with at least two segments separated by dots")]
    return [invalid_value(path, label, ",".join(dns1123_label(label))) for label in labels if dns1123_label(label)]


def _hints(path: str, hints: Tree) -> list[Cause]:
    rules: tuple[tuple[str, Callable[[str], list[str]]], ...] = (
        ("forZones", label_value),
        ("forNodes", dns1123_subdomain),
    )
    causes: list[Cause] = []
    for field, rule in rules:
        names = [entry.get("name") or "" for entry in hints.get(field) or []]
        if len(names) > MOST_HINTS:
            return [*causes, too_many(f"{path}.{field}", len(names), MOST_HINTS)]
        for i, name in enumerate(names):
            if name in names[:i]:
                causes.append(duplicate(f"{path}.{field}[{i}].name", name))
            causes += invalid_values(f"{path}.{field}[{i}].name", name, rule(name))
    return causes


def _ports(ports: list[Tree]) -> list[Cause]:
    if len(ports) > MOST_PORTS:
        return [too_many("ports", len(ports), MOST_PORTS)]
    causes: list[Cause] = []
    names: set[str] = set()
    for i, port in enumerate(ports):
        path, name = f"ports[{i}]", port.get("name") or ""
        if name:
            causes += invalid_values(f"{path}.name", name, dns1123_label(name))
        if name in names:
            causes.append(duplicate(f"{path}.name", name))
        names.add(name)
        causes += protocol_causes(f"{path}.protocol", port.get("protocol") or "")
        causes += optional_causes(f"{path}.appProtocol", port.get("appProtocol"), qualified_name)
    return causes
