"""Which address families a Service has: resolved from what it says, what it was, and what the region has.

Fills ``ipFamilyPolicy``, ``ipFamilies`` and (when the policy gives up the second family) ``clusterIPs``; addresses themselves are
``core.allocation``'s. The order of the questions is that of the real server: it decides which error is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from pierhead.api import Tree
from pierhead.api.rules import family, invalid_value
from pierhead.api.services_families import ADDRESSES, FAMILY_PATH, POLICY, fit
from pierhead.api.services_spec import (
    EXTERNAL_NAME,
    FAMILIES,
    NO_ADDRESS,
    PREFER_DUAL_STACK,
    REQUIRE_DUAL_STACK,
    SINGLE_STACK,
    cluster_ips,
    families,
    is_selectorless_headless,
    kind_of,
    policy,
)
from pierhead.errors import Cause


def resolve(spec: Tree, old: Tree, region: Sequence[str]) -> list[Cause]:
    """Fills ``spec`` in place; ``old`` is empty at creation, ``region`` has the region's families, primary first.

    Returns:
        What makes this impossible; ``spec`` may then be half filled and is to be thrown away.
    """
    if kind_of(spec) == EXTERNAL_NAME or keeps_preference(spec, old):
        return []
    if not policy(spec):
        spec["ipFamilyPolicy"] = policy(old) or (REQUIRE_DUAL_STACK if is_selectorless_headless(spec) else SINGLE_STACK)
    causes = fit(spec, old)
    if causes:
        return causes
    causes = [*_reduce(spec, old), *_too_many(spec), *_infer(spec, region)]
    if causes:
        return causes
    if is_selectorless_headless(spec):
        spec["ipFamilies"] = _completed(families(spec) or [region[0]], dual=policy(spec) != SINGLE_STACK)
        return []
    causes = _unavailable(spec, region)
    if not causes:
        dual = policy(spec) != SINGLE_STACK and len(region) == 2
        spec["ipFamilies"] = _completed(families(spec) or [region[0]], dual=dual)
    return causes


def keeps_preference(spec: Tree, old: Tree) -> bool:
    """A PreferDualStack Service is never changed because the region changed: only when somebody changes the Service."""
    return (
        policy(spec) == policy(old) == PREFER_DUAL_STACK
        and cluster_ips(spec) == cluster_ips(old)
        and families(spec) == families(old)
    )


def _completed(wanted: list[str], *, dual: bool) -> list[str]:
    return [*wanted, *(name for name in FAMILIES if name not in wanted)] if dual and len(wanted) == 1 else list(wanted)


def _reduce(spec: Tree, old: Tree) -> list[Cause]:
    """Who turns to SingleStack and changes nothing else gives up the second family; who takes it away must say so."""
    if policy(spec) == SINGLE_STACK:
        for name, values, before in (
            ("clusterIPs", cluster_ips(spec), cluster_ips(old)),
            ("ipFamilies", families(spec), families(old)),
        ):
            if len(values) > 1 and values == before:
                spec[name] = values[:1]
        return []
    causes: list[Cause] = []
    if 0 < len(cluster_ips(spec)) < len(cluster_ips(old)):
        text = "must be 'SingleStack' to release the secondary cluster IP"
        causes.append(invalid_value(POLICY, policy(spec), text))
    if 0 < len(families(spec)) < len(families(old)):
        text = "must be 'SingleStack' to release the secondary IP family"
        causes.append(invalid_value(POLICY, policy(spec), text))
    return causes


def _too_many(spec: Tree) -> list[Cause]:
    if policy(spec) != SINGLE_STACK:
        return []
    counted = (("cluster IPs", cluster_ips(spec)), ("IP families", families(spec)))
    text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified"
    return [invalid_value(POLICY, SINGLE_STACK, text % noun) for noun, values in counted if len(values) == 2]


def _infer(spec: Tree, region: Sequence[str]) -> list[Cause]:
    """Families from addresses, for those addresses that have none yet."""
    causes: list[Cause] = []
    found = list(families(spec))
    for i, ip in enumerate(cluster_ips(spec)):
        if ip == NO_ADDRESS:
            break
        if i < len(families(spec)):
            continue
        if family(ip) in region:
            found.append(family(ip))
        else:
            text = f"{family(ip)} is not configured on this cluster"
            causes.append(invalid_value(f"{ADDRESSES}[{i}]", cluster_ips(spec), text))
    if found:
        spec["ipFamilies"] = found
    return causes


def _unavailable(spec: Tree, region: Sequence[str]) -> list[Cause]:
    causes: list[Cause] = []
    if policy(spec) == REQUIRE_DUAL_STACK and len(region) < 2:
        text = "this cluster is not configured for dual-stack services"
        causes.append(invalid_value(POLICY, REQUIRE_DUAL_STACK, text))
    for i, name in enumerate(families(spec)):
        if name not in region:
            causes.append(invalid_value(f"{FAMILY_PATH}[{i}]", name, "not configured on this cluster"))
    return causes
