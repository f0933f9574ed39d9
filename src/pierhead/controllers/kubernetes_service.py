"""The Service ``kubernetes`` in ``default``: the API itself, under the first address of the range."""

from __future__ import annotations

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.kinds import ENDPOINT_SLICE, ENDPOINTS, SERVICE
from pierhead.api.kinds import NAMESPACE as NAMESPACES
from pierhead.api.network import Network
from pierhead.api.rules import family
from pierhead.api.views import (
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    EndpointSubsetPort,
    Object,
    ObjectMeta,
    Service,
    ServicePort,
    tree_of,
)
from pierhead.client.client import Client
from pierhead.client.informer import Change, Informer
from pierhead.client.informers import Informers
from pierhead.controllers.loop import Loop
from pierhead.core.mirroring import SKIP_LABEL
from pierhead.core.packing import SERVICE_LABEL

NAME, NAMESPACE = "kubernetes", "default"


class KubernetesService(Loop):
    """One key. ``address``: where the API server is found, (IP, port): another one at each start, if its user likes."""

    name = "kubernetes-service-controller"
    workers = 1

    def __init__(self, client: Client, informers: Informers, network: Network, address: tuple[str, int]) -> None:
        super().__init__()
        self._client = client
        self._network = network
        self._ip, self._port = address
        self._services: Informer[Service] = informers.of(SERVICE)
        self._endpoints: Informer[Endpoints] = informers.of(ENDPOINTS)
        self._slices: Informer[EndpointSlice] = informers.of(ENDPOINT_SLICE)
        self._namespaces: Informer[Object] = informers.of(NAMESPACES)
        for kind in (NAMESPACES, SERVICE, ENDPOINTS, ENDPOINT_SLICE):
            informer: Informer[Object] = informers.of(kind)
            informer.subscribe(self._changed)

    async def reconcile(self, key: str) -> None:
        """Makes what is missing, and repairs what leads elsewhere."""
        if self._namespaces.get(NAMESPACE) is None:
            return
        await self._keep_service()
        endpoints = endpoints_of(self._ip, self._port)
        found = self._endpoints.get(NAME, NAMESPACE)
        if found is None or found.subsets != endpoints.subsets:
            await self._put(ENDPOINTS, endpoints, found)
        await self._keep_slice(slice_of(self._ip, self._port))

    async def _keep_service(self) -> None:
        wanted, found = service(self._network, self._port), self._services.get(NAME, NAMESPACE)
        if found is None:
            stored = await self._client.create(SERVICE, wanted)
            await self._services.reached(stored["metadata"]["resourceVersion"])  # else it might meet its own address
        elif (
            found.spec.cluster_ip != wanted["spec"]["clusterIP"]
        ):  # of a range that the region had before; its end calls us again
            await self._client.delete(SERVICE, NAME, NAMESPACE, uid=found.metadata.uid)
        elif found.spec.ports != (ServicePort(443, "https", target_port=self._port),):
            await self._client.patch(SERVICE, NAME, {"spec": {"ports": wanted["spec"]["ports"]}}, NAMESPACE)

    async def _keep_slice(self, wanted: EndpointSlice) -> None:
        """An address of the other family needs another slice: the type of one is for life. This one's end calls us again."""
        found = self._slices.get(NAME, NAMESPACE)
        if found is not None and found.address_type != wanted.address_type:
            await self._client.delete(ENDPOINT_SLICE, NAME, NAMESPACE, uid=found.metadata.uid)
        elif found is None or (found.endpoints, found.ports) != (wanted.endpoints, wanted.ports):
            await self._put(ENDPOINT_SLICE, wanted, found)

    async def _put(self, kind: Kind, wanted: Object, found: Object | None) -> None:
        body = tree_of(kind, wanted)
        if found is None:
            await self._client.create(kind, body)
        else:
            body["metadata"]["resourceVersion"] = found.metadata.resource_version
            await self._client.update(kind, body)

    def _changed(self, change: Change[Object]) -> None:
        if change.latest.key in (NAMESPACE, f"{NAMESPACE}/{NAME}"):
            self.queue.add(NAME)


def service(network: Network, port: int) -> Tree:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    first = network.service_ranges[0]
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": str(first[1]),
            "ipFamilies": [f"IPv{first.version}"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "sessionAffinity": "None",
        },
    }


def endpoints_of(ip: str, port: int) -> Endpoints:
    """Not mirrored: its slice has a name of its own."""
    meta = ObjectMeta(NAME, namespace=NAMESPACE, labels={SKIP_LABEL: "true"})
    subset = EndpointSubset((EndpointAddress(ip),), (), (EndpointSubsetPort(port, "https"),))
    return Endpoints(meta, (subset,))


def slice_of(ip: str, port: int) -> EndpointSlice:
    meta = ObjectMeta(NAME, namespace=NAMESPACE, labels={SERVICE_LABEL: NAME})
    endpoint = Endpoint((ip,), EndpointConditions(ready=True))
    return EndpointSlice(meta, family(ip), (endpoint,), (EndpointPort("https", "TCP", port),))
