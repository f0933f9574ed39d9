"""Floating IPs: which address comes out of which pool, which one a Service may use, and which one it is bound to.

Owning and using are apart. A FloatingIP owns an address (the claim ``claims/floating/ADDRESS``), a Service uses it on its ports
(``claims/frontend/ADDRESS/PROTOCOL/PORT``); both are facts in the store, so that everything here is a function of what was read.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address as parse_address
from typing import Protocol

import msgspec

from pierhead.api.addressranges import AddressRange, parse
from pierhead.api.floatingippools import LARGEST_COUNT
from pierhead.api.floatingips import floating_ip_name
from pierhead.api.rules import Address, address, family, ip_address
from pierhead.api.services_spec import LOAD_BALANCER
from pierhead.api.views import FloatingIP, FloatingIPPool, Service
from pierhead.core.pools import Pick

DEFAULT_POOL = "default"
STARTED_WITH = "pierhead.dev/floating-cidr"
"""The annotation of the default pool that keeps which ranges it was made from, with commas between them: one that has it follows its region."""
POOLS_CLAIM = "claims/pools"
FLOATING_CLAIM = "claims/floating/"
FRONTEND_CLAIM = "claims/frontend/"
EXTERNAL_CLAIM = "claims/external/"

GUESSES = 16
"""So often chance alone looks for a free address; where it finds none the pool is crowded, and who owns what is counted."""
_OWNED = re.compile(r"service-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOT_A_NAME = "must be empty, an allocated address, or the name of a FloatingIP"


# -- pools --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def ranges_of(texts: tuple[str, ...]) -> tuple[AddressRange, ...]:
    """What the texts of ``spec.ranges`` give out."""
    return tuple(found for found in map(parse, texts) if found is not None)


def pool_family(pool: FloatingIPPool) -> str:
    """``IPv4`` or ``IPv6``: a pool has one."""
    return f"IPv{ranges_of(pool.spec.ranges)[0].version}" if pool.spec.ranges else ""


def size_of(pool: FloatingIPPool) -> int:
    return sum(found.size for found in ranges_of(pool.spec.ranges))


def in_pool(pool: FloatingIPPool, ip: Address) -> bool:
    return any(ip in found for found in ranges_of(pool.spec.ranges))


def pool_of(ip: str, pools: Iterable[FloatingIPPool]) -> FloatingIPPool | None:
    """The one pool that gives out an address: pools do not overlap."""
    found = address(ip)
    return None if found is None else next((pool for pool in pools if in_pool(pool, found)), None)


def overlaps(one: FloatingIPPool, other: FloatingIPPool) -> list[tuple[int, str]]:
    """The places in ``one``'s ranges that lie in ``other`` too, each with the range of ``other`` it meets."""
    theirs = list(zip(other.spec.ranges, ranges_of(other.spec.ranges), strict=True))
    return [
        (place, text)
        for place, mine in enumerate(ranges_of(one.spec.ranges))
        for text, found in theirs
        if mine.overlaps(found)
    ]


def default_pool(pools: Iterable[FloatingIPPool], region: str, wanted: str = "") -> FloatingIPPool | None:
    """The pool of somebody who names none: the one named ``default``, else the only one of this region.

    ``wanted``: a family; empty: any. None: there is none, or several without a default.
    """
    found = [
        pool
        for pool in pools
        if pool.spec.region == region and not pool.metadata.deletion_timestamp and wanted in ("", pool_family(pool))
    ]
    named = [pool for pool in found if pool.metadata.name == DEFAULT_POOL]
    return next(iter(named or found), None) if named or len(found) == 1 else None


def next_free(pool: FloatingIPPool, used: Collection[str], pick: Pick) -> str | None:
    """Any free address of a pool, each as likely as every other; None when none is free, or the pool is being deleted.

    ``used``: addresses that somebody owns, of this pool or others, in canonical form. Chance keeps an address that was just
    given back, which clients may still remember, from being the next one given out.
    """
    if pool.metadata.deletion_timestamp:
        return None
    size = size_of(pool)
    for _ in range(GUESSES):
        ip = str(_nth(pool, (), pick(size)))
        if ip not in used:
            return ip
    taken = _inside(pool, used)
    return str(_nth(pool, taken, pick(size - len(taken)))) if size > len(taken) else None


