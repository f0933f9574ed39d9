"""The C library's heap."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Gives back to the system what was freed. glibc keeps it for the next allocation; after tens of megabytes of messages, which are
    not needed again for as long as nobody touches our tables, that may be a long time. Takes a millisecond; other libraries have no such call."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
