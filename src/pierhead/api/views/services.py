"""Services."""

from __future__ import annotations

from sys import intern

import msgspec
from msgspec.structs import force_setattr

from pierhead.api.views.meta import Condition, Labels, Object, View

OTHER_PROXY = "service.kubernetes.io/service-proxy-name"


class ServicePort(View, frozen=True):
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    target_port: int | str = 0
    node_port: int = 0

    def __post_init__(self) -> None:
        self.hold_once("name", "protocol")


class ClientIPConfig(View, frozen=True):
    timeout_seconds: int | None = None


class SessionAffinityConfig(View, frozen=True):
    client_ip: ClientIPConfig | None = msgspec.field(default=None, name="clientIP")


class ServiceSpec(View, frozen=True):
    type: str = "ClusterIP"
    selector: Labels = msgspec.field(default_factory=dict)
    """Empty: no controller looks after the endpoints."""
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    """``None`` (the word) for a headless Service."""
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    external_name: str = ""
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    internal_traffic_policy: str | None = None
    external_traffic_policy: str = ""
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    allocate_load_balancer_node_ports: bool | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    load_balancer_source_ranges: tuple[str, ...] = ()
    traffic_distribution: str | None = None

    def __post_init__(self) -> None:
        self.hold_once(
            "type", "ip_family_policy", "session_affinity", "internal_traffic_policy", "external_traffic_policy"
        )
        if self.ip_families:
            force_setattr(self, "ip_families", tuple(map(intern, self.ip_families)))
        if self.cluster_ips[:1] == (self.cluster_ip,):
            force_setattr(self, "cluster_ip", self.cluster_ips[0])


class LoadBalancerIngress(View, frozen=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None


class LoadBalancerStatus(View, frozen=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(View, frozen=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()
    conditions: tuple[Condition, ...] = ()


class Service(Object, frozen=True):
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def proxied_elsewhere(self) -> bool:
        """Whether its label says that another proxy than ours carries it."""
        return OTHER_PROXY in self.metadata.labels

    @property
    def headless(self) -> bool:
        return self.spec.cluster_ip == "None"
