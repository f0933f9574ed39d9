"""Events."""

from pierhead.api.strategy import Strategy


class EventStrategy(Strategy):
    """Events."""
