"""What an external pod's status says: an address that is taken at its word, probes, and a registration that may run out.

Pure. Nothing is started, so there is nothing to restart and nothing to end: a pod is either refused, or it runs and is ready or not.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pierhead.api import Tree, external
from pierhead.api.external import Unusable
from pierhead.api.views import Container, Pod
from pierhead.core import lifecycle_status
from pierhead.core.lifecycle import Record, Running, Waiting
from pierhead.core.lifecycle_status import Conditions, Place, Withheld, rfc3339, seconds_of

INVALID_ADDRESS = "InvalidAddress"
INVALID_TTL = "InvalidTTL"
EXPIRED = "RegistrationExpired"
DELETED = Withheld("PodDeleted", "the pod is being deleted")


class Term(msgspec.Struct, frozen=True):
    """How long a registration is good."""

    until: float | None = None
    """Seconds since the epoch at which that changes by itself; None: it does not."""
    withheld: Withheld | None = None
    """Why it is not good now."""


def term(pod: Pod, now: float) -> Term:
    """Whether the registration is good at ``now``. One that cannot be understood is not: it was meant to run out."""
    annotations = pod.metadata.annotations
    try:
        seconds, since = external.ttl(annotations), external.renewed(annotations)
    except Unusable as error:
        return Term(withheld=Withheld(INVALID_TTL, str(error)))
    if seconds is None:
        return Term()
    begun = seconds_of(pod.metadata.creation_timestamp) if since is None else since
    if now < begun + seconds:
        return Term(until=begun + seconds)
    text = f"not renewed since {rfc3339(begun)}, and {external.TTL} is {seconds} s: register it again"
    return Term(withheld=Withheld(EXPIRED, text))


class Standing(msgspec.Struct, frozen=True):
    """What its node found."""

    place: Place
    """Without an address: it is refused."""
    refusal: str = ""
    ready: Mapping[str, bool] = msgspec.field(default_factory=dict)
    """By container: whether its readiness probe passes; one without is ready."""
    withheld: Withheld | None = None

    def passes(self, container: Container) -> bool:
        return self.ready.get(container.name, container.readiness_probe is None)


def status(pod: Pod, standing: Standing, *, now: float, before: Conditions) -> Tree:
    """The status of an external pod."""
    place, withheld = standing.place, standing.withheld
    if place.pod_ips:
        state = Running(place.since, f"external://{place.pod_ips[0]}")
        records = {
            each.name: Record(state, started=True, ready=withheld is None and standing.passes(each))
            for each in pod.spec.containers
        }
    else:
        waiting = Record(Waiting(INVALID_ADDRESS, standing.refusal, None))
        withheld = Withheld(INVALID_ADDRESS, standing.refusal)
        records = {each.name: waiting for each in pod.spec.containers}
    bare = msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, init_containers=()))
    return lifecycle_status.status(bare, records, place, now=now, before=before, withheld=withheld)
