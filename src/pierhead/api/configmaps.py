"""ConfigMaps."""

from pierhead.api.strategy import Strategy


class ConfigMapStrategy(Strategy):
    """ConfigMaps."""
