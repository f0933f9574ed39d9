"""ReplicaSets."""

from pierhead.api.strategy import Strategy


class ReplicaSetStrategy(Strategy):
    """ReplicaSets."""
