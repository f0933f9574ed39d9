"""Whatever is written, in whatever order and however much at once: no claim leaks, none is lost, and nothing fails."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from floating import FIPS, MERGE, POOLS, SERVICES, balanced, check, fip, ingress, pool
from pierhead.api import Tree
from scenes import Region

Call: TypeAlias = tuple[str, str, Tree | None]

names = st.sampled_from(["a", "b", "c"])
ips = st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.9"])
wishes = st.sampled_from(["", "a", "b", "192.0.2.1", "192.0.2.2", "nobody"])
ports = st.sets(st.sampled_from(["80", "443", "53/UDP"]), min_size=1).map(sorted)
ranges = st.sampled_from([["192.0.2.1-192.0.2.3"], ["192.0.2.1"], ["192.0.2.2-192.0.2.3"], ["192.0.2.9"]])
moves = st.sampled_from([{}, {}, {"region": "local"}, {"region": "north"}])
held = st.sampled_from([None, ["example.com/x"]])


def finalized(obj: Tree, finalizers: list[str] | None) -> Tree:
    return obj | {"metadata": obj["metadata"] | ({"finalizers": finalizers} if finalizers else {})}


@st.composite
def creates(draw: st.DrawFn) -> Call:
    kind, finalizers = draw(st.sampled_from(["pool", "fip", "service", "service"])), draw(held)
    if kind == "pool":
        return "POST", POOLS, finalized(pool(*draw(ranges), name=draw(names)), finalizers)
    if kind == "fip":
        spec: dict[str, Any] = draw(st.sampled_from([{}, {"pool": "a"}, {"pool": "b"}, {"service": "default/a"}]))
        wish = draw(st.none() | ips)
        asked = fip(draw(st.sampled_from(["", "a", "b"])), **spec, **({"address": wish} if wish else {}))
        return "POST", FIPS, finalized(asked, finalizers)
    return "POST", SERVICES, finalized(balanced(draw(names), draw(wishes), *draw(ports)), finalizers)


@st.composite
def changes(draw: st.DrawFn) -> Call:
    target = draw(
        st.sampled_from(["pool", "fip", "address", "wish", "ports", "type", "external", "ingress", "ingress"])
    )
    name = draw(names)
    if target == "pool":
        return "PATCH", f"{POOLS}/{name}", {"spec": {"ranges": draw(ranges)} | draw(moves)}
    if target in ("fip", "address"):
        status = {"status": {"address": draw(ips)}}
        return ("PATCH", f"{FIPS}/{name}/status", status) if target == "address" else ("PATCH", f"{FIPS}/{name}", {
            "metadata": {"finalizers": None}
        })  # fmt: skip
    if target == "ingress":
        return "PATCH", f"{SERVICES}/{name}/status", draw(st.just({"status": None}) | ips.map(ingress))
    spec = {
        "wish": {"loadBalancerIP": draw(wishes)},
        "ports": {"ports": balanced("x", "", *draw(ports))["spec"]["ports"]},
        "external": {"externalIPs": draw(st.lists(ips, unique=True, max_size=2))},
        "type": {"type": draw(st.sampled_from(["LoadBalancer", "ClusterIP", "NodePort"]))},
    }[target]
    return "PATCH", f"{SERVICES}/{name}", {"spec": spec, "metadata": {"finalizers": None}}


deletes = st.tuples(
    st.just("DELETE"), st.builds("/".join, st.tuples(st.sampled_from([POOLS, FIPS, SERVICES]), names | ips)), st.none()
)
calls = st.one_of(creates(), creates(), changes(), deletes)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.lists(st.lists(calls, min_size=1, max_size=5), max_size=14))
def test_after_every_round_of_writes_at_once(rounds: list[list[Call]]) -> None:
    async def main() -> None:
        region = Region()
        await region.prepare()
        await region.admin("POST", POOLS, pool("192.0.2.1-192.0.2.3", name="a"))
        for each in rounds:
            replies = await asyncio.gather(
                *(region.admin(*call, MERGE if call[0] == "PATCH" else None) for call in each)
            )
            assert [reply.body for reply in replies if reply.status >= 500] == []
            check(region.store)
        region.app.close()

    asyncio.run(main())
