"""Times as Go reads and Kubernetes writes them: RFC 3339 with seconds (Time), or with six digits more (MicroTime).

Go also has a year 0 and, by way of zones, a year 10000; neither is a date to anybody else, and they are refused here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECONDS = "2006-01-02T15:04:05Z07:00"
MICROSECONDS = "2006-01-02T15:04:05.000000Z07:00"

_DATE = r"(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
CANONICAL = re.compile(_DATE + r"Z\Z", re.ASCII)
CANONICAL_MICRO = re.compile(_DATE + r"\.\d{6}Z\Z", re.ASCII)
"""The form that is written; days after the 28th need a calendar and take the long way."""

_PARTS = (
    ("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T"),
    ("15", r"\d\d?"), (":", ":"), ("04", r"\d\d"), (":", ":"), ("05", r"\d\d"),
)  # fmt: skip
_FRACTION = re.compile(r"[.,](\d+)", re.ASCII)
_ZONE = re.compile(r"Z|[+-]\d\d:\d\d", re.ASCII)
_LIMITS = {0: (1, 9999, "year"), 1: (1, 12, "month"), 3: (0, 23, "hour"), 4: (0, 59, "minute"), 5: (0, 59, "second")}


def canonical(text: str, *, micro: bool = False) -> str:
    """The time in UTC, in the form that is written.

    Raises:
        ValueError: Not such a time; the message is that of Go's ``time.Parse``.
    """
    layout = MICROSECONDS if micro else SECONDS

    def unreadable(rest: str, element: str) -> ValueError:
        return ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"')

    rest = text
    numbers: list[int] = []
    for element, pattern in _PARTS:
        found = re.match(pattern, rest, re.ASCII)
        if found is None:
            raise unreadable(rest, element)
        rest = rest[found.end() :]
        if element.isdigit():
            numbers.append(int(found[0]))
    fraction = _FRACTION.match(rest)
    if micro and (fraction is None or len(fraction[1]) != 6):
        raise unreadable(rest, ".000000")
    rest = rest[fraction.end() :] if fraction else rest
    zone = _ZONE.match(rest)
    if zone is None:
        raise unreadable(rest, "Z07:00")
    if rest[zone.end() :]:
        raise ValueError(f'parsing time "{text}": extra text: "{rest[zone.end() :]}"')
    moment = _moment(text, numbers, int(fraction[1][:6].ljust(6, "0")) if fraction else 0)
    try:
        return written(moment - _offset(zone[0]), micro=micro)
    except OverflowError as error:
        raise ValueError(f'parsing time "{text}": year out of range') from error


def written(moment: datetime, *, micro: bool = False) -> str:
    """A moment in UTC as the API writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ").rjust(27 if micro else 20, "0")


def from_epoch(seconds: int, nanos: int, *, micro: bool = False) -> str:
    """Seconds and nanoseconds since 1970, as protobuf has them.

    Raises:
        ValueError: Outside the years 1 to 9999.
    """
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError as error:
        raise ValueError(f"time out of range: {seconds}") from error
    return written(moment, micro=micro)


def _moment(text: str, numbers: list[int], microsecond: int) -> datetime:
    for place, (low, high, name) in _LIMITS.items():
        if not low <= numbers[place] <= high:
            raise ValueError(f'parsing time "{text}": {name} out of range')
    year, month, day, hour, minute, second = numbers
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, UTC)
    except ValueError as error:
        raise ValueError(f'parsing time "{text}": day out of range') from error


def _offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta()
    distance = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return -distance if zone[0] == "-" else distance
