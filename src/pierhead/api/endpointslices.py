"""EndpointSlices."""

from pierhead.api.strategy import Strategy


class EndpointSliceStrategy(Strategy):
    """EndpointSlices."""
