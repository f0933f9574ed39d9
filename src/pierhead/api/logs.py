"""What ``kubectl logs`` asks: the query of pods/log, one value from the API server to the node that keeps the log."""

from __future__ import annotations

import msgspec

from pierhead.api.rules import forbidden_field, invalid_value, invalid_values, non_negative
from pierhead.errors import Cause


class LogQuery(msgspec.Struct, frozen=True):
    """Which output of which container; nothing given means all of it."""

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    """That of the run before."""
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_seconds: int | None = None
    since_time: str = ""
    """RFC 3339, or empty."""


def validate(query: LogQuery) -> list[Cause]:
    """What the real server refuses in PodLogOptions."""
    found: list[Cause] = []
    if query.tail_lines is not None:
        found += invalid_values("tailLines", query.tail_lines, non_negative(query.tail_lines))
    if query.limit_bytes is not None and query.limit_bytes < 1:
        found.append(invalid_value("limitBytes", query.limit_bytes, "must be greater than 0"))
    if query.since_seconds is not None and query.since_time:
        found.append(forbidden_field("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif query.since_seconds is not None and query.since_seconds < 1:
        found.append(invalid_value("sinceSeconds", query.since_seconds, "must be greater than 0"))
    return found
