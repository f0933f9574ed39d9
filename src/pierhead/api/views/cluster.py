"""Nodes, ReplicaSets, Namespaces and the small kinds."""

from __future__ import annotations

import msgspec

from pierhead.api.views.meta import Condition, LabelSelector, Object, View
from pierhead.api.views.pods import PodSpec


class Taint(View, frozen=True):
    key: str
    effect: str
    """``NoSchedule``, ``PreferNoSchedule`` or ``NoExecute``."""
    value: str = ""


class NodeSpec(View, frozen=True):
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    pod_cidr: str = msgspec.field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")


class NodeAddress(View, frozen=True):
    type: str
    address: str


class NodeStatus(View, frozen=True):
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    capacity: dict[str, str] = msgspec.field(default_factory=dict)
    allocatable: dict[str, str] = msgspec.field(default_factory=dict)


class Node(Object, frozen=True):
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def zone(self) -> str:
        """Empty when nobody said where it stands."""
        return self.metadata.labels.get("topology.kubernetes.io/zone", "")

    @property
    def ready(self) -> bool:
        return any(found.type == "Ready" and found.status == "True" for found in self.status.conditions)


class PodTemplate(Object, frozen=True):
    """A ReplicaSet's template. Its pods are made from the whole tree, not from this view."""

    spec: PodSpec = PodSpec()


class ReplicaSetSpec(View, frozen=True):
    replicas: int = 1
    min_ready_seconds: int = 0
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()


class ReplicaSetStatus(View, frozen=True):
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(Object, frozen=True):
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class NamespaceSpec(View, frozen=True):
    finalizers: tuple[str, ...] = ()


class NamespaceStatus(View, frozen=True):
    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Namespace(Object, frozen=True):
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class ConfigMap(Object, frozen=True):
    data: dict[str, str] = msgspec.field(default_factory=dict)


class Secret(Object, frozen=True):
    data: dict[str, str] = msgspec.field(default_factory=dict)
    """Values in base64."""


class LeaseSpec(View, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    """RFC 3339 in UTC with microseconds."""


class Lease(Object, frozen=True):
    spec: LeaseSpec = LeaseSpec()


class Revisions(View, frozen=True):
    """One resourceVersion for each kind a proxy programs; empty: none."""

    services: str = ""
    endpoint_slices: str = ""


class ProxyStatusSpec(View, frozen=True):
    want: Revisions = Revisions()
    """Set by who waits for these revisions to be programmed: the proxy then reports at once."""


class Refusal(View, frozen=True):
    """A frontend or endpoint that a proxy cannot or may not serve."""

    namespace: str = ""
    name: str = ""
    port: int = 0
    protocol: str = ""
    address: str = ""
    reason: str = ""
    message: str = ""


class ProxyStatusStatus(View, frozen=True):
    store: str = ""
    """The uid of the store these revisions belong to."""
    nodes: tuple[str, ...] = ()
    programmed: Revisions = Revisions()
    refusals: tuple[Refusal, ...] = ()
    observed_at: str | None = None


class ProxyStatus(Object, frozen=True):
    spec: ProxyStatusSpec = ProxyStatusSpec()
    status: ProxyStatusStatus = ProxyStatusStatus()
