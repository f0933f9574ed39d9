"""``region()``: a region for a test, as the test's own thread sees it."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pierhead.testing import libraries

if TYPE_CHECKING:
    import kr8s
    import lightkube

    from pierhead.api import Tree
    from pierhead.client.client import Client
    from pierhead.testing.faults import Fault
    from pierhead.testing.life import Life

T = TypeVar("T")

NETWORKS = ("none", "loopback")


def region(*, network: Literal["none", "loopback"] = "none") -> Region:
    """Starts a region with nothing in it but what every cluster begins with. It ends with its ``with`` block or ``close``.

    ``network``: ``none`` is an API server with all controllers, where pods are what the test writes; ``loopback`` (Linux) also has a
    node that runs pods as processes and a proxy that serves Services, in a part of 127.0.0.0/8 that no other test region uses.

    Raises:
        ValueError: there is no such network.
        UsageError: it cannot start here.
    """
    from pierhead.testing.life import Life

    if network not in NETWORKS:
        raise ValueError(f"no network {network!r}; there are {', '.join(NETWORKS)}")
    caller = inspect.currentframe()
    made = caller.f_back if caller else None
    return Region(Life(network), (made.f_code.co_filename, made.f_lineno) if made else ("<unknown>", 1))


class Region:
    """A running region. Every call blocks until what it did can be seen by any client, and may come from any thread.

    Once the region has ended, what asks it for something raises RuntimeError.
    """

    def __init__(self, life: Life, made: tuple[str, int]) -> None:
        """``made``: file and line to name where a region is never closed."""
        self._life = life
        self._leaked = weakref.finalize(self, _leaked, life, *made)
        self._stage = life.stage
        self.url: str = life.stage.url
        """``https://127.0.0.1:PORT``"""
        self.kubeconfig: Path = life.stage.kubeconfig
        """For ``KUBECONFIG`` or ``kubectl --kubeconfig``; gone when the region is."""
        self.ca: Path = life.stage.ca
        """The certificate to trust, in PEM."""
        self.token: str = life.stage.token
        """The administrator's bearer token, of this region alone."""

    def __enter__(self) -> Region:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the region, its thread and its files; idempotent."""
        if self._leaked.detach():
            self._life.end()

    # -- what is in it ----------------------------------------------------------------------------------------

    def apply(self, *manifests: str | Path | Mapping[str, Any]) -> Sequence[Tree]:
        """Creates each object, or merges it into the one that is there; answers them as stored, in order.

        A manifest is a file of YAML or JSON, or such text itself (of more than one line, or an object of JSON), or a mapping. Where none
        is named, the namespace is ``default``.

        Raises:
            ValueError: a document is no object, or of a kind that is not served; then nothing was written.
            ApiError: the server refused one; those before it stand.
        """
        from pierhead.testing.manifests import read

        return self._life.call(self._stage.apply, read(manifests))

    def ready(self, pod: str, namespace: str = "default") -> Tree:
        """Writes what a kubelet would once all containers of the pod run and are ready, and answers the pod as stored.

        A pod without a node is bound to ``node-1`` first. It keeps its address, or gets the next of 10.244.0.0/16.

        Raises:
            ApiError: 404.
            ValueError: a node of this region runs the pods.
        """
        return self._life.call(self._stage.ready, pod, namespace)

    def wait(
        self, resource: str, name: str, what: Callable[[Tree], T], *, namespace: str = "default", timeout: float = 10.0
    ) -> T:
        """Calls ``what`` with the object as it is stored, now and after its changes, until the answer is true, and answers that.

        A LookupError, a TypeError and an AttributeError mean: not yet, for that is what a path meets where the object ends before it. So
        ``wait("services", "web", lambda web: web["status"]["loadBalancer"]["ingress"][0]["ip"])`` answers the address. While there is no
        object ``what`` is given an empty one: ``lambda web: not web`` waits until it is gone.

        ``resource``: as in URLs. ``timeout``: seconds.

        Raises:
            TimeoutError: with the object as it was last, and the error that ``what`` met at it, which is also the cause.
            ValueError: there is no such resource.
        """
        from pierhead.testing.waiting import until

        return until(self._life, (resource, namespace, name), what, timeout)

    def reset(self) -> None:
        """Makes the region new: every object is gone, open watches end with 410, faults are forgotten; resourceVersions go on, so that
        none from before is good any more. Address and credentials stay."""
        self._life.call(self._stage.reset)

    # -- what goes wrong --------------------------------------------------------------------------------------

    def fault(
        self,
        verb: str,
        resource: str,
        code: int,
        *,
        times: int = 1,
        name: str = "",
        namespace: str = "",
        controllers: bool = False,
    ) -> Fault:
        """The next ``times`` requests of this verb for this resource are answered with this error and do nothing.

        ``verb``: get, list, watch, create, update, patch, delete, deletecollection. ``resource``: as in URLs, ``services`` or
        ``services/status``. ``name``, ``namespace``: only requests that name them in their URL, which a create does not do with the
        name. ``controllers``: those of Pierhead's own controllers count as well.

        Raises:
            ValueError: there is no such verb, resource or error.
        """
        from pierhead.testing.faults import Fault

        fault = Fault(verb, resource, code, times, name=name, namespace=namespace, controllers=controllers)
        self._stage.faults.add(fault)
        return fault

    def expire_watches(self) -> None:
        """Every open watch of a client gets an ERROR event with 410 Expired and ends; each resourceVersion given out until now is too
        old to resume from."""
        self._life.call(self._stage.expire_watches)

    # -- clients ----------------------------------------------------------------------------------------------

    def kubernetes(self) -> Any:
        """An ``ApiClient`` of the library ``kubernetes``: ``CoreV1Api(r.kubernetes())``."""
        return libraries.of_kubernetes(self.kubeconfig)

    def kr8s(self) -> kr8s.Api:
        """The synchronous API of ``kr8s``: ``Service.get("web", api=r.kr8s())``."""
        return libraries.of_kr8s(self.kubeconfig)

    def lightkube(self) -> lightkube.Client:
        """A ``Client`` of ``lightkube``."""
        return libraries.of_lightkube(self.kubeconfig)

    def client(self, name: str = "test") -> Client:
        """Pierhead's own client, for asyncio; ``name`` is the field manager's. To be closed by the caller."""
        from pierhead.client.client import Client
        from pierhead.client.http import Http

        return Client(Http(self.url, self.token, str(self.ca)), name)


def _leaked(life: Life, file: str, line: int) -> None:
    """Nobody can reach the region any more, or the process ends."""
    life.end()
    warnings.warn_explicit("this region was never closed: use `with region()`", ResourceWarning, file, line)
