"""Services."""

from pierhead.api.strategy import Strategy


class ServiceStrategy(Strategy):
    """Services."""
