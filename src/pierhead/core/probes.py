"""Probes: when to look at a container, and what a row of results means.

As the kubelet has it: a startup probe gates the other two; a liveness (or startup) probe that failed ``failureThreshold`` times in
a row condemns the container; a readiness probe only flips a condition, and starts from "not ready".

One thing is quicker than the kubelet: until the first regular tick, a readiness or startup probe that failed looks again after
50, 100, 200 … ms. Such an early failure is no result (it counts for no threshold); an early success is one. So a container is
ready milliseconds after it listens, whatever ``periodSeconds`` says.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from pierhead.api.views import Probe

Purpose: TypeAlias = Literal["startup", "readiness", "liveness"]

EAGER = 0.05
"""Seconds until a container that is still starting is looked at for the second time."""


class Course(msgspec.Struct, frozen=True):
    """How one probe of one running container stands."""

    passing: bool | None
    """The verdict in force. None: a startup probe that has not decided yet."""
    due: float
    """When to look next."""
    tick: float
    """From here on a failure counts."""
    eager: float = 0
    """Seconds until the next look while the container is still starting; 0 means at the probe's own pace."""
    last: bool | None = None
    """The last result that counted."""
    streak: int = 0
    """How many results in a row were like the last."""


def begin(purpose: Purpose, probe: Probe, *, started: float, now: float, jitter: float) -> Course:
    """The course of a container that runs since ``started``. ``jitter`` (0 to 1) spreads first liveness probes over their period,
    so that an agent that starts a thousand pods does not look at all of them at once."""
    first = max(started + probe.initial_delay_seconds, now)
    if purpose == "liveness":
        first += jitter * probe.period_seconds
        return Course(passing=True, due=first, tick=first)
    verdict = None if purpose == "startup" else False
    return Course(passing=verdict, due=first, tick=first + probe.period_seconds, eager=EAGER)


def observe(course: Course, probe: Probe, ok: bool, now: float) -> Course:
    """The course after one more result, which came in at ``now``."""
    if not ok and course.eager and now < course.tick:
        return replace(course, due=min(now + course.eager, course.tick), eager=course.eager * 2)
    streak = course.streak + 1 if ok is course.last else 1
    decided = streak >= (probe.success_threshold if ok else probe.failure_threshold)
    due = now + probe.period_seconds
    return Course(passing=ok if decided else course.passing, due=due, tick=due, last=ok, streak=streak)


def counted(course: Course) -> bool:
    """Whether the last observation was a failure worth an event."""
    return course.last is False and not course.eager
