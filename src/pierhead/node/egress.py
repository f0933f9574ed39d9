"""Whether a machine forwards is its owner's business: it is asked, and never set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pierhead.errors import UsageError

SETTINGS: Final = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
"""Whether a machine forwards, by IP version."""


def check(versions: Iterable[int]) -> None:
    """Raises:
    UsageError: this machine does not forward.
    """
    for version in versions:
        if not is_forwarded(version):
            raise UsageError(
                f"--egress needs this machine to forward for its pods, and {SETTINGS[version]} is 0",
                f"if it may, write: sysctl -w {SETTINGS[version]}=1",
            )


def is_forwarded(version: int, settings: Path = Path("/proc/sys")) -> bool:
    """Whether this machine forwards packets of an IP version. ``settings``: without those of a family its kernel does not know it."""
    try:
        return (settings / SETTINGS[version].replace(".", "/")).read_text().strip() != "0"
    except FileNotFoundError:
        return False
