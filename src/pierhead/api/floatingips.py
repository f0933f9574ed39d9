"""FloatingIPs: who owns an address that outsiders reach. The addresses are given out by ``core.floating``."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.rules import (
    IMMUTABLE,
    address,
    dns1123_label,
    dns1123_subdomain,
    invalid_value,
    invalid_values,
    ip_address,
    too_long,
)
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

FIXED = ("pool", "address", "service")
"""Fields of the spec that say which address this is and whose: they never change."""

LONGEST_REMARK = 256
"""Bytes."""

NO_NAME = "must be a valid IP address where it has digits and dots only, (e.g. 192.0.2.7)"
"""Whoever writes 192.0.2.300 means an address, and would be given another."""


def floating_ip_name(value: str) -> list[str]:
    """An address in its one canonical form, as an IPAddress object's name, or a DNS subdomain that is no misspelled address."""
    found = address(value)
    if found is not None:
        return [] if str(found) == value else ["must be a canonical format IP address"]
    if value and not value.strip("0123456789."):
        return [NO_NAME]
    return dns1123_subdomain(value)


class FloatingIPStrategy(Strategy):
    """A name that is an address wishes for that address. Of the spec only the remark may change."""

    def prepare_create(self, obj: Tree, write: Write) -> None:
        obj["status"] = {}
        spec = obj["spec"] = obj.get("spec") or {}
        name = obj["metadata"].get("name") or ""
        if address(name) and not spec.get("address"):
            spec["address"] = name

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        if write.subresource == "status":
            obj["spec"] = dict(old.get("spec") or {})
            _keep_region(obj, old)
            return
        obj["status"] = dict(old.get("status") or {})
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        obj["spec"] = spec
        for name in FIXED:  # a manifest that left them out can be applied again
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        return spec_causes(obj)

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        if write.subresource == "status":
            return _status_causes(obj.get("status") or {}, old.get("status") or {})
        spec, before = obj["spec"], old.get("spec") or {}
        changed = [name for name in FIXED if (spec.get(name) or "") != (before.get(name) or "")]
        return [*(invalid_value(f"spec.{name}", spec.get(name) or "", IMMUTABLE) for name in changed), *_remark(spec)]


def _keep_region(obj: Tree, old: Tree) -> None:
    """The region comes with the address, and from the server."""
    region = (old.get("status") or {}).get("region")
    obj["status"] = {name: value for name, value in (obj.get("status") or {}).items() if name != "region"}
    if region:
        obj["status"]["region"] = region


def spec_causes(obj: Tree) -> list[Cause]:
    """What is wrong with what a new FloatingIP asks for."""
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
    pool, wish, service = spec.get("pool") or "", spec.get("address") or "", spec.get("service") or ""
    causes = invalid_values("spec.pool", pool, dns1123_subdomain(pool)) if pool else []
    if wish:
        malformed = ip_address(wish)
        causes += invalid_values("spec.address", wish, malformed)
        if not malformed and address(name) and address(name) != address(wish):
            causes.append(invalid_value("spec.address", wish, "must be metadata.name where that is an address"))
    causes += invalid_values("spec.service", service, _service_key(service)) if service else []
    return causes + _remark(spec)


def _remark(spec: Tree) -> list[Cause]:
    """It is shown in tables, on terminals."""
    text = spec.get("displayName") or ""
    if len(text.encode(errors="replace")) > LONGEST_REMARK:
        return [too_long("spec.displayName", LONGEST_REMARK)]
    return [] if text.isprintable() else [invalid_value("spec.displayName", text, "must be one line of printable text")]


def _status_causes(status: Tree, before: Tree) -> list[Cause]:
    now, then = status.get("address") or "", before.get("address") or ""
    causes: list[Cause] = []
    if then and now != then:
        causes.append(invalid_value("status.address", now, IMMUTABLE))
    elif now:
        causes += invalid_values("status.address", now, ip_address(now))
    for place, service in enumerate(status.get("services") or []):
        causes += invalid_values(f"status.services[{place}]", service, _service_key(service))
    return causes


def _service_key(value: str) -> list[str]:
    namespace, _, name = value.partition("/")
    right = not dns1123_label(namespace) and not dns1123_label(name)
    return [] if right else ["must be NAMESPACE/NAME of a Service, (e.g. default/web)"]
