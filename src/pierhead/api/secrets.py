"""Secrets."""

from pierhead.api.strategy import Strategy


class SecretStrategy(Strategy):
    """Secrets."""
