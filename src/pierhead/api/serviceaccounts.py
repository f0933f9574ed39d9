"""ServiceAccounts: names under which pods act."""

from pierhead.api.strategy import Strategy


class ServiceAccountStrategy(Strategy):
    """No rules of their own."""
