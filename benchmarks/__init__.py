"""What Pierhead promises in figures, measured on this machine against the real command: ``./dev bench [NAME…]``.

Law: each module named in ``NAMES`` is one benchmark: ``run()`` yields figures. Load comes from ``load.c``, never from Python, goes
to 127.0.0.0/8 only, and is bounded by a number of requests. Client and server share the machine, so a busy one shows less.
"""

from __future__ import annotations

from typing import NamedTuple

NAMES = (
    "setup",
    "store",
    "start",
    "memory",
    "create",
    "get",
    "list",
    "endpoint",
    "floating",
    "proxy",
    "testing",
    "namespace",
    "program",
    "programmed",
    "through",
    "chaos",
)


class Figure(NamedTuple):
    """One line of the output."""

    figure: str
    value: float
    unit: str
