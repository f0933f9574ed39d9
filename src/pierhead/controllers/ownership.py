"""FloatingIPs and the Services that mean them, found from either side without a search through all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pierhead.api.kinds import FLOATING_IP, SERVICE
from pierhead.api.rules import address
from pierhead.api.views import FloatingIP, Service
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.core.floating import is_ours, named_by, owned_name


class Ownership:
    """Who owns which address, and which Services are after it. It is the ``FloatingIPs`` that decisions ask."""

    def __init__(self, informers: Informers) -> None:
        self._fips: Informer[FloatingIP] = informers.of(FLOATING_IP)
        services: Informer[Service] = informers.of(SERVICE)
        self._at = self._fips.index(lambda fip: [fip.status.address] if fip.status.address else [])
        self._in_pool = self._fips.index(lambda fip: [fip.spec.pool])
        self._pending = self._fips.index(_waited_for)
        self._meaning = services.index(meant)

    def named(self, name: str) -> FloatingIP | None:
        return self._fips.get(name)

    def at(self, ip: str) -> FloatingIP | None:
        return next(iter(self._at[ip]), None)

    def addresses(self, pool: str | None = None) -> set[str]:
        """Those that somebody owns, of one pool or of all."""
        return {fip.status.address for fip in (self._fips.list() if pool is None else self._in_pool[pool])} - {""}

    def pending(self, pool: str) -> Sequence[FloatingIP]:
        """Those that wait for an address of a pool, the one that has waited longest first."""
        return sorted(self._pending[pool], key=lambda fip: (fip.metadata.creation_timestamp or "", fip.metadata.name))

    def services(self, fip: FloatingIP) -> Sequence[Service]:
        """Those that wish for it, say they have it, or had it made for them; each once."""
        found = (*self._meaning[fip.metadata.name], *(self._meaning[fip.status.address] if fip.status.address else ()))
        return list({service.key: service for service in found}.values())

    def concerned(self, change: Change[Service]) -> Iterable[str]:
        """Names of the FloatingIPs to which a change of a Service makes a difference."""
        if change.old is None or change.new is None or _use(change.old) != _use(change.new):
            found = (named_by(text, self) for service in change if service is not None for text in meant(service))
            yield from dict.fromkeys(fip.metadata.name for fip in found if fip is not None)


def _waited_for(fip: FloatingIP) -> Iterable[str]:
    """The pool a FloatingIP waits for, as long as it is to be served at all."""
    if not fip.status.address and not fip.metadata.deletion_timestamp:
        yield fip.spec.pool


def meant(service: Service) -> Iterable[str]:
    """Names and addresses, in canonical form, of the FloatingIPs that a Service is after or has."""
    if is_ours(service):
        wish, ingress = service.spec.load_balancer_ip, service.status.load_balancer.ingress
        texts = (wish, *(entry.ip for entry in ingress), owned_name(service))
        yield from dict.fromkeys(str(address(text) or text) for text in texts if text)


def _use(service: Service) -> tuple[object, ...]:
    """Everything about a Service that says which address it answers on, and whether it still needs it."""
    return *meant(service), service.status.load_balancer, service.metadata.deletion_timestamp is None
