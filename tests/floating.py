"""Floating IPs in a test's region: short ways to write them, and what must hold of their claims at any moment."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from asgi import Reply
from pierhead.api import Tree
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL, SERVICE
from pierhead.api.views import FloatingIP, FloatingIPPool, Service
from pierhead.apiserver.ground import Stored
from pierhead.core.floating import (
    EXTERNAL_CLAIM,
    FLOATING_CLAIM,
    FRONTEND_CLAIM,
    bound_address,
    external_claims,
    floating_claim,
    frontend_claims,
    pool_of,
)
from pierhead.store import Store
from scenes import Region, play

POOLS = FLOATING_IP_POOL.path()
FIPS = FLOATING_IP.path()
SERVICES = SERVICE.path("default")
MERGE = {"content-type": "application/merge-patch+json"}


def pool(*ranges: str, name: str = "default", **spec: Any) -> Tree:
    return {"metadata": {"name": name}, "spec": {"ranges": list(ranges), **spec}}


def fip(name: str = "", **spec: Any) -> Tree:
    return {"metadata": {"name": name} if name else {}, "spec": spec}


def balanced(name: str, wish: str = "", *ports: int | str, **spec: Any) -> Tree:
    """A LoadBalancer; ``ports``: 80 or ``53/UDP``, 80 unless said otherwise."""
    given = [str(port).partition("/") for port in ports or (80,)]
    listed = [
        {"name": f"p{i}", "port": int(n), "protocol": protocol or "TCP"} for i, (n, _, protocol) in enumerate(given)
    ]
    asked = {"type": "LoadBalancer", "loadBalancerIP": wish, "allocateLoadBalancerNodePorts": False, "ports": listed}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": asked | spec}


def kept(obj: Tree) -> Tree:
    """With a finalizer, so that it stays when it is deleted."""
    obj["metadata"]["finalizers"] = ["example.com/x"]
    return obj


def ingress(*ips: str) -> Tree:
    return {"status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"} for ip in ips]}}}


def claims(store: Store, prefix: str = "claims/f") -> dict[str, str]:
    """Claim → holder."""
    return {entry.key: entry.value.decode() for entry in store.range(prefix)}


def check(store: Store) -> None:
    """No claim has leaked, none is lost, none is held twice (which a key cannot be), each address is in a pool of its own, and what a
    Service has from elsewhere is in none."""
    ground = Stored(store)
    pools = [_read(entry.value, FloatingIPPool) for entry in store.range(f"{FLOATING_IP_POOL.resource}/")]
    owned = {}
    for entry in store.range(f"{FLOATING_IP.resource}/"):
        found = _read(entry.value, FloatingIP)
        if found.status.address:
            owned[floating_claim(found.status.address)] = entry.key
            home = pool_of(found.status.address, pools)
            assert home is not None, entry.value
            assert home.metadata.name == found.spec.pool, entry.value
    assert claims(store, FLOATING_CLAIM) == owned
    allowed: set[tuple[str, str]] = set()
    needed: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for entry in store.range(f"{SERVICE.resource}/"):
        service = _read(entry.value, Service)
        ip = bound_address(service, ground)
        mine = dict.fromkeys(frontend_claims(ip, service), entry.key)
        elsewhere |= dict.fromkeys(external_claims(service, ip), entry.key)
        allowed.update(dict.fromkeys(mine.items()))
        if any(each.ip == ip for each in service.status.load_balancer.ingress):
            needed |= mine
    assert claims(store, EXTERNAL_CLAIM) == elsewhere
    for claim in elsewhere:
        assert pool_of(claim.removeprefix(EXTERNAL_CLAIM).partition("/")[0], pools) is None, claim
    held = claims(store, FRONTEND_CLAIM)
    assert set(held.items()) <= allowed, "a claim has leaked"
    assert needed.items() <= held.items(), "a claim is lost"


def _read(value: bytes, shape: type[Any]) -> Any:
    return msgspec.json.decode(value, type=shape)


def message(body: bytes) -> str:
    return str(json.loads(body)["message"])


# -- through the API ----------------------------------------------------------------------------------------


def pooled(scene: Callable[[Region], Awaitable[None]], *ranges: str) -> None:
    """Plays a scene in a region that has a pool of four addresses, or of ``ranges``; whatever happened, no claim is off."""

    async def whole(region: Region) -> None:
        await made(region, POOLS, pool(*ranges or ("192.0.2.4-192.0.2.7",)))
        await scene(region)
        check(region.store)

    play(whole)


async def made(region: Region, path: str, body: Tree) -> Tree:
    reply = await region.admin("POST", path, body)
    assert reply.status == 201, reply.body
    found: Tree = reply.json
    return found


async def patched(region: Region, path: str, body: Tree) -> Reply:
    return await region.admin("PATCH", path, body, MERGE)


def told(reply: Reply) -> str:
    return f"{reply.status} {message(reply.body)}"


async def refused(region: Region, path: str, body: Tree, code: int = 422) -> str:
    reply = await region.admin("POST", path, body)
    assert reply.status == code, reply.body
    return message(reply.body)
