"""What a packet meets in the rules that we would write, and in those that the kernel holds: the same, or what differs.

Ids, slots and terms are another matter in each process, so that nothing is compared byte by byte but what becomes of the packet; where
that differs, the first element and the first rule are named that explain it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain as chained
from itertools import zip_longest
from typing import TypeAlias

from msgspec.structs import replace

from pierhead.forwarding.nftmodel import INLINE, HeldRule, Ruleset
from pierhead.forwarding.nftwalk import Address, Fate, Looked, Step
from pierhead.forwarding.nftwords import element, words
from pierhead.wire.instructions import Lookup

Outcome: TypeAlias = tuple[str, Address, int, bool]

MADE_ON_DEMAND = "guard"
"""Chains of this name and a number: which number is whose follows from what came first."""


def same(wanted: Sequence[Fate], held: Sequence[Fate], learnt: Sequence[str] = ()) -> bool:
    """Whether packets like this one meet the same. ``learnt``: maps that traffic fills: whom one of them leads, it leads to one of the
    endpoints that were to be had."""
    ours, theirs = set(map(_outcome, wanted)), set(map(_outcome, held))
    return theirs == ours or (theirs < ours and all(_led(fate, learnt) for fate in held))


def differences(
    wanted: Ruleset, ours: Sequence[Fate], held: Ruleset, theirs: Sequence[Fate], learnt: Sequence[str] = ()
) -> list[str]:
    """Why a packet does not meet the same, one sentence each; none: nothing that we would know of."""
    if held.dormant:
        return ["the table is switched off (flags dormant): packets meet none of its chains"]
    found = [*_rules(wanted, held, _met(chained(ours, theirs)))]
    ends = {(fate.destination, fate.port) for fate in ours}
    for our, their in zip(ours, theirs, strict=False):
        right = learnt if (their.destination, their.port) in ends else ()
        found += _elements(_looked(our, right), held, _looked(their, right))
    return list(dict.fromkeys(found))


def _outcome(fate: Fate) -> Outcome:
    return fate.verdict, fate.destination, fate.port, fate.masquerade


def _led(fate: Fate, learnt: Sequence[str]) -> bool:
    return any(looked.found and looked.there in learnt for step in fate.why for looked in step.looked)


def _met(fates: Iterator[Fate]) -> list[str]:
    """The chains in which the packet was, in the order of its way."""
    return list(dict.fromkeys(step.chain for fate in fates for step in fate.why))


def _elements(ours: Sequence[Looked], held: Ruleset, theirs: Sequence[Looked]) -> Iterator[str]:
    """The first set that answers otherwise."""
    for mine, other in zip(ours, theirs, strict=False):
        if mine.there != other.there:
            return
        if mine.found and not other.found:
            yield f"{mine.there} lacks {element(other, held)}"
        if other.found and not mine.found:
            yield f"{other.there} holds {element(other, held)}, which nothing asks for"
        if mine.found is not other.found:
            return


def _looked(fate: Fate, without: Sequence[str]) -> list[Looked]:
    every = (looked for step in fate.why for looked in step.looked)
    return [looked for looked in every if looked.there not in without and not looked.there.startswith(INLINE)]


def _rules(wanted: Ruleset, held: Ruleset, chains: Sequence[str]) -> Iterator[str]:
    for name in chains:
        if name.startswith(MADE_ON_DEMAND) and name.removeprefix(MADE_ON_DEMAND).isdecimal():
            continue
        if name not in held.chains:
            yield f"there is no chain {name}"
            continue
        ours = wanted.chains[name].rules if name in wanted.chains else []
        yield from _first(name, wanted, ours, held, held.chains[name].rules)


def _first(
    name: str, wanted: Ruleset, ours: Sequence[HeldRule], held: Ruleset, theirs: Sequence[HeldRule]
) -> Iterator[str]:
    """The first rule of a chain that is another one there."""
    if not ours:
        return
    for position, (mine, other) in enumerate(zip_longest(ours, theirs), 1):
        if mine and other and _plain(mine) == _plain(other):
            continue
        if other and (mine is None or _plain(other) not in map(_plain, ours)):
            yield f"chain {name} has a rule that is not ours, its {position}.: {_worded(name, position, other, held)}"
        elif mine:
            yield f"chain {name} lacks our rule {position}: {_worded(name, position, mine, wanted)}"
        return


def _worded(chain: str, position: int, rule: HeldRule, rules: Ruleset) -> str:
    return words(Step(chain, position, rule, (), done=False, verdict=None), rules)


def _plain(rule: HeldRule) -> HeldRule:
    """Without the names that nobody chose."""
    return tuple(
        replace(found, there=INLINE) if isinstance(found, Lookup) and found.there.startswith(INLINE) else found
        for found in rule
    )
