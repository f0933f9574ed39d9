"""Leases."""

from pierhead.api.strategy import Strategy


class LeaseStrategy(Strategy):
    """Leases."""
