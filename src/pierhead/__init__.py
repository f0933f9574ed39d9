"""Pierhead: the Service half of Kubernetes without the rest of it."""

__version__ = "0.1.0"
