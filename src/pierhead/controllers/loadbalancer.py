"""Services of type LoadBalancer: each with its floating IP."""

from __future__ import annotations

import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import FLOATING_IP, FLOATING_IP_POOL, SERVICE
from pierhead.api.network import Network
from pierhead.api.views import FloatingIP, FloatingIPPool, LoadBalancerIngress, Service
from pierhead.client.client import Client
from pierhead.client.events import Recorder
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop, split
from pierhead.controllers.ownership import Ownership
from pierhead.core.floating import bound_address, frontend_claims, is_ours, owned_name
from pierhead.core.loadbalancer import (
    FINALIZER,
    Bind,
    Hold,
    Own,
    Release,
    Step,
    Unbind,
    Wait,
    ingress_of,
    next_step,
)
from pierhead.errors import ApiError

FAILED = "SyncLoadBalancerFailed"
"""The reason of the Event that says why a Service has no address yet."""


class LoadBalancers(Loop):
    """Keys: Services."""

    name = "service-controller"

    def __init__(
        self, client: Client, informers: Informers, network: Network, ownership: Ownership, recorder: Recorder
    ) -> None:
        super().__init__()
        self._client = client
        self._region = network.region
        self._ownership = ownership
        self._recorder = recorder
        self._services: Informer[Service] = informers.of(SERVICE)
        self._fips: Informer[FloatingIP] = informers.of(FLOATING_IP)
        self._pools: Informer[FloatingIPPool] = informers.of(FLOATING_IP_POOL)
        self._balanced = self._services.index(lambda found: ["all"] if _concerns_us(found) else [])
        self._services.subscribe(self._service_changed)
        self._fips.subscribe(self._fip_changed)
        self._pools.subscribe(self._pool_changed)

    async def reconcile(self, key: str) -> None:
        """Step by step, until the Service has what it asks for or has to wait."""
        namespace, name = split(key)
        first = False
        while (service := self._services.get(name, namespace)) is not None:
            step = next_step(service, self._pools.list(), self._ownership, self._region)
            if step is None:
                return
            if isinstance(step, Wait):
                self._recorder.note(SERVICE, service, FAILED, step.why)
                return
            first = first or isinstance(step, Hold)
            try:
                await self._take(service, step)
            except ApiError as error:
                if error.code == 404:
                    return
                if error.code == 422:  # somebody else's port or address; when that is given back, we are told
                    self._recorder.note(SERVICE, service, FAILED, error.message)
                    return
                raise
            self._tell(service, step, first=first)

    async def _take(self, service: Service, step: Step) -> None:
        """Does one step, and waits until it can be seen. Raises: ApiError."""
        match step:
            case Own(pool):
                await self._own(service, pool)
            case Hold():
                self._recorder.note(SERVICE, service, "EnsuringLoadBalancer", "Ensuring load balancer", type="Normal")
                await self._write(service, finalizers=[*service.metadata.finalizers, FINALIZER])
            case Bind(ip):
                await self._write_ingress(service, ingress_of(ip))
            case Unbind():
                self._recorder.note(SERVICE, service, "DeletingLoadBalancer", "Deleting load balancer", type="Normal")
                await self._write_ingress(service, ())
            case Release():
                if not service.metadata.deletion_timestamp:  # its new type has emptied the status already
                    self._recorder.note(
                        SERVICE, service, "DeletingLoadBalancer", "Deleting load balancer", type="Normal"
                    )
                left = [found for found in service.metadata.finalizers if found != FINALIZER]
                await self._write(service, finalizers=left)

    def _tell(self, service: Service, step: Step, *, first: bool) -> None:
        """In the words of Kubernetes' own service controller."""
        match step:
            case Bind() if first:
                self._recorder.note(SERVICE, service, "EnsuredLoadBalancer", "Ensured load balancer", type="Normal")
            case Bind(ip):
                text = f"Updated load balancer with new address {ip}"
                self._recorder.note(SERVICE, service, "UpdatedLoadBalancer", text, type="Normal")
            case Release():
                self._recorder.note(SERVICE, service, "DeletedLoadBalancer", "Deleted load balancer", type="Normal")

    async def _own(self, service: Service, pool: str) -> None:
        body = {"metadata": {"name": owned_name(service)}, "spec": {"pool": pool, "service": service.key}}
        made = await self._client.create(FLOATING_IP, body)
        await self._fips.reached(made["metadata"]["resourceVersion"])

    async def _write(self, service: Service, **metadata: object) -> None:
        await self._patch(service, {"metadata": metadata})

    async def _write_ingress(self, service: Service, ingress: tuple[LoadBalancerIngress, ...]) -> None:
        found = msgspec.to_builtins(ingress) or None
        await self._patch(service, {"metadata": {}, "status": {"loadBalancer": {"ingress": found}}}, "status")

    async def _patch(self, service: Service, patch: Tree, subresource: str = "") -> None:
        """Only the Service that was looked at is written."""
        meta = service.metadata
        patch["metadata"] |= {"uid": meta.uid, "resourceVersion": meta.resource_version}
        await self._client.patch(SERVICE, meta.name, patch, meta.namespace, subresource=subresource)
        await self._services.until(lambda: self._services.get(meta.name, meta.namespace) is not service)

    # -- who has to look again ----------------------------------------------------------------------------------

    def _service_changed(self, change: Change[Service]) -> None:
        """One that leaves an address, or a port of it, makes room for those that wait for it; it need not have been bound yet."""
        if any(found is not None and _concerns_us(found) for found in change):
            self.queue.add(change.latest.key)
        if change.old is not None and self._frontends(change.old) - self._frontends(change.new):
            fip = self._ownership.at(bound_address(change.old, self._ownership))
            for service in self._ownership.services(fip) if fip else ():
                if not service.status.load_balancer.ingress:
                    self.queue.add(service.key)

    def _frontends(self, service: Service | None) -> set[str]:
        """What a Service holds."""
        return set(frontend_claims(bound_address(service, self._ownership), service)) if service else set()

    def _fip_changed(self, change: Change[FloatingIP]) -> None:
        before, after = (_offer(found) if found else None for found in change)
        if before == after:
            return
        for found in change:
            if found is not None:
                for service in self._ownership.services(found):
                    self.queue.add(service.key)
                if found.spec.service:
                    self.queue.add(found.spec.service)

    def _pool_changed(self, change: Change[FloatingIPPool]) -> None:
        if change.old is None or change.new is None or change.old.spec != change.new.spec:
            for service in self._balanced["all"]:
                self.queue.add(service.key)


def _concerns_us(service: Service) -> bool:
    return is_ours(service) or FINALIZER in service.metadata.finalizers


def _offer(fip: FloatingIP) -> tuple[object, ...]:
    """What about a FloatingIP decides whether a Service may use it."""
    return fip.metadata.uid, fip.status.address, fip.metadata.deletion_timestamp is None
