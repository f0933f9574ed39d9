"""``clusterIP``, ``clusterIPs``, ``ipFamilies`` and ``ipFamilyPolicy``: whether they fit each other, and how they may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pierhead.api import Tree
from pierhead.api.rules import (
    duplicate,
    family,
    invalid_value,
    legacy_address,
    not_supported,
)
from pierhead.api.services_spec import (
    EXTERNAL_NAME,
    FAMILIES,
    NO_ADDRESS,
    POLICIES,
    SINGLE_STACK,
    cluster_ip,
    cluster_ips,
    families,
    is_headless,
    kind_of,
    policy,
)
from pierhead.errors import Cause

ADDRESSES = "spec.clusterIPs"
FAMILY_PATH = "spec.ipFamilies"
POLICY = "spec.ipFamilyPolicy"
FIXED = "may not change once set"


def fit(spec: Tree, old: Tree | None = None) -> list[Cause]:
    """Whether the four fields agree. Allocation asks this before it begins, validation once more at the end."""
    if kind_of(spec) == EXTERNAL_NAME:
        return []
    causes = [*_one_voice(spec), *_known_families(spec)]
    broken = _addresses(spec, cluster_ips(old or {}))
    causes += broken
    if len(cluster_ips(spec)) > 2:
        causes.append(invalid_value(ADDRESSES, cluster_ips(spec), "may only hold up to 2 values"))
    if broken or not cluster_ips(spec):
        return causes
    if len(cluster_ips(spec)) > 1 and len({family(ip) for ip in cluster_ips(spec)}) < 2:
        text = "may specify no more than one IP for each IP family"
        causes.append(invalid_value(ADDRESSES, cluster_ips(spec), text))
    return causes if causes or is_headless(spec) else _matching(spec)


def _one_voice(spec: Tree) -> list[Cause]:
    """``clusterIP`` is the first of ``clusterIPs``."""
    first, everything = cluster_ip(spec), cluster_ips(spec)
    if everything and not first:
        return [invalid_value(ADDRESSES, everything, "must be empty when `clusterIP` is not specified")]
    if everything and everything[0] != first:
        return [invalid_value(ADDRESSES, everything, "first value must match `clusterIP`")]
    return []


def _known_families(spec: Tree) -> list[Cause]:
    causes: list[Cause] = []
    wanted = families(spec)
    for i, name in enumerate(wanted):
        if name not in FAMILIES:
            causes.append(not_supported(f"{FAMILY_PATH}[{i}]", name, FAMILIES))
        if name in wanted[:i]:
            causes.append(duplicate(f"{FAMILY_PATH}[{i}]", name))
    if policy(spec) and policy(spec) not in POLICIES:
        causes.append(not_supported(POLICY, policy(spec), POLICIES))
    return causes


def _addresses(spec: Tree, grandfathered: Sequence[str]) -> list[Cause]:
    """Each is an address; "None" is one only first and alone."""
    everything = cluster_ips(spec)
    headless = everything[:1] == [NO_ADDRESS]
    causes: list[Cause] = []
    if headless and len(everything) > 1:
        causes.append(invalid_value(ADDRESSES, everything, "'None' must be the first and only value"))
    for i in range(int(headless), len(everything)):
        causes += legacy_address(f"{ADDRESSES}[{i}]", everything[i], grandfathered)
    return causes


def _matching(spec: Tree) -> list[Cause]:
    causes: list[Cause] = []
    for i, (ip, wanted) in enumerate(zip(cluster_ips(spec), families(spec), strict=False)):
        if family(ip) != wanted:
            text = f"expected an {wanted} value as indicated by `ipFamilies[{i}]`"
            causes.append(invalid_value(f"{ADDRESSES}[{i}]", ip, text))
    return causes


# -- changes ------------------------------------------------------------------------------------------------


def changed(new: Tree, old: Tree) -> list[Cause]:
    """The first address and family stay for life (as ExternalName a Service has none); a second comes and goes with the policy."""
    if EXTERNAL_NAME in (kind_of(new), kind_of(old)):
        return []
    causes: list[Cause] = []
    if not (is_headless(new) and is_headless(old)):
        causes += _changed(ADDRESSES, cluster_ips, new, old)
    if not (is_headless(new) or is_headless(old)):
        causes += _changed(FAMILY_PATH, families, new, old)
    return causes


def _changed(path: str, read: Callable[[Tree], list[str]], new: Tree, old: Tree) -> list[Cause]:
    now, before = read(new), read(old)
    noun = "clusterIP" if path == ADDRESSES else "ipFamily"
    if len(now) == len(before):
        moved = [i for i, value in enumerate(before) if value != now[i]]
        return [invalid_value(f"{path}[{i}]", now, FIXED) for i in moved]
    if not now:
        return [invalid_value(f"{path}[0]", now, f"primary {noun} can not be unset")]
    causes = [invalid_value(f"{path}[0]", now, FIXED)] if before and now[0] != before[0] else []
    if len(now) < len(before) and len(now) == 1 and policy(new) != SINGLE_STACK:
        text = f"must be set to '{SINGLE_STACK}' when releasing the secondary {noun}"
        causes.append(invalid_value(POLICY, new.get("ipFamilyPolicy"), text))
    return causes