def usage(pool: FloatingIPPool, used: Iterable[str]) -> tuple[int, int]:
    """How many addresses of a pool are given out, and how many are left; what an int64 holds at most."""
    count = len(_inside(pool, used))
    return count, min(size_of(pool) - count, LARGEST_COUNT)


def _inside(pool: FloatingIPPool, used: Iterable[str]) -> list[int]:
    """Those of the addresses that a pool gives out, as numbers in order, each once."""
    known = {ip for ip in map(parse_address, set(used)) if in_pool(pool, ip)}
    return sorted(map(int, known))


def _nth(pool: FloatingIPPool, taken: Sequence[int], free: int) -> Address:
    """The address of a pool that has ``free`` free ones before it. ``taken``: numbers in order."""
    for found in ranges_of(pool.spec.ranges):
        number = found.first + free
        for other in taken[bisect_left(taken, found.first) : bisect_right(taken, found.last)]:
            number += other <= number
        if number <= found.last:
            return found.address(number)
        free = number - found.last - 1
    raise AssertionError("fewer addresses are free than were counted")


# -- floating IPs -------------------------------------------------------------------------------------------


class FloatingIPs(Protocol):
    """The FloatingIPs there are."""

    def named(self, name: str) -> FloatingIP | None: ...

    def at(self, ip: str) -> FloatingIP | None:
        """The one that owns an address, which is in canonical form."""
        ...


class Known(msgspec.Struct, frozen=True):
    """``FloatingIPs`` of somebody who has read them all."""

    by_name: Mapping[str, FloatingIP]
    by_address: Mapping[str, FloatingIP] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, found: Iterable[FloatingIP]) -> Known:
        by_name = {fip.metadata.name: fip for fip in found}
        return cls(by_name, {fip.status.address: fip for fip in by_name.values() if fip.status.address})

    def named(self, name: str) -> FloatingIP | None:
        return self.by_name.get(name)

    def at(self, ip: str) -> FloatingIP | None:
        return self.by_address.get(ip)


def floating_claim(ip: str) -> str:
    """Held by the FloatingIP that owns this address."""
    return f"{FLOATING_CLAIM}{address(ip) or ip}"


def users_prefix(ip: str) -> str:
    """What the claims of all who use this address start with."""
    return f"{FRONTEND_CLAIM}{address(ip) or ip}/"


def frontend_claims(ip: str, service: Service) -> tuple[str, ...]:
    """Held by the Service that answers on this address, one for each of its ports; in their order."""
    return tuple(f"{users_prefix(ip)}{port.protocol}/{port.port}" for port in service.spec.ports) if ip else ()


def external_claims(service: Service, bound: str) -> tuple[str, ...]:
    """Held by the Service at each address that it has and no floating IP gave it: no pool may come to give these out.

    ``bound``: the one that a floating IP gave it, see ``bound_address``.
    """
    given = (*service.spec.external_ips, *(entry.ip for entry in service.status.load_balancer.ingress))
    found = dict.fromkeys(str(ip) for ip in map(address, given) if ip is not None)
    return tuple(f"{EXTERNAL_CLAIM}{ip}/{service.key}" for ip in found if ip != bound)


# -- Services -----------------------------------------------------------------------------------------------


def is_ours(service: Service) -> bool:
    """Whether a Service asks for a floating IP, and of nobody else."""
    return service.spec.type == LOAD_BALANCER and not service.spec.load_balancer_class


def owned_name(service: Service) -> str:
    """The name of the FloatingIP that is made for a Service which names none."""
    return f"service-{service.metadata.uid}"


def is_owned_name(name: str) -> bool:
    return _OWNED.fullmatch(name) is not None


def may_use(fip: FloatingIP, service: Service) -> bool:
    return fip.spec.service in ("", service.key) and not fip.metadata.deletion_timestamp


def named_by(wish: str, fips: FloatingIPs) -> FloatingIP | None:
    """The FloatingIP that ``spec.loadBalancerIP`` means: the one that owns this address, or bears this name."""
    found = address(wish)
    return fips.named(wish) if found is None else fips.at(str(found))


