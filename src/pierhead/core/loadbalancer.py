"""How a Service of type LoadBalancer comes by its floating IP, and gives it back: one step at a time, each decided from what is stored.

Whoever stops between two steps leaves nothing that the next look would not finish. The finalizer stands only where something has to be
undone, so that a Service which waits for an address can be deleted at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from pierhead.api.services_spec import LOAD_BALANCER
from pierhead.api.views import FloatingIP, FloatingIPPool, LoadBalancerIngress, Service
from pierhead.core.floating import (
    DEFAULT_POOL,
    FloatingIPs,
    bound_address,
    default_pool,
    is_ours,
    is_owned_name,
    no_pool,
    out_of_reach,
    owned_name,
    pool_family,
    pool_of,
    resolve,
)

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
"""The one that Kubernetes' own service controller uses: other programs know it."""


# -- steps --------------------------------------------------------------------------------------------------


class Own(msgspec.Struct, frozen=True):
    """Make a FloatingIP for this Service alone."""

    pool: str


class Hold(msgspec.Struct, frozen=True):
    """Add the finalizer."""


class Bind(msgspec.Struct, frozen=True):
    """Say in the status that this address leads to the Service."""

    address: str


class Unbind(msgspec.Struct, frozen=True):
    """Empty the status."""


class Release(msgspec.Struct, frozen=True):
    """Remove the finalizer: nothing is left to undo."""


class Wait(msgspec.Struct, frozen=True):
    """Nothing can be done until something changes; ``why`` is a sentence for whoever wrote the Service, with what to do."""

    why: str


Step: TypeAlias = Own | Hold | Bind | Unbind | Release | Wait


def next_step(service: Service, pools: Sequence[FloatingIPPool], fips: FloatingIPs, region: str) -> Step | None:
    """What brings this Service nearer to what it asks for; None: it has it, or it is none of ours. ``pools``: those of all regions.

    Without any pool load balancers are somebody else's; one that nobody has given an address so far waits all the same.
    """
    if _is_elsewhere(service, pools, fips):
        return None
    if is_ours(service) and not service.metadata.deletion_timestamp:
        return _serve(service, pools, fips, region)
    return _leave(service, fips) if pools else None


def _is_elsewhere(service: Service, pools: Sequence[FloatingIPPool], fips: FloatingIPs) -> bool:
    """Whether another controller looks after it: it is of another class, or has been given what is no pool's, and nothing of ours."""
    if service.spec.type != LOAD_BALANCER:
        return False
    if not is_ours(service):
        return True
    given = any(not pool_of(entry.ip, pools) for entry in service.status.load_balancer.ingress)
    return given and not bound_address(service, fips) and fips.named(owned_name(service)) is None


def _serve(service: Service, pools: Sequence[FloatingIPPool], fips: FloatingIPs, region: str) -> Step | None:
    wish = service.spec.load_balancer_ip
    if not pools:
        return Wait(no_pool(pools, region))
    if wish:
        found = resolve(service, pools, fips, region)
        if found.fip is None:
            return Wait(f'spec.loadBalancerIP "{wish}": {found.problem}; those there are: pierhead fip get')
        fip = found.fip
    else:
        owned = fips.named(owned_name(service))
        if owned is None:
            return _own(service, pools, region)
        if owned.metadata.deletion_timestamp:
            return Wait(
                f'FloatingIP "{owned.metadata.name}" is being deleted; when its finalizers let it go there will be another'
            )
        fip = owned
    ip = fip.status.address
    if not ip:
        return Wait(no_address(fip, pools, region))
    if FINALIZER not in service.metadata.finalizers:
        return Hold()
    return None if service.status.load_balancer.ingress == ingress_of(ip) else Bind(ip)


def _own(service: Service, pools: Sequence[FloatingIPPool], region: str) -> Step:
    """A pool of the Service's first family that has one."""
    families = service.spec.ip_families
    found = (default_pool(pools, region, family) for family in families)
    pool = next((pool for pool in found if pool is not None), None)
    if pool is not None:
        return Own(pool.metadata.name)
    near = [pool for pool in pools if pool.spec.region == region]
    if not near:
        return Wait(no_pool(pools, region))
    fitting = sorted(pool.metadata.name for pool in near if pool_family(pool) in families)
    if fitting:
        return Wait(
            f'none of the pools {", ".join(fitting)} is named "{DEFAULT_POOL}": allocate an address with'
            " `pierhead fip create --pool POOL`, and name it in spec.loadBalancerIP"
        )
    return Wait(
        f"no pool of this region gives out {' or '.join(families)} addresses: create a FloatingIPPool that does"
    )


def _leave(service: Service, fips: FloatingIPs) -> Step | None:
    if FINALIZER not in service.metadata.finalizers:
        return None
    if service.status.load_balancer.ingress:
        return Unbind()
    return None if fips.named(owned_name(service)) is not None else Release()


def ingress_of(ip: str) -> tuple[LoadBalancerIngress, ...]:
    """What a Service says that is reached at an address."""
    return (LoadBalancerIngress(ip, ip_mode="VIP"),)


# -- FloatingIPs --------------------------------------------------------------------------------------------


def is_left_over(fip: FloatingIP, service: Service | None) -> bool:
    """Whether a FloatingIP was made for a Service that needs it no more. ``service``: the one that now bears the name of its owner."""
    if not fip.spec.service or not is_owned_name(fip.metadata.name):
        return False
    if service is None or owned_name(service) != fip.metadata.name or not is_ours(service):
        return True
    used = any(entry.ip == fip.status.address for entry in service.status.load_balancer.ingress)
    return not used and bool(service.metadata.deletion_timestamp or service.spec.load_balancer_ip)


def users(fip: FloatingIP, services: Sequence[Service], fips: FloatingIPs) -> tuple[str, ...]:
    """Keys of those of these Services that answer at its address; sorted."""
    ip = fip.status.address
    return tuple(sorted(
        service.key
        for service in services
        if ip and any(entry.ip == ip for entry in service.status.load_balancer.ingress) and bound_address(service, fips) == ip
    ))  # fmt: skip


def no_address(fip: FloatingIP, pools: Iterable[FloatingIPPool], region: str) -> str:
    """Why a FloatingIP waits, and what helps."""
    pool = next((pool for pool in pools if pool.metadata.name == fip.spec.pool), None)
    if pool is not None and pool.spec.region != region:
        return out_of_reach(pool)
    return (
        f'pool "{fip.spec.pool}" has no free address: release one (pierhead fip delete ADDRESS) or add a range'
        f" (kubectl edit fippool {fip.spec.pool}); the next that is free is given at once"
    )
