"""ProxyStatuses."""

from pierhead.api.strategy import Strategy


class ProxyStatusStrategy(Strategy):
    """ProxyStatuses."""
