"""What FloatingIPs and their pools take and give back.

An allocation and a change of the pools exclude each other through ``claims/pools``, which each change of a pool writes again and
each allocation finds unchanged, and through the claims below ``claims/floating/``, of which a change of a pool finds none that
came after it looked. Allocations do not disturb each other. What Services have from elsewhere, below ``claims/external/``, and a change
of the pools exclude each other in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import ip_address as parse_address

from pierhead.api import Tree
from pierhead.api.floatingippools import RANGES
from pierhead.api.floatingips import spec_causes
from pierhead.api.kind import Kind
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL
from pierhead.api.rules import Address, address, invalid_value, not_found_value, required
from pierhead.api.strategy import Write
from pierhead.api.views import FloatingIPPool, FloatingIPPoolSpec, ObjectMeta
from pierhead.core.claims import Allocation, Claimant, Ground
from pierhead.core.floating import (
    DEFAULT_POOL,
    EXTERNAL_CLAIM,
    FLOATING_CLAIM,
    POOLS_CLAIM,
    default_pool,
    floating_claim,
    in_pool,
    is_owned_name,
    missing_address,
    next_free,
    no_pool,
    out_of_reach,
    overlaps,
    pool_of,
    ranges_of,
    users_prefix,
)
from pierhead.errors import ApiError, Cause, conflict, invalid

SHOWN = 5
"""So many of those who depend on something are named in a sentence; ``details.causes`` has them all."""


class FloatingIPClaims(Claimant):
    """A FloatingIP owns one address: from its creation where one is free, else from the status write that gives it one."""

    def allocate(self, obj: Tree, old: Tree | None, write: Write, ground: Ground) -> Allocation:
        if old is not None:
            return Allocation()
        spec, metadata = obj["spec"], obj["metadata"]
        if causes := spec_causes(obj):
            raise _invalid(obj, *causes)
        pool = _pool_for(obj, write.network.region, ground)
        spec["pool"] = pool.metadata.name
        ip = spec.get("address") or next_free(pool, _Owned(ground), ground.pick)
        if not ip and not metadata.get("name"):
            why = "has no free address, and only a FloatingIP that is given a metadata.name can wait for one"
            raise _invalid(obj, invalid_value("spec.pool", pool.metadata.name, why))
        allocation = _own(obj, ip, write, ground) if ip else Allocation()
        metadata["name"] = metadata.get("name") or str(address(ip or ""))
        return allocation

    def claim(self, obj: Tree, old: Tree | None, write: Write, ground: Ground) -> Allocation:
        ip = (obj.get("status") or {}).get("address") or ""
        if old is None or not ip or ip == (old.get("status") or {}).get("address"):
            return Allocation()
        name = obj["spec"].get("pool") or ""
        pool = _named(name, ground)
        if pool is None or pool_of(ip, [pool]) is None:
            raise _invalid(obj, invalid_value("status.address", ip, f'is not in pool "{name}"'))
        if why := _closed(pool, write.network.region):
            raise _invalid(obj, invalid_value("status.address", ip, why))
        return _own(obj, ip, write, ground, "status.address")

    def leave(self, obj: Tree | None, old: Tree, ground: Ground) -> Allocation:
        ip = (old.get("status") or {}).get("address") or ""
        if not ip:
            return Allocation()
        users = sorted({_shown(holder) for _, holder in ground.holders(users_prefix(ip))})
        if users:
            raise _in_use(FLOATING_IP, old, "Service", users, "status.services")
        unused = ((users_prefix(ip), 0),)
        if obj is None:
            return Allocation(release=(floating_claim(ip),), none_since=unused)
        # A Service that was about to bind to it looks again, and finds it on its way out.
        return Allocation(renew=(floating_claim(ip),), none_since=unused)


def _pool_for(obj: Tree, region: str, ground: Ground) -> FloatingIPPool:
    """The pool that a new FloatingIP names, or means.

    Raises:
        ApiError: 422.
    """
    name, wish, pools = obj["spec"].get("pool") or "", obj["spec"].get("address") or "", ground.pools()
    if name:
        return _wanted_pool(obj, region, ground)
    if not wish:
        pool = default_pool(pools, region)
        if pool is None:
            raise _invalid(obj, required("spec.pool", _which(pools, region)))
        return pool
    pool = pool_of(wish, pools)
    if pool is None or (why := _closed(pool, region)):
        raise _invalid(obj, invalid_value("spec.address", wish, why if pool else missing_address(wish, pools, region)))
    return pool


def _wanted_pool(obj: Tree, region: str, ground: Ground) -> FloatingIPPool:
    name, wish = obj["spec"]["pool"], obj["spec"].get("address") or ""
    pool = _named(name, ground)
    if pool is None:
        raise _invalid(obj, not_found_value("spec.pool", name))
    if why := _closed(pool, region):
        raise _invalid(obj, invalid_value("spec.pool", name, why))
    if wish and pool_of(wish, [pool]) is None:
        raise _invalid(obj, invalid_value("spec.address", wish, f'is not in pool "{name}"'))
    return pool


def _named(name: str, ground: Ground) -> FloatingIPPool | None:
    return next((pool for pool in ground.pools() if pool.metadata.name == name), None)


def _closed(pool: FloatingIPPool, region: str) -> str:
    """Why a pool gives out nothing here."""
    if pool.spec.region != region:
        return out_of_reach(pool)
    return f'pool "{pool.metadata.name}" is being deleted' if pool.metadata.deletion_timestamp else ""


def _which(pools: Sequence[FloatingIPPool], region: str) -> str:
    """What to say to somebody who named no pool, and none goes without saying."""
    names = [pool.metadata.name for pool in pools if not _closed(pool, region)]
    if not names:
        return no_pool(pools, region)
    return f'none is named "{DEFAULT_POOL}"; choose one of {_listed(names)}'


def _own(obj: Tree, ip: str, write: Write, ground: Ground, field: str = "spec.address") -> Allocation:
    """Raises: ApiError 422 when it belongs to another: to any, while this one has no name yet."""
    claim, own = floating_claim(ip), f"{FLOATING_IP.resource}/{obj['metadata'].get('name') or ''}"
    holder = ground.holder(claim)
    if holder is not None and holder != own:
        raise _invalid(obj, invalid_value(field, ip, f'belongs to FloatingIP "{_fip(holder, str(address(ip)))}"'))
    obj["status"] |= {"address": str(address(ip)), "region": write.network.region}
    return Allocation(take=(claim,), unchanged=((POOLS_CLAIM, ground.revision(POOLS_CLAIM)),))


class _Owned(Collection[str]):
    """The addresses that somebody owns, read only as far as they are asked for."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def __contains__(self, ip: object) -> bool:
        return self._ground.holder(f"{FLOATING_CLAIM}{ip}") is not None

    def __iter__(self) -> Iterator[str]:
        return (claim.removeprefix(FLOATING_CLAIM) for claim, _ in self._ground.holders(FLOATING_CLAIM))

    def __len__(self) -> int:
        return len(self._ground.holders(FLOATING_CLAIM))


