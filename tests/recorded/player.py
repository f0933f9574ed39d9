"""Plays a recorded case against a server."""

from __future__ import annotations

import base64
import http.client
import json
import random
import socket
import ssl
import string
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recorded.recording import Bindings, Comparison, merged, ordered

COMPARED_HEADERS = ("content-type", "location", "allow", "retry-after")
QUIET = 0.4
"""Seconds without a further event after which a watch is taken to have said everything."""


@dataclass
class Server:
    """One API server, reached with the administrator's token."""

    url: str
    token: str
    ca: Path
    context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context(cafile=self.ca)

    def open(self) -> http.client.HTTPSConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, context=self.context, timeout=60)

    def send(self, connection: http.client.HTTPConnection, request: dict[str, Any]) -> http.client.HTTPResponse:
        body, headers = request.get("body"), {"user-agent": "replay/1.0", "authorization": f"Bearer {self.token}"}
        content: bytes | None = None
        if isinstance(body, dict) and "$base64" in body:
            content = base64.b64decode(body["$base64"])
        elif body is not None:
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
        if content is not None:
            headers["content-type"] = "application/json"
        given = {key.lower(): value for key, value in (request.get("headers") or {}).items()}
        sent = {key: value for key, value in (headers | given).items() if value is not None}
        connection.request(request["method"], request["path"], content, sent)
        return connection.getresponse()

    def call(self, request: dict[str, Any], *, raw: bool = False) -> dict[str, Any]:
        connection = self.open()
        try:
            response = self.send(connection, request)
            return answer(response, response.read(), raw=raw)
        finally:
            connection.close()


def answer(response: http.client.HTTPResponse, content: bytes, *, raw: bool = False) -> dict[str, Any]:
    """What is compared of an answer."""
    headers: dict[str, Any] = {key: response.headers[key] for key in COMPARED_HEADERS if response.headers.get(key)}
    if warnings := response.headers.get_all("warning"):
        headers["warning"] = warnings
    body: Any
    try:
        body = content.decode()
    except UnicodeDecodeError:
        body = {"$base64": base64.b64encode(content).decode()}
    else:
        if body and not raw and ("json" in headers.get("content-type", "") or body[:1] == "{"):
            body = json.loads(body)
    return {"status": response.status, "headers": headers, "body": body}


class Watch(threading.Thread):
    """A watch that runs beside the steps after it."""

    def __init__(self, server: Server, step: dict[str, Any], request: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.step = step
        self._server, self._request = server, request
        self._events: list[Any] = []
        self._changed = threading.Condition()
        self._head: dict[str, Any] = {}
        self._ended = False
        self._connection = server.open()

    def open(self) -> None:
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: self._head, timeout=10)

    def run(self) -> None:
        with suppress(OSError, http.client.HTTPException), closing(self._connection):
            response = self._server.send(self._connection, self._request)
            self._tell(head=answer(response, b"" if response.status == 200 else response.read()))
            while response.status == 200 and (line := response.readline()):
                if b'"BOOKMARK"' not in line[:40] or b"k8s.io/initial-events-end" in line:
                    self._tell(event=json.loads(line))
        self._tell(ended=True)

    def close(self) -> None:
        """Hangs up, and waits until the thread has noticed."""
        if self._connection.sock:
            with suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(5)

    def _tell(self, *, head: dict[str, Any] | None = None, event: Any = None, ended: bool = False) -> None:
        with self._changed:
            self._head = head or self._head
            self._events += [event] if event is not None else []
            self._ended = self._ended or ended
            self._changed.notify_all()

    def result(self) -> dict[str, Any]:
        """The head and the events, once as many came as were recorded and none followed for a moment."""
        expected = self.step["response"]
        deadline = time.monotonic() + self.step["watch"]
        with self._changed:
            if self._head.get("status") != 200:
                return self._head
            if expected.get("closed"):
                self._changed.wait_for(lambda: self._ended, timeout=self.step["watch"])
            wanted = len(expected.get("events", []))
            self._changed.wait_for(lambda: self._ended or len(self._events) >= wanted, timeout=self.step["watch"])
            seen = -1
            while seen != len(self._events) and not self._ended and time.monotonic() < deadline:
                seen = len(self._events)
                self._changed.wait(QUIET)
            found = {"status": 200, "headers": self._head["headers"], "events": list(self._events)}
            return found | ({"closed": self._ended} if expected.get("closed") else {})


