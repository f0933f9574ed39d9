"""The pool named ``default``: made from the ranges that a region is started with, and given others when it is started with others.

Between two starts with the same ranges it is its users' to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pierhead.api import Tree
from pierhead.api.views import FloatingIPPool
from pierhead.core.floating import DEFAULT_POOL, other_region

STARTED_WITH = "pierhead.dev/floating-cidr"
"""The annotation that keeps which ranges the pool was made from, with commas between them."""

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Start:
    """What a start does about the default pool: it makes it, or changes it, or says why not, or none of these."""

    make: Tree | None = None
    change: Tree | None = None
    """A merge patch."""
    problem: str = ""


def start(found: FloatingIPPool | None, ranges: Sequence[str], region: str) -> Start:
    """``ranges``: of this start; none: the pool is whatever it is."""
    if not ranges:
        return Start()
    told = ",".join(ranges)
    wanted: Tree = {"metadata": {"annotations": {STARTED_WITH: told}}, "spec": {"ranges": list(ranges)}}
    if found is None:
        wanted["metadata"]["name"] = DEFAULT_POOL
        return Start(make=wanted)
    if found.spec.region != region:
        return Start(problem=f'pool "{DEFAULT_POOL}" {other_region(found, region)}; delete it, and start again')
    before = found.metadata.annotations.get(STARTED_WITH)
    if before == told or list(found.spec.ranges) == list(ranges):
        return Start()
    if before is None:
        why = f'--floating-cidr {told} is left out: somebody has made a pool named "{DEFAULT_POOL}"'
        return Start(problem=f"{why}; to use it: kubectl edit fippool {DEFAULT_POOL}")
    return Start(change=wanted)


def refused(ranges: Sequence[str], causes: Sequence[str]) -> str:
    """What to say when the API server refused it. ``causes``: its reasons; of many only the first are repeated."""
    reasons = [cause.rpartition("]: ")[2] for cause in causes]  # without the ranges, which have just been named
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return f"--floating-cidr {','.join(ranges)} cannot be had, and the pool stays as it is: {'; '.join(reasons[:SHOWN])}{more}"
