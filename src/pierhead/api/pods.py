"""Pods."""

from pierhead.api.strategy import Strategy


class PodStrategy(Strategy):
    """Pods."""
