"""Which pods stand behind a Service, and with what: the questions that Endpoints and EndpointSlices answer alike.

Rules: Kubernetes' endpoint controllers (pkg/controller/util/endpoint, podutil).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pierhead.api.rules import family
from pierhead.api.views import Container, Pod, Service, ServicePort

HEADLESS_LABEL = "service.kubernetes.io/headless"
TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
"""When the Pod or Service changed that made a controller write; RFC 3339."""


def is_selecting(service: Service) -> bool:
    """Whether controllers look after its endpoints at all."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def selects(service: Service, labels: Mapping[str, str]) -> bool:
    """An empty selector selects nothing."""
    selector = service.spec.selector
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def is_candidate(pod: Pod, *, terminating: bool) -> bool:
    """It has an address and has not run to its end; ``terminating``: pods that are being deleted count too."""
    if pod.finished or not (pod.status.pod_ip or pod.status.pod_ips):
        return False
    return terminating or pod.metadata.deletion_timestamp is None


def addresses(pod: Pod, wanted: str) -> list[str]:
    """The pod's addresses of ``IPv4`` or ``IPv6``; that they are addresses was checked when its status was written."""
    listed = [found.ip for found in pod.status.pod_ips] or [pod.status.pod_ip]
    return [ip for ip in listed if (":" in ip) == (wanted == "IPv6")]


def families(service: Service) -> tuple[str, ...]:
    """The families a Service wants endpoints of, its first one first."""
    if service.spec.ip_families:
        return service.spec.ip_families
    if found := family(service.spec.cluster_ip):
        return (found,)
    return ("IPv4", "IPv6")


def target(pod: Pod, port: ServicePort) -> int | None:
    """Where a Service's port leads in this pod. A number is used as it is; a name is looked up, with its protocol, in containers
    and then in sidecars. None: this pod does not have that name."""
    if isinstance(port.target_port, int):
        return port.target_port
    for container in (*pod.spec.containers, *_sidecars(pod.spec.init_containers)):
        for declared in container.ports:
            if declared.name == port.target_port and declared.protocol == port.protocol:
                return declared.container_port
    return None


def _sidecars(containers: Iterable[Container]) -> Iterable[Container]:
    return (found for found in containers if found.restart_policy == "Always")


def hostname(pod: Pod, service: Service) -> str:
    """A name of its own under the Service's, where the pod's subdomain is the Service."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""


def trigger(before: Mapping[str, str], service: Service, pods: Iterable[Pod]) -> tuple[dict[str, str], str]:
    """When the change happened that endpoints are written for now: the earliest time that is newer than what was known.

    ``before``: what the last call returned, pod names → time of their Ready condition, and empty name → the Service's creation.
    Returns the new state and the time, which is empty when nothing newer was seen.
    """
    now = {"": service.metadata.creation_timestamp or ""}
    for pod in pods:
        times = [found.last_transition_time for found in pod.status.conditions if found.type == "Ready"]
        now[pod.metadata.name] = (times[0] if times else None) or ""
    newer = [time for name, time in now.items() if time > before.get(name, "")]
    return now, min(newer, default="")
