"""Endpoints."""

from pierhead.api.strategy import Strategy


class EndpointsStrategy(Strategy):
    """Endpoints."""
