"""``PodStatus``: what the API was last told about one pod, and how it is told what is new."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pierhead.api import Tree
from pierhead.api.kinds import POD
from pierhead.api.views import Pod
from pierhead.client.client import Client
from pierhead.core import lifecycle_status
from pierhead.errors import ApiError, PierheadError

log = logging.getLogger(__name__)

WRITE_AGAIN = 1.0
"""Seconds until a status is written again that the API server did not take."""


class Gone(PierheadError):
    """The API no longer has the pod."""


class PodStatus:
    """Whoever runs the pod asks for a report whenever something may have changed; what is as it was is not written."""

    def __init__(self, pod: Pod, client: Client, now: Callable[[], float]) -> None:
        self._client, self._now = client, now
        self.conditions = lifecycle_status.conditions(pod)
        """Those written last, by type."""
        self._written: Tree = {}
        self._written_at = 0.0
        self._revision = 0
        """Of the pod as it was after the status was written last."""

    async def report(self, pod: Pod, body: Tree) -> float | None:
        """Writes the status if it is another than was written last. Returns seconds until it must be tried again.

        Raises:
            Gone: there is nothing any more to write it to.
        """
        if body == self._written:
            rested = self._now() - self._written_at
            if not self._disputed(pod) or rested < WRITE_AGAIN:
                return WRITE_AGAIN - rested if self._disputed(pod) else None
        return await self._write(pod, body)

    async def _write(self, pod: Pod, body: Tree) -> float | None:
        found = pod.metadata
        patch = {"metadata": {"uid": found.uid}, "status": _instead(body)}
        try:
            taken = await self._client.patch(
                POD, found.name, patch, found.namespace, subresource="status", how="strategic"
            )
        except ApiError as error:
            if error.code == 404:
                raise Gone from error
            log.warning("status of pod %s cannot be written: %s", pod.key, error)
            return WRITE_AGAIN
        self._written, self._revision = body, int(taken["metadata"]["resourceVersion"])
        self._written_at = self._now()
        self.conditions = {each["type"]: each for each in body["conditions"]}
        return None

    def _disputed(self, pod: Pod) -> bool:
        """Whether somebody wrote another verdict since: a node that was not heard for a while has its pods declared not ready.
        It is corrected, but not in a race with whoever goes on writing."""
        if int(pod.metadata.resource_version or 0) <= self._revision:
            return False
        told = {each.type: each.status for each in pod.status.conditions}
        return any(told.get(kind) != each["status"] for kind, each in self.conditions.items())

    async def remove(self, pod: Pod) -> float | None:
        """Removes the object, unless it went already or another one has its name. Returns seconds until it must be tried again."""
        found = pod.metadata
        try:
            await self._client.delete(POD, found.name, found.namespace, uid=found.uid, grace=0)
        except ApiError as error:
            if error.code not in (404, 409):
                log.warning("pod %s cannot be deleted: %s", pod.key, error)
                return WRITE_AGAIN
        return None


def _instead(status: Tree) -> Tree:
    """A strategic merge patch that leaves nothing of the status before: what is merged has to be taken back, the words of a
    condition that it no longer says, and an address that the pod no longer has."""
    conditions = [{"reason": None, "message": None} | condition for condition in status["conditions"]]
    addresses = [{"$patch": "replace"}, *status["podIPs"]] if "podIPs" in status else None
    return {"podIP": None} | status | {"conditions": conditions, "podIPs": addresses}
