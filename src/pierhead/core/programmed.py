"""``Programmed``: whether the nodes carry what a Service says, told as a condition of the Service.

It follows the Service's own generation, so endpoints come and go without it. A Service of which nothing is to be carried (headless,
ExternalName) is programmed too, once the nodes have seen it: whoever waits for all Services of a manifest is not left waiting. The
words for what is missing are the Gateway API's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from pierhead.api.proxystatuses import ENDPOINT_NOT_ALLOWED
from pierhead.api.views import Condition, LoadBalancerIngress, ProxyStatus, Refusal, Service
from pierhead.core.floating import is_ours

PROGRAMMED = "Programmed"
PENDING = "Pending"
NOT_ASSIGNED = "AddressNotAssigned"
NAMED = 3
"""Refusals and nodes that a message names; of more it says that there are more."""


class Terms(msgspec.Struct, frozen=True):
    """What of a Service the nodes have to follow: when it changes, they are waited for anew."""

    uid: str
    generation: int
    ingress: tuple[LoadBalancerIngress, ...]

    @classmethod
    def of(cls, service: Service) -> Terms:
        found = service.metadata
        return cls(found.uid, found.generation, service.status.load_balancer.ingress)


def behind(revision: int, proxies: Iterable[ProxyStatus], live: Iterable[str]) -> frozenset[str]:
    """Those of these nodes whose proxy has not reported that it holds Services as of this revision."""
    return frozenset(live).difference(*(nodes for found, nodes in _heard(proxies) if reached(found) >= revision))


def judge(
    service: Service, waiting: Collection[str], proxies: Iterable[ProxyStatus], live: Collection[str]
) -> Condition | None:
    """The condition as it is now; None where nobody can say, because no node is live.

    ``live``: names of nodes. ``waiting``: those of them that are waited for: what they refused before says nothing.
    """
    if not live:
        return None
    refusing: dict[str, tuple[Refusal, ...]] = {}
    for proxy, nodes in _heard(proxies):
        if why := _refused(service, proxy):
            refusing |= {node: why for node in nodes if node in live and node not in waiting}
    count = f"{len(live) - len(waiting) - len(refusing)}/{len(live)} nodes"
    refusals = sorted({refusal for found in refusing.values() for refusal in found}, key=_place)
    if refusals:
        return _not(service, refusals[0].reason, f"{count}: {_few([found.message for found in refusals], '; ')}")
    if waiting:
        return _not(service, PENDING, f"{count}: not yet on {_few(sorted(waiting), ', ')}")
    if is_ours(service) and not service.status.load_balancer.ingress:
        return _not(service, NOT_ASSIGNED, f"{count}: it has no floating IP yet")
    return Condition(PROGRAMMED, "True", PROGRAMMED, count, observed_generation=service.metadata.generation)


def is_tentative(condition: Condition) -> bool:
    """Whether what it says changes by itself before long, where all is well."""
    return condition.reason in (PENDING, NOT_ASSIGNED)


def condition_of(service: Service) -> Condition | None:
    """What the Service says of itself."""
    return next((found for found in service.status.conditions if found.type == PROGRAMMED), None)


def is_news(old: Condition | None, new: Condition, *, met: bool = False) -> bool:
    """Whether it has to be written. How many nodes carry a Service is no reason to write it again, but where they have only just
    been waited for (``met``): then others may have been counted before, by another start of the region."""
    if old is None or (old.status, old.reason) != (new.status, new.reason):
        return True
    told = met or new.status != "True"
    return old.observed_generation != new.observed_generation or (told and old.message != new.message)


def reached(proxy: ProxyStatus) -> int:
    """The revision of Services that it reports; 0: none yet."""
    return int(proxy.status.programmed.services or 0)


def _heard(proxies: Iterable[ProxyStatus]) -> list[tuple[ProxyStatus, frozenset[str]]]:
    """Each with the nodes that it speaks for. Where a node has a proxy of its own, nobody else does: what a node writes is about itself."""
    every = list(proxies)
    own = {proxy.metadata.name for proxy in every}
    return [(proxy, frozenset(proxy.status.nodes) - (own - {proxy.metadata.name})) for proxy in every]


def _refused(service: Service, proxy: ProxyStatus) -> tuple[Refusal, ...]:
    """The Service's own frontends that this proxy does not serve. A refused endpoint is another object's matter."""
    here = (service.metadata.namespace, service.metadata.name)
    return tuple(
        found
        for found in proxy.status.refusals
        if (found.namespace, found.name) == here and found.reason != ENDPOINT_NOT_ALLOWED
    )


def _not(service: Service, reason: str, message: str) -> Condition:
    return Condition(PROGRAMMED, "False", reason, message, observed_generation=service.metadata.generation)


def _place(refusal: Refusal) -> tuple[int, str, str]:
    return refusal.port, refusal.protocol, refusal.address


def _few(texts: Collection[str], between: str) -> str:
    return between.join(_shortened(texts))


def _shortened(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number == NAMED:
            yield "and more"
            return
        yield text
