"""What a region is told at its start."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec

from pierhead.api.network import Network


class Settings(msgspec.Struct, frozen=True):
    """Everything `pierhead up` decided before anything starts."""

    data_dir: Path
    """Holds the store, the credentials, the kubeconfig and the logs of pods. Mode 0700."""
    host: str
    """Where the API listens."""
    port: int
    """0 picks a free one."""
    network: Network
    region: str = "local"
    """Label ``topology.kubernetes.io/region`` of every node."""
    zones: tuple[str, ...] = ("local-a",)
    """Label ``topology.kubernetes.io/zone``: there is a node for each."""
    node_name: str = ""
    """Of the one node, or what the names of several begin with; empty: see `placement`."""
    root_pods: bool = False
    """Whether a pod may ask to run as root (``runAsUser: 0``) where the region itself runs as root."""
    egress: bool = False
    """Mode ``namespace``: whether pods reach the world, as this machine."""
    open_files: int = msgspec.field(default_factory=lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    """What pods may have open: as much as this process might when it was started, before it gave itself more."""
