"""External pods: what already runs somewhere and is not started by us. Where it is, and how long its word is good, stands in
annotations; the API takes them whatever they hold, as Kubernetes does, and says in a Warning what they cannot mean. Only its node
knows where an endpoint may lie, and tells the pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

from pierhead.api import Tree
from pierhead.errors import PierheadError

RUNTIME_CLASS = "external"
ADDRESS = "pierhead.dev/address"
"""The address it answers at."""
TTL = "pierhead.dev/ttl"
"""Seconds a registration is good for; without it, for ever."""
RENEWED = "pierhead.dev/renewed"
"""When it was last renewed, RFC 3339; without it, when the pod was created."""
LONGEST_TTL = 366 * 24 * 3600
"""Seconds."""

Address: TypeAlias = IPv4Address | IPv6Address
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IDLE = ("livenessProbe", "startupProbe", "lifecycle")
"""What only makes sense where a container is started and restarted."""


class Unusable(PierheadError):
    """An annotation is missing or makes no sense; the text names it."""


def address(annotations: Mapping[str, str]) -> Address:
    """Where the pod is.

    Raises:
        Unusable: it does not say, or not so that it could be an address.
    """
    text = annotations.get(ADDRESS, "").strip()
    if not text:
        raise Unusable(f"annotation {ADDRESS} is missing: it says at which address the pod answers")
    try:
        found = ip_address(text)
    except ValueError as error:
        raise Unusable(f'annotation {ADDRESS}: "{text}" is not an IP address') from error
    if isinstance(found, IPv6Address):
        if found.scope_id:
            raise Unusable(f'annotation {ADDRESS}: "{text}" is good on one link only')
        return found.ipv4_mapped or found
    return found


def ttl(annotations: Mapping[str, str]) -> int | None:
    """Seconds; None: there is no end.

    Raises:
        Unusable: it is no number of seconds from 1 to a year.
    """
    text = annotations.get(TTL)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 0 < int(text) <= LONGEST_TTL):
        raise Unusable(f'annotation {TTL}: "{text}" is not a number of seconds from 1 to {LONGEST_TTL}')
    return int(text)


def renewed(annotations: Mapping[str, str]) -> float | None:
    """Seconds since the epoch; None: never.

    Raises:
        Unusable: it is no time with an offset.
    """
    text = annotations.get(RENEWED)
    if text is None:
        return None
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return (found - _EPOCH).total_seconds()
    raise Unusable(f'annotation {RENEWED}: "{text}" is not a time such as 2026-01-02T03:04:05Z')


def warnings(pod: Tree) -> list[str]:
    """What will not work as it was written, for whoever writes an external pod."""
    if pod["spec"].get("runtimeClassName") != RUNTIME_CLASS:
        return []
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    found: list[str] = []
    for read in (address, ttl, renewed):
        try:
            read(annotations)
        except Unusable as error:
            found.append(f"metadata.annotations: {error}")
    return found + _idle(pod["spec"])


def _idle(spec: Tree) -> list[str]:
    fields = ["spec.initContainers"] if spec.get("initContainers") else []
    for place, container in enumerate(spec.get("containers") or []):
        fields += [f"spec.containers[{place}].{name}" for name in _IDLE if container.get(name)]
    return [f"{field}: ignored, because a pod of runtime class external is not started here" for field in fields]
