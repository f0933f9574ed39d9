"""ServiceAccounts."""

from pierhead.api.strategy import Strategy


class ServiceAccountStrategy(Strategy):
    """ServiceAccounts."""