class FloatingIPPoolClaims(Claimant):
    """Pools do not overlap; none takes an address that a Service has from elsewhere, gives up one that somebody owns, or moves with it."""

    def claim(self, obj: Tree, old: Tree | None, write: Write, ground: Ground) -> Allocation:
        new, before = _view(obj), None if old is None else _view(old)
        if write.subresource or (before is not None and before.spec == new.spec):
            return Allocation()
        causes = [*_overlap_causes(new, ground), *_cover_causes(new, ground)]
        if before is not None:
            causes += [*_loss_causes(new, before, ground), *_move_causes(new, before, ground)]
        if causes:
            raise invalid(new.metadata.name, FLOATING_IP_POOL.name, FLOATING_IP_POOL.group, causes)
        return _changed_pools(ground)

    def leave(self, obj: Tree | None, old: Tree, ground: Ground) -> Allocation:
        owners = sorted(set(_owners(_view(old), ground).values()))
        if owners:
            raise _in_use(FLOATING_IP_POOL, old, "FloatingIP", owners, "status.used")
        return _changed_pools(ground)


def _overlap_causes(new: FloatingIPPool, ground: Ground) -> Iterator[Cause]:
    for other in ground.pools():
        if other.metadata.name != new.metadata.name:
            for place, met in overlaps(new, other):
                yield _range_cause(new, place, f'overlaps {met} of pool "{other.metadata.name}"')


