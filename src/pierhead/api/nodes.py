"""Nodes."""

from pierhead.api.strategy import Strategy


class NodeStrategy(Strategy):
    """Nodes."""
