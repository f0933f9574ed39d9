"""Services: what is particular about writing one. Addresses and ports are given out by ``core.allocation``."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.services_spec import (
    CLUSTER_IP,
    EXTERNAL_NAME,
    LOAD_BALANCER,
    TYPES,
    cluster_ip,
    is_externally_accessible,
    kind_of,
    ports_of,
    spec_of,
)
from pierhead.api.services_transition import (
    agree,
    agree_at_creation,
    carry_over,
    drop_internal_policy,
    wipe,
    wipe_status,
)
from pierhead.api.services_validation import service_causes, status_causes, update_causes
from pierhead.api.services_warnings import spec_warnings, status_warnings
from pierhead.api.strategy import Strategy, Write
from pierhead.errors import Cause

AFFINITY_SECONDS = 10800
"""Three hours: for how long a client keeps its endpoint where the Service does not say."""


class ServiceStrategy(Strategy):
    """The rules of kubernetes-services.md §1, as Kubernetes 1.36 has them.

    Where there are nodes a Service has a generation besides, which Kubernetes does not keep: its condition ``Programmed`` says which
    one they carry, and ``kubectl wait`` compares the two.
    """

    def default(self, obj: Tree) -> None:
        if not isinstance(obj.get("spec"), dict):
            obj["spec"] = {}
        spec = obj["spec"]
        spec["type"] = kind_of(spec) or CLUSTER_IP
        _default_affinity(spec)
        for port in ports_of(spec):
            port["protocol"] = port.get("protocol") or "TCP"
            port["targetPort"] = port.get("targetPort") or port.get("port") or 0
        if is_externally_accessible(spec):
            spec["externalTrafficPolicy"] = spec.get("externalTrafficPolicy") or "Cluster"
        if kind_of(spec) in TYPES and kind_of(spec) != EXTERNAL_NAME and spec.get("internalTrafficPolicy") is None:
            spec["internalTrafficPolicy"] = "Cluster"
        if kind_of(spec) == LOAD_BALANCER:
            if spec.get("allocateLoadBalancerNodePorts") is None:
                spec["allocateLoadBalancerNodePorts"] = True
            _default_ip_mode(obj)

    def prepare_create(self, obj: Tree, write: Write) -> None:
        obj["status"] = {"loadBalancer": {}}
        agree_at_creation(obj["spec"])
        drop_internal_policy(obj["spec"])
        if _counts(write):
            obj["metadata"]["generation"] = 1

    def prepare_update(self, obj: Tree, old: Tree, write: Write) -> None:
        if write.subresource == "status":
            obj["spec"] = spec_of(old)
            obj["status"] = {"loadBalancer": {}} | (obj.get("status") or {})
            return
        new, before = obj["spec"], spec_of(old)
        carry_over(new, before)
        agree(new, before)
        wipe(new, before)
        drop_internal_policy(new)
        obj["status"] = wipe_status(old.get("status") or {"loadBalancer": {}}, new, before)

    def finish(self, obj: Tree, old: Tree, write: Write) -> None:
        if _counts(write) and spec_of(obj) != spec_of(old):
            obj["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1

    def validate(self, obj: Tree, write: Write) -> list[Cause]:
        return service_causes(obj, None)

    def validate_update(self, obj: Tree, old: Tree, write: Write) -> list[Cause]:
        return status_causes(obj, old) if write.subresource == "status" else update_causes(obj, old)

    def warnings(self, obj: Tree, old: Tree | None) -> list[str]:
        if old is not None and spec_of(obj) == spec_of(old) and obj.get("status") != old.get("status"):
            return status_warnings(obj)
        return spec_warnings(obj)

    def selectable(self, obj: Tree) -> dict[str, str]:
        spec = spec_of(obj)
        return {"spec.clusterIP": cluster_ip(spec), "spec.type": kind_of(spec)}


def _counts(write: Write) -> bool:
    """Whether there is somebody to follow a Service's generations."""
    return write.network.mode != "none"


def _default_affinity(spec: Tree) -> None:
    spec["sessionAffinity"] = spec.get("sessionAffinity") or "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    if spec["sessionAffinity"] == "ClientIP":
        timeout = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        seconds = AFFINITY_SECONDS if timeout is None else timeout
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": seconds}}


def _default_ip_mode(obj: Tree) -> None:
    for entry in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []:
        if entry.get("ip") and entry.get("ipMode") is None:
            entry["ipMode"] = "VIP"
