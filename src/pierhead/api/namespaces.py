"""Namespaces."""

from pierhead.api.strategy import Strategy


class NamespaceStrategy(Strategy):
    """Namespaces."""
