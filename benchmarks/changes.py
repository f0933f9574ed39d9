"""Pods that become endpoints of Service ``web`` and cease to be, again and again; counted are the changes that its slices show."""

from __future__ import annotations

import json
import ssl
import threading
import time
from contextlib import suppress
from http.client import HTTPException, HTTPSConnection
from itertools import count
from types import TracebackType

from benchmarks.pods import NAMESPACE
from benchmarks.region import Region

SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
WATCH = f"{SLICES}?watch=true&labelSelector=kubernetes.io/service-name=web"
WRITERS = 4
PATIENCE = 120.0
"""Seconds for a number of changes."""
PAUSE = 0.02


class Changes:
    """Made while the block lasts, by threads that outlive the region they ask, and counted by another."""

    def __init__(self, region: Region, pods: int) -> None:
        """``pods``: pod-0 and so on."""
        self.seen = 0
        self._region = region
        self._pods = pods
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._make, args=(writer,)) for writer in range(WRITERS)]

    def __enter__(self) -> Changes:
        threading.Thread(target=self._count, daemon=True).start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def reach(self, number: int) -> None:
        """Waits until so many have been seen.

        Raises:
            RuntimeError: nobody makes any more.
        """
        deadline = time.monotonic() + PATIENCE
        while self.seen < number:
            if time.monotonic() > deadline or not all(thread.is_alive() for thread in self._threads):
                raise RuntimeError(f"{self.seen} changes of endpoints, and no more")
            time.sleep(PAUSE)

    def _make(self, writer: int) -> None:
        context = ssl.create_default_context(cafile=self._region.ca)
        connection = HTTPSConnection("127.0.0.1", self._region.port, context=context, timeout=10)
        for turn in count():
            for number in range(writer, self._pods, WRITERS):
                while not self._over.is_set():
                    try:
                        self._label(connection, number, None if turn % 2 else "web")
                    except (OSError, HTTPException):
                        connection.close()
                        time.sleep(PAUSE)
                    else:
                        break
            if self._over.is_set():
                return

    def _label(self, connection: HTTPSConnection, number: int, value: str | None) -> None:
        headers = {"Authorization": f"Bearer {self._region.token}", "Content-Type": "application/merge-patch+json"}
        body = json.dumps({"metadata": {"labels": {"app": value}}})
        connection.request("PATCH", f"{NAMESPACE}/pods/pod-{number}", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"pod-{number} is not changed: {answer.status}")

    def _count(self) -> None:
        known: dict[str, set[str]] = {}
        while not self._over.is_set():
            with suppress(OSError, HTTPException), self._region.open("GET", WATCH) as answer:
                for line in answer:
                    tree = json.loads(line)["object"]
                    name = tree["metadata"]["name"]
                    now = {each["addresses"][0] for each in tree.get("endpoints") or () if each["conditions"]["ready"]}
                    self.seen += len(now ^ known.get(name, now))
                    known[name] = now
            time.sleep(PAUSE)