@contextmanager
def home(server: Server, cleanup: Sequence[str] = ()) -> Iterator[Bindings]:
    """A namespace of a case's own. It ends with all that is in it, and ``cleanup``: paths of what is in no namespace."""
    bindings = Bindings("t" + "".join(random.choices(string.ascii_lowercase, k=9)))
    server.call({"method": "POST", "path": "/api/v1/namespaces", "body": {"metadata": {"name": bindings.namespace}}})
    inside = f"/namespaces/{bindings.namespace}"
    try:
        yield bindings
    finally:
        for path in (
            *map(bindings.fill, cleanup),
            f"/apis/apps/v1{inside}/replicasets",
            f"/api/v1{inside}/services",
            f"/api/v1{inside}/pods?gracePeriodSeconds=0",
            f"/api/v1{inside}",
        ):
            server.call({"method": "DELETE", "path": path})


class Player:
    """Plays one case in a namespace of its own."""

    def __init__(self, server: Server, *, patience: float | None = None) -> None:
        self._server = server
        self._patience = patience
        """Longest time to poll for an answer, in seconds; None: as recorded."""

    def play(self, case: dict[str, Any]) -> list[str]:
        """Every difference between the recorded answers and ours."""
        self._case = case
        self._watches: list[Watch] = []
        with home(self._server, case.get("cleanup", [])) as self._bindings:
            try:
                return [*self._steps(), *self._watched()]
            finally:
                for watch in self._watches:
                    watch.close()

    def _steps(self) -> Iterator[str]:
        for number, step in enumerate(self._case["steps"], 1):
            where = f"step {number} {step['request']['method']} {step['request']['path']}"
            yield from (f"{where}: {difference}" for difference in self._step(step))

    def _step(self, step: dict[str, Any]) -> Iterator[str]:
        time.sleep(step.get("sleep", 0))  # recorded: the case is about this pause
        if "repeat" in step:
            yield from self._repeated(step)
        elif "watch" in step:
            watch = Watch(self._server, step, self._bindings.fill(step["request"]))
            watch.open()
            self._watches.append(watch)
        elif "poll" in step:
            yield from self._polled(step)
        else:
            yield from self._compare(step, self._exchange(step))

    def _exchange(self, step: dict[str, Any]) -> dict[str, Any]:
        return self._server.call(self._bindings.fill(step["request"]), raw=step.get("raw", False))

    def _repeated(self, step: dict[str, Any]) -> Iterator[str]:
        first, last = step["repeat"]
        for index in range(first, last + 1):
            text = json.dumps(step["request"]).replace("{i}", str(index))
            text = text.replace("{hi}", str(index // 200)).replace("{lo}", str(index % 200 + 1))
            one = {"request": json.loads(text), "response": step["response"], "compare": "status"}
            yield from self._compare(one, self._exchange(one))

    def _polled(self, step: dict[str, Any]) -> list[str]:
        limit = step["poll"] if self._patience is None else min(step["poll"], self._patience)
        deadline, known = time.monotonic() + limit, dict(self._bindings.values)
        while True:
            self._bindings.values = dict(known)
            found = list(self._compare(step, self._exchange(step)))
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)  # the recorded answer is a state to settle into; the API has no event for it

    def _watched(self) -> Iterator[str]:
        for watch in self._watches:
            yield from (
                f"watch {watch.step['request']['path']}: {text}" for text in self._compare(watch.step, watch.result())
            )

    def _compare(self, step: dict[str, Any], actual: dict[str, Any]) -> Iterator[str]:
        expected, how = step["response"], step.get("compare")
        if step.get("sort"):
            expected, actual = ordered(expected), ordered(actual)
        if how == "merged":
            actual = {**actual, "body": merged(actual.get("body"))}
        if how == "status":
            expected, actual = {"status": expected["status"]}, {"status": actual["status"]}
        managed = bool(self._case.get("managedFields"))
        comparison = Comparison(self._bindings, subset=how == "subset", managed_fields=managed)
        return comparison.differences(expected, actual)