def bound_address(service: Service, fips: FloatingIPs) -> str:
    """The address a Service answers on, in canonical form; empty: none.

    The one that ``spec.loadBalancerIP`` means; without such a wish, the one in its status where a FloatingIP of its own has it.
    Nothing once the Service is being deleted and the controller has emptied its status; nor of a FloatingIP that is being deleted,
    which could be told to go only because nobody used it.
    """
    ingress = [entry.ip for entry in service.status.load_balancer.ingress if entry.ip]
    if not is_ours(service) or (service.metadata.deletion_timestamp and not ingress):
        return ""
    if service.spec.load_balancer_ip:
        fip = named_by(service.spec.load_balancer_ip, fips)
        return fip.status.address if fip is not None and may_use(fip, service) else ""
    found = (named_by(ip, fips) for ip in ingress)
    own = (fip for fip in found if fip is not None and fip.spec.service and may_use(fip, service))
    return next((fip.status.address for fip in own), "")


class Resolution(msgspec.Struct, frozen=True):
    """What became of a wish: a FloatingIP, or why there is none."""

    fip: FloatingIP | None = None
    problem: str = ""
    """A sentence for ``spec.loadBalancerIP``."""

    @property
    def address(self) -> str:
        """Empty also while the FloatingIP waits for one."""
        return self.fip.status.address if self.fip else ""


def resolve(service: Service, pools: Sequence[FloatingIPPool], fips: FloatingIPs, region: str) -> Resolution:
    """What ``spec.loadBalancerIP``, which is not empty, may use, or the reason to refuse it."""
    wish = service.spec.load_balancer_ip
    found = address(wish)
    if malformed := _malformed(wish):
        return Resolution(problem=malformed)
    fip = named_by(wish, fips)
    if fip is None:
        return Resolution(problem=missing_address(wish, pools, region) if found else "no FloatingIP has this name")
    problem = _unusable(fip, service, region)
    return Resolution(problem=problem) if problem else Resolution(fip)


def _malformed(wish: str) -> str:
    if address(wish):
        return next(iter(ip_address(wish)), "")
    return NOT_A_NAME if floating_ip_name(wish) else ""


def missing_address(ip: str, pools: Sequence[FloatingIPPool], region: str) -> str:
    """Why nobody owns an address."""
    pool = pool_of(ip, pools)
    if pool is None:
        return "is in no pool of floating IPs"
    if pool.spec.region != region:
        return other_region(pool.spec.region, region)
    return f'is not allocated: create a FloatingIP with spec.address "{ip}" first'


def other_region(theirs: str, region: str) -> str:
    return f'belongs to region "{theirs}", and floating IPs are used in their own; this is "{region}"'


def no_pool(pools: Iterable[FloatingIPPool], region: str) -> str:
    """Why nobody is given an address in a region that has no pool, and what helps. ``pools``: those there are."""
    others = sorted(pools, key=lambda pool: (pool.metadata.name != DEFAULT_POOL, pool.metadata.name))
    step = f", and {out_of_reach(others[0])}" if others else ": create one, as `pierhead up --floating-cidr` does"
    return f'there is no FloatingIPPool in region "{region}"{step}'


def out_of_reach(pool: FloatingIPPool) -> str:
    """What is to be done about a pool of another region."""
    return f'pool "{pool.metadata.name}" belongs to region "{pool.spec.region}": {way_here(pool)}'


def way_here(pool: FloatingIPPool) -> str:
    """How a pool of another region comes to this one, or this one to it."""
    follows = STARTED_WITH in pool.metadata.annotations
    then = "it follows" if follows else f"change its spec.region (kubectl edit fippool {pool.metadata.name})"
    return f"release its addresses (pierhead fip get) and {then}, or start with --region {pool.spec.region}"


def _unusable(fip: FloatingIP, service: Service, region: str) -> str:
    if fip.metadata.deletion_timestamp:
        return f'FloatingIP "{fip.metadata.name}" is being deleted'
    if not may_use(fip, service):
        return f"belongs to Service {fip.spec.service} alone"
    found = family(fip.status.address)
    if found and service.spec.ip_families and found not in service.spec.ip_families:
        return f"is of family {found}, and this Service has {' and '.join(service.spec.ip_families)} only"
    if fip.status.region not in ("", region) and not _has(service, fip):
        return other_region(fip.status.region, region)
    return ""


def _has(service: Service, fip: FloatingIP) -> bool:
    """Whether it says that it answers there: then it stays, whatever its region is called by now."""
    return any(entry.ip == fip.status.address for entry in service.status.load_balancer.ingress)