def _cover_causes(new: FloatingIPPool, ground: Ground) -> Iterator[Cause]:
    """An address of a pool is somebody's who owns it: nobody has it already, from elsewhere."""
    for claim, holder in ground.holders(EXTERNAL_CLAIM):
        ip = parse_address(claim.removeprefix(EXTERNAL_CLAIM).partition("/")[0])
        for place, found in enumerate(ranges_of(new.spec.ranges)):
            if ip in found:
                why = f"covers {ip}, which Service {_shown(holder)} has in spec.externalIPs or its status"
                yield _range_cause(new, place, why)


def _loss_causes(new: FloatingIPPool, before: FloatingIPPool, ground: Ground) -> Iterator[Cause]:
    for ip, name in _owners(before, ground).items():
        if not in_pool(new, ip):
            why = f'must keep {ip}, which belongs to FloatingIP "{name}"'
            yield invalid_value(RANGES, list(new.spec.ranges), why)


def _move_causes(new: FloatingIPPool, before: FloatingIPPool, ground: Ground) -> Iterator[Cause]:
    owners = sorted(set(_owners(before, ground).values()))
    if owners and new.spec.region != before.spec.region:
        have = "FloatingIP {} has an address" if len(owners) == 1 else "FloatingIPs {} have addresses"
        yield invalid_value("spec.region", new.spec.region, f"{have.format(_listed(owners))} of this pool")


def _range_cause(pool: FloatingIPPool, place: int, why: str) -> Cause:
    return invalid_value(f"{RANGES}[{place}]", pool.spec.ranges[place], why)


def _view(pool: Tree) -> FloatingIPPool:
    """What matters here, of a pool that was found right."""
    spec = FloatingIPPoolSpec(tuple(pool["spec"]["ranges"]), region=pool["spec"]["region"])
    return FloatingIPPool(metadata=ObjectMeta(pool["metadata"]["name"]), spec=spec)


def _owners(pool: FloatingIPPool, ground: Ground) -> dict[Address, str]:
    """The addresses of a pool that somebody owns, and the FloatingIP that does."""
    owned = ground.holders(FLOATING_CLAIM)
    found = ((parse_address(claim.removeprefix(FLOATING_CLAIM)), holder) for claim, holder in owned)
    return {ip: _fip(holder, str(ip)) for ip, holder in found if in_pool(pool, ip)}


def _changed_pools(ground: Ground) -> Allocation:
    return Allocation(
        renew=(POOLS_CLAIM,),
        unchanged=((POOLS_CLAIM, ground.revision(POOLS_CLAIM)),),
        none_since=tuple((prefix, ground.revision()) for prefix in (FLOATING_CLAIM, EXTERNAL_CLAIM)),
    )


# -- refusals -----------------------------------------------------------------------------------------------


def _invalid(fip: Tree, *causes: Cause) -> ApiError:
    return invalid(fip["metadata"].get("name") or "", FLOATING_IP.name, FLOATING_IP.group, causes)


def _in_use(kind: Kind, obj: Tree, noun: str, users: Sequence[str], field: str) -> ApiError:
    plural = noun if len(users) == 1 else f"{noun}s"
    error = conflict(obj["metadata"]["name"], kind.plural, kind.group, f"it is in use by {plural} {_listed(users)}")
    causes = [Cause("InUse", user, field).tree() for user in users]
    error.details = (error.details or {}) | {"causes": causes}
    return error


def _shown(holder: str) -> str:
    """``default/web``: a holder's key without its kind."""
    return holder.partition("/")[2]


def _fip(holder: str, ip: str) -> str:
    """What to call the FloatingIP that owns an address: one that was made for a Service has a name that nobody gave it, or knows."""
    name = _shown(holder)
    return ip if is_owned_name(name) else name


def _listed(names: Iterable[str]) -> str:
    first, *rest = found = list(names)
    if len(found) > SHOWN:
        return f"{', '.join(found[:SHOWN])} and {len(found) - SHOWN} more"
    return f"{', '.join(found[:-1])} and {found[-1]}" if rest else first
