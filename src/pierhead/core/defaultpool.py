"""The pool named ``default``: made from the ranges that a region is started with, and given others when it is started with others.

Between two starts with the same ranges it is its users' to change. It follows the region under another name, as long as nobody owns
an address of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pierhead.api import Tree
from pierhead.api.views import FloatingIPPool
from pierhead.core.floating import DEFAULT_POOL, STARTED_WITH, way_here

SHOWN = 3


class Start(msgspec.Struct, frozen=True):
    """What a start does about the default pool: it makes it, or changes it, or says why not, or none of these."""

    make: Tree | None = None
    change: Tree | None = None
    """A merge patch."""
    problem: str = ""


class Standing(msgspec.Struct, frozen=True):
    """What a region gives out from its default pool once it has started."""

    ranges: tuple[str, ...] = ()
    """None: there is no such pool, or it is another region's."""
    problem: str = ""
    """Why that is not what was asked for: one line, with what to do."""


def start(found: FloatingIPPool | None, ranges: Sequence[str], region: str) -> Start:
    """``ranges``: of this start; none: those of the pool are whatever they are."""
    told = ",".join(ranges)
    made: Tree = {"metadata": {"annotations": {STARTED_WITH: told}}, "spec": {"ranges": list(ranges)}}
    if found is None:
        made["metadata"]["name"] = DEFAULT_POOL
        return Start(make=made) if ranges else Start()
    before = found.metadata.annotations.get(STARTED_WITH)
    kept = not ranges or before == told or list(found.spec.ranges) == list(ranges)
    if kept and found.spec.region == region:
        return Start()
    if before is None:
        return Start(problem=_somebody_s(found, ranges, region))
    change: Tree = {} if kept else made
    if found.spec.region != region:
        change["spec"] = change.get("spec", {}) | {"region": region}
    return Start(change=change)


def _somebody_s(found: FloatingIPPool, ranges: Sequence[str], region: str) -> str:
    elsewhere = "" if found.spec.region == region else f' in region "{found.spec.region}"'
    left_out = f"--floating-cidr {','.join(ranges)} is left out: " if ranges else ""
    why = f'{left_out}somebody has made a pool named "{DEFAULT_POOL}"{elsewhere}'
    return f"{why}; to use it: kubectl edit fippool {DEFAULT_POOL}"


def refused(found: FloatingIPPool | None, ranges: Sequence[str], region: str, causes: Sequence[str]) -> str:
    """What to say when the API server refused it. ``causes``: its reasons; of many only the first are repeated."""
    reasons = [_without_what_was_named(cause, region) for cause in causes]
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    why = f"{'; '.join(reasons[:SHOWN])}{more}"
    if found is not None and found.spec.region != region:
        return f'pool "{DEFAULT_POOL}" stays in region "{found.spec.region}": {why}; {way_here(found)}'
    stays = "the pool stays as it is" if found else f'there is no pool "{DEFAULT_POOL}"'
    return f"--floating-cidr {','.join(ranges)} cannot be had, and {stays}: {why}"


def _without_what_was_named(cause: str, region: str) -> str:
    """A reason without the ranges or the region that the sentence around it names."""
    return cause.rpartition("]: ")[2].removeprefix(f'Invalid value: "{region}": ')
