"""The kinds we serve, one row each. One more kind is one more row (and its strategy, where it has rules of its own)."""

from __future__ import annotations

from pierhead.api import columns_floating, columns_objects, columns_pods, columns_services
from pierhead.api.configmaps import ConfigMapStrategy
from pierhead.api.endpoints import EndpointsStrategy
from pierhead.api.endpointslices import EndpointSliceStrategy
from pierhead.api.events import EventStrategy
from pierhead.api.floatingippools import FloatingIPPoolStrategy
from pierhead.api.floatingips import FloatingIPStrategy, floating_ip_name
from pierhead.api.kind import Kind
from pierhead.api.leases import LeaseStrategy
from pierhead.api.namespaces import NamespaceStrategy
from pierhead.api.nodes import NodeStrategy
from pierhead.api.pods import PodStrategy
from pierhead.api.proxystatuses import ProxyStatusStrategy
from pierhead.api.replicasets import ReplicaSetStrategy
from pierhead.api.rules import dns1123_label
from pierhead.api.secrets import SecretStrategy
from pierhead.api.serviceaccounts import ServiceAccountStrategy
from pierhead.api.services import ServiceStrategy

NAMESPACE = Kind(
    "", "v1", "Namespace", "namespaces", "api.core.v1.Namespace",
    namespaced=False, name_rule=dns1123_label, short_names=("ns",), subresources=("status", "finalize"),
    delete_returns="object", delete_collection=False, strategy=NamespaceStrategy(), columns=columns_objects.NAMESPACE,
)  # fmt: skip
NODE = Kind(
    "", "v1", "Node", "nodes", "api.core.v1.Node",
    namespaced=False, short_names=("no",), subresources=("status",), strategy=NodeStrategy(), columns=columns_objects.NODE,
)  # fmt: skip
SERVICE = Kind(
    "", "v1", "Service", "services", "api.core.v1.Service",
    name_rule=dns1123_label, short_names=("svc",), categories=("all",), subresources=("status",), put_creates=True,
    delete_returns="object", strategy=ServiceStrategy(), columns=columns_services.SERVICE,
)  # fmt: skip
ENDPOINTS = Kind(
    "", "v1", "Endpoints", "endpoints", "api.core.v1.Endpoints",
    short_names=("ep",), put_creates=True, strategy=EndpointsStrategy(), columns=columns_services.ENDPOINTS,
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
)  # fmt: skip
ENDPOINT_SLICE = Kind(
    "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "api.discovery.v1.EndpointSlice",
    strategy=EndpointSliceStrategy(), columns=columns_services.ENDPOINT_SLICE,
)  # fmt: skip
POD = Kind(
    "", "v1", "Pod", "pods", "api.core.v1.Pod",
    short_names=("po",), categories=("all",), subresources=("status", "log", "binding", "eviction"),
    delete_returns="object", graceful=True, strategy=PodStrategy(), columns=columns_pods.POD,
)  # fmt: skip
REPLICA_SET = Kind(
    "apps", "v1", "ReplicaSet", "replicasets", "api.apps.v1.ReplicaSet",
    short_names=("rs",), categories=("all",), subresources=("status", "scale"),
    strategy=ReplicaSetStrategy(), columns=columns_pods.REPLICA_SET,
)  # fmt: skip
CONFIG_MAP = Kind(
    "",
    "v1",
    "ConfigMap",
    "configmaps",
    "api.core.v1.ConfigMap",
    short_names=("cm",),
    strategy=ConfigMapStrategy(),
    columns=columns_objects.CONFIG_MAP,
)
SECRET = Kind(
    "", "v1", "Secret", "secrets", "api.core.v1.Secret", strategy=SecretStrategy(), columns=columns_objects.SECRET
)
SERVICE_ACCOUNT = Kind(
    "", "v1", "ServiceAccount", "serviceaccounts", "api.core.v1.ServiceAccount",
    short_names=("sa",), delete_returns="object", strategy=ServiceAccountStrategy(),
)  # fmt: skip
EVENT = Kind(
    "",
    "v1",
    "Event",
    "events",
    "api.core.v1.Event",
    short_names=("ev",),
    put_creates=True,
    strategy=EventStrategy(),
    columns=columns_objects.EVENT,
)
LEASE = Kind(
    "coordination.k8s.io",
    "v1",
    "Lease",
    "leases",
    "api.coordination.v1.Lease",
    put_creates=True,
    unconditional_update=False,
    strategy=LeaseStrategy(),
    columns=columns_objects.LEASE,
)
PROXY_STATUS = Kind(
    "pierhead.dev", "v1", "ProxyStatus", "proxystatuses", "pierhead.v1.ProxyStatus",
    namespaced=False, subresources=("status",), strategy=ProxyStatusStrategy(), columns=columns_objects.PROXY_STATUS,
)  # fmt: skip
FLOATING_IP = Kind(
    "pierhead.dev", "v1", "FloatingIP", "floatingips", "pierhead.v1.FloatingIP",
    namespaced=False, name_rule=floating_ip_name, short_names=("fip",), subresources=("status",),
    strategy=FloatingIPStrategy(), columns=columns_floating.FLOATING_IP,
)  # fmt: skip
FLOATING_IP_POOL = Kind(
    "pierhead.dev", "v1", "FloatingIPPool", "floatingippools", "pierhead.v1.FloatingIPPool",
    namespaced=False, short_names=("fippool",), subresources=("status",),
    strategy=FloatingIPPoolStrategy(), columns=columns_floating.FLOATING_IP_POOL,
)  # fmt: skip

SELF_SUBJECT_REVIEW = Kind(
    "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", "api.authentication.v1.SelfSubjectReview",
    namespaced=False, asked=True,
)  # fmt: skip
SELF_SUBJECT_ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews",
    "api.authorization.v1.SelfSubjectAccessReview", namespaced=False, asked=True,
)  # fmt: skip
SELF_SUBJECT_RULES_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews",
    "api.authorization.v1.SelfSubjectRulesReview", namespaced=False, asked=True,
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    NODE,
    SERVICE,
    ENDPOINTS,
    ENDPOINT_SLICE,
    POD,
    REPLICA_SET,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    EVENT,
    LEASE,
    PROXY_STATUS,
    FLOATING_IP,
    FLOATING_IP_POOL,
)
"""Those of which objects are kept."""
REVIEWS = (SELF_SUBJECT_REVIEW, SELF_SUBJECT_ACCESS_REVIEW, SELF_SUBJECT_RULES_REVIEW)
"""Those that are only asked."""
SERVED = (*KINDS, *REVIEWS)
