"""Tables of floating IPs and their pools."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.columns import NONE, Printed, age, name_of, some
from pierhead.api.columns_services import PENDING
from pierhead.api.kind import Cell


def _floating_ip(obj: Tree, now: float) -> list[Cell]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name_of(obj),
        status.get("address") or PENDING,
        spec.get("displayName") or NONE,
        some(status.get("services") or _owner(spec), NONE),
        spec.get("pool") or NONE,
        age(obj, now),
    ]


def _owner(spec: Tree) -> list[str]:
    """The Service that it belongs to, and which waits for an address as long as this one does."""
    return [spec["service"]] if spec.get("service") else []


def _floating_ip_pool(obj: Tree, now: float) -> list[Cell]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name_of(obj),
        some(spec.get("ranges") or [], NONE),
        status.get("used") or 0,
        status.get("free") or 0,
        age(obj, now),
        spec.get("region") or NONE,
        ",".join(spec.get("zones") or []) or NONE,
    ]


FLOATING_IP = Printed("FloatingIP", _floating_ip)
FLOATING_IP_POOL = Printed("FloatingIPPool", _floating_ip_pool)
