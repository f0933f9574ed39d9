"""Typed, read-only views of objects: what core, the node and the data plane compute on, decoded straight from JSON bytes.

A view names the fields somebody decides by and ignores all others, so it is never what is stored. Two kinds are written as a
whole by controllers (Endpoints and EndpointSlices): their views, and ``ObjectMeta``, are complete but for managedFields, which the
server keeps by itself. Fields keep the names and the meaning they have in the Kubernetes API; a field that was not given has its
default here. Lists are tuples: a view is shared by everybody in the process.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pierhead.api.kind import Kind
from pierhead.api.kinds import (
    CONFIG_MAP,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    PROXY_STATUS,
    REPLICA_SET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from pierhead.api.views.cluster import (
    ConfigMap,
    Lease,
    LeaseSpec,
    Namespace,
    NamespaceSpec,
    NamespaceStatus,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    PodTemplate,
    ProxyStatus,
    ProxyStatusSpec,
    ProxyStatusStatus,
    Refusal,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    Revisions,
    Secret,
    Taint,
)
from pierhead.api.views.endpoints import (
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    EndpointSubsetPort,
    ForNode,
    ForZone,
)
from pierhead.api.views.meta import (
    Condition,
    Labels,
    LabelSelector,
    LabelSelectorRequirement,
    Object,
    ObjectMeta,
    ObjectReference,
    OwnerReference,
    View,
)
from pierhead.api.views.pods import (
    Container,
    ContainerPort,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ExecAction,
    FieldSelector,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    KeySelector,
    Lifecycle,
    LifecycleHandler,
    LocalReference,
    Pod,
    PodIP,
    PodReadinessGate,
    PodSpec,
    PodStatus,
    Probe,
    SecurityContext,
    SleepAction,
    TCPSocketAction,
    Toleration,
)
from pierhead.api.views.services import (
    ClientIPConfig,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
    SessionAffinityConfig,
)

__all__ = [
    "ClientIPConfig",
    "Condition",
    "ConfigMap",
    "Container",
    "ContainerPort",
    "ContainerState",
    "ContainerStateRunning",
    "ContainerStateTerminated",
    "ContainerStateWaiting",
    "ContainerStatus",
    "Endpoint",
    "EndpointAddress",
    "EndpointConditions",
    "EndpointHints",
    "EndpointPort",
    "EndpointSlice",
    "EndpointSubset",
    "EndpointSubsetPort",
    "Endpoints",
    "EnvFromSource",
    "EnvVar",
    "EnvVarSource",
    "ExecAction",
    "FieldSelector",
    "ForNode",
    "ForZone",
    "GRPCAction",
    "HTTPGetAction",
    "HTTPHeader",
    "KeySelector",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Labels",
    "Lease",
    "LeaseSpec",
    "Lifecycle",
    "LifecycleHandler",
    "LoadBalancerIngress",
    "LoadBalancerStatus",
    "LocalReference",
    "Namespace",
    "NamespaceSpec",
    "NamespaceStatus",
    "Node",
    "NodeAddress",
    "NodeSpec",
    "NodeStatus",
    "Object",
    "ObjectMeta",
    "ObjectReference",
    "OwnerReference",
    "Pod",
    "PodIP",
    "PodReadinessGate",
    "PodSpec",
    "PodStatus",
    "PodTemplate",
    "Probe",
    "ProxyStatus",
    "ProxyStatusSpec",
    "ProxyStatusStatus",
    "Refusal",
    "ReplicaSet",
    "ReplicaSetSpec",
    "ReplicaSetStatus",
    "Revisions",
    "Secret",
    "SecurityContext",
    "Service",
    "ServicePort",
    "ServiceSpec",
    "ServiceStatus",
    "SessionAffinityConfig",
    "SleepAction",
    "TCPSocketAction",
    "Taint",
    "Toleration",
    "View",
    "tree_of",
    "view_of",
]


def view_of(kind: Kind) -> type[Object]:
    """The view that shows objects of a kind; kinds of which nobody reads more than metadata have ``Object``."""
    return _VIEWS.get(kind, Object)


def tree_of(kind: Kind, view: Object) -> dict[str, Any]:
    """The object a complete view stands for, as it is sent to the API server."""
    body: dict[str, Any] = msgspec.to_builtins(view)
    return {"kind": kind.name, "apiVersion": kind.api_version} | body


_VIEWS: dict[Kind, type[Object]] = {
    NAMESPACE: Namespace,
    NODE: Node,
    SERVICE: Service,
    ENDPOINTS: Endpoints,
    ENDPOINT_SLICE: EndpointSlice,
    POD: Pod,
    REPLICA_SET: ReplicaSet,
    CONFIG_MAP: ConfigMap,
    SECRET: Secret,
    SERVICE_ACCOUNT: Object,
    EVENT: Object,
    LEASE: Lease,
    PROXY_STATUS: ProxyStatus,
}
