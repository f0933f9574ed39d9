"""Floating IPs and their pools."""

from __future__ import annotations

from pierhead.api.views.meta import Object, View


class FloatingIPSpec(View, frozen=True):
    pool: str = ""
    address: str = ""
    """A wish."""
    display_name: str = ""
    service: str = ""
    """``NAMESPACE/NAME`` of the one Service that may use it; empty: any."""


class FloatingIPStatus(View, frozen=True):
    address: str = ""
    """Empty while it waits for one."""
    region: str = ""
    services: tuple[str, ...] = ()
    """``NAMESPACE/NAME`` of those that use it, sorted."""


class FloatingIP(Object, frozen=True):
    spec: FloatingIPSpec = FloatingIPSpec()
    status: FloatingIPStatus = FloatingIPStatus()


class FloatingIPPoolSpec(View, frozen=True):
    ranges: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    """Empty: all."""
    region: str = ""


class FloatingIPPoolStatus(View, frozen=True):
    used: int | None = None
    free: int | None = None


class FloatingIPPool(Object, frozen=True):
    spec: FloatingIPPoolSpec = FloatingIPPoolSpec()
    status: FloatingIPPoolStatus = FloatingIPPoolStatus()
