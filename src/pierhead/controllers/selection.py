"""Services and the pods they select, found from either side without a search through all of them."""

from __future__ import annotations

from collections.abc import Iterable

from pierhead.api.kinds import POD, SERVICE
from pierhead.api.views import Pod, Service
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.core import backing


class Selection:
    """Which pods a Service selects; which Services a changed pod concerns."""

    def __init__(self, informers: Informers) -> None:
        services: Informer[Service] = informers.of(SERVICE)
        pods: Informer[Pod] = informers.of(POD)
        self._selecting = services.index(_namespace_of_selecting)
        self._labelled = pods.index(_labels_of)

    def pods(self, service: Service) -> list[Pod]:
        """In the order of their names."""
        namespace = service.metadata.namespace
        terms = [f"{namespace}/{key}={value}" for key, value in service.spec.selector.items()]
        rarest = min((self._labelled[term] for term in terms), key=len, default=())
        exact = len(terms) == 1
        found = [pod for pod in rarest if exact or backing.selects(service, pod.metadata.labels)]
        return sorted(found, key=lambda pod: pod.metadata.name)

    def services(self, change: Change[Pod]) -> Iterable[str]:
        """Keys of the Services to whose endpoints this change makes a difference."""
        if change.old is not None and change.new is not None and _shown(change.old) == _shown(change.new):
            return
        for service in self._selecting[change.latest.metadata.namespace]:
            if any(pod is not None and backing.selects(service, pod.metadata.labels) for pod in change):
                yield service.key


def _namespace_of_selecting(service: Service) -> Iterable[str]:
    return [service.metadata.namespace] if backing.is_selecting(service) else []


def _labels_of(pod: Pod) -> Iterable[str]:
    return [f"{pod.metadata.namespace}/{key}={value}" for key, value in pod.metadata.labels.items()]


def _shown(pod: Pod) -> tuple[object, ...]:
    """Everything about a pod that endpoints are made from."""
    meta, spec, status = pod.metadata, pod.spec, pod.status
    state = pod.ready, pod.finished, meta.deletion_timestamp is not None
    return meta.uid, meta.labels, status.pod_ip, status.pod_ips, spec.node_name, spec.hostname, spec.subdomain, *state
