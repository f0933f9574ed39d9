"""Pierhead: the Service half of Kubernetes without the rest of it."""

__version__ = "0.1.0"
KUBERNETES = "v1.36.2"
"""The Kubernetes whose API this is: what servers and nodes say they are."""
