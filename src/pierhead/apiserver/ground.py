"""``Stored``: what decisions about claims read, from the store; and which kinds have any to decide."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import msgspec

from pierhead.api.kind import Kind
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL, SERVICE
from pierhead.api.views import FloatingIP, FloatingIPPool
from pierhead.core.claims import Claimant
from pierhead.core.claims_floating import FloatingIPClaims, FloatingIPPoolClaims
from pierhead.core.claims_services import ServiceClaims
from pierhead.core.floating import floating_claim
from pierhead.store import Store

_CLAIMANTS: Mapping[Kind, Claimant] = {
    SERVICE: ServiceClaims(),
    FLOATING_IP: FloatingIPClaims(),
    FLOATING_IP_POOL: FloatingIPPoolClaims(),
}
_NOTHING = Claimant()

_fip = msgspec.json.Decoder(FloatingIP).decode
_pool = msgspec.json.Decoder(FloatingIPPool).decode


def claimant(kind: Kind) -> Claimant:
    """Who decides what the writes of a kind take and give back."""
    return _CLAIMANTS.get(kind, _NOTHING)


class Stored:
    """The ``Ground`` of an API server. Reads are synchronous: all of one decision are of one moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.pick = secrets.randbelow

    def holder(self, key: str) -> str | None:
        entry = self._store.get(key)
        return None if entry is None else entry.value.decode()

    def holders(self, prefix: str) -> Sequence[tuple[str, str]]:
        return [(entry.key, entry.value.decode()) for entry in self._store.range(prefix)]

    def revision(self, key: str = "") -> int:
        if not key:
            return self._store.revision
        entry = self._store.get(key)
        return 0 if entry is None else entry.revision

    def pools(self) -> Sequence[FloatingIPPool]:
        return [_pool(entry.value) for entry in self._store.range(f"{FLOATING_IP_POOL.resource}/")]

    def named(self, name: str) -> FloatingIP | None:
        entry = self._store.get(f"{FLOATING_IP.resource}/{name}")
        return None if entry is None else _fip(entry.value)

    def at(self, ip: str) -> FloatingIP | None:
        holder = self.holder(floating_claim(ip))
        return None if holder is None else self.named(holder.partition("/")[2])
