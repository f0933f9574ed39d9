"""Bad input over real sockets: the API's answer, nothing written, nothing leaked, others served; and one clear line on the command line."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.backends import Namespace, eventually
from netns import ORDINARY, network_namespace
from running import PIERHEAD, Region, running

MAPS = "/api/v1/namespaces/default/configmaps"
BOMBS = {
    "laughs": "a: &a [x,x]\nb: &b [*a,*a]\n"
    + "".join(f"{this}: &{this} [{','.join([f'*{last}'] * 9)}]\n" for last, this in zip("bcdefghijk", "cdefghijkl", strict=True)),
    "long scalar": "a: &a " + "x" * 100_000 + "\nb: [" + ",".join(["*a"] * 1000) + "]",
    "itself": "data: &a {b: *a}",
    "depth": "[" * 100_000,
    "dashes": "- " * 50_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """A region whose range has room for six Services, the API's own among them."""
    options = ("--network", "none", "--service-cidr", "10.96.0.0/29")
    with running(tmp_path_factory.mktemp("small"), *options) as region:
        yield region


def post(region: Region, path: str, content: str, media: str) -> tuple[int, Any]:
    """Sends text as it is."""
    headers = {"authorization": f"Bearer {region.token}", "content-type": media}
    where = urlsplit(region.url)
    context = ssl.create_default_context(cafile=region.ca)
    connection = http.client.HTTPSConnection(where.hostname or "", where.port, context=context, timeout=30)
    try:
        connection.request("POST", path, content.encode(), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def descriptors(region: Region) -> int:
    return len(list(Path(f"/proc/{region.process.pid}/fd").iterdir()))


def beginnings(token: str) -> Sequence[str]:
    """Requests that stop before the first line, in the headers, before the body, in the body, in a chunk."""
    head = f"POST {MAPS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    return (
        "",
        head,
        head + "content-length: 500\r\n\r\n",
        head + 'content-length: 500\r\n\r\n{"metadata":{"name":"half"},"data":{',
        head + 'transfer-encoding: chunked\r\n\r\n40\r\n{"metadata":{"name":"half"}}',
    )


def half_sent(region: Region) -> Iterator[socket.socket]:
    """A connection for each moment at which a client can stop: before the handshake, and within a request."""
    where = urlsplit(region.url)
    context = ssl.create_default_context(cafile=region.ca)
    yield socket.create_connection((where.hostname, where.port), timeout=10)
    for said in beginnings(region.token):
        plain = socket.create_connection((where.hostname, where.port), timeout=10)
        found = context.wrap_socket(plain, server_hostname=where.hostname)
        found.sendall(said.encode())
        yield found


def names(region: Region) -> set[str]:
    return {found["metadata"]["name"] for found in region.call("GET", MAPS)[1]["items"]}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_a_bad_request(small: Region, bomb: str) -> None:
    before = names(small)
    began = time.monotonic()
    status, refused = post(small, MAPS, bomb, "application/yaml")
    assert (status, refused["reason"]) == (400, "BadRequest")
    assert time.monotonic() - began < 5
    assert names(small) == before


def test_half_sent_requests_write_nothing_leak_nothing_and_hold_up_nobody(small: Region) -> None:
    before, held = names(small), descriptors(small)
    with ExitStack() as stack:
        for _ in range(20):
            for connection in half_sent(small):
                stack.enter_context(connection)
        began = time.monotonic()
        for number in range(20):
            assert small.call("POST", MAPS, {"metadata": {"name": f"whole-{number}"}})[0] == 201
        assert time.monotonic() - began < 5
    eventually(lambda: descriptors(small) <= held, "every connection closed")
    assert names(small) - before == {f"whole-{number}" for number in range(20)}


def test_an_exhausted_range_is_said_and_a_deleted_service_makes_room(small: Region) -> None:
    home = Namespace(small, "default")
    ports = {"spec": {"ports": [{"port": 80}]}}
    for number in range(5):
        home.create("services", {"metadata": {"name": f"s{number}"}} | ports)
    status, refused = home.call("POST", "services", {"metadata": {"name": "more"}} | ports)
    text = 'Internal error occurred: failed to allocate a serviceIP for Service "more": range is full'
    assert (status, refused["reason"], refused["message"]) == (500, "InternalError", text)
    assert home.call("GET", "services/more")[0] == 404
    address = home.cluster_ip("s3")
    home.delete("services/s3")
    assert home.create("services", {"metadata": {"name": "more"}} | ports)["spec"]["clusterIP"] == address


@pytest.mark.parametrize(
    ("options", "text", "step"),
    [
        (("--data-dir", "{closed}"), "cannot write in {closed}", "--data-dir"),
        (("--data-dir", "{closed}/inside"), "cannot make {closed}/inside: Permission denied", "--data-dir"),
        (("--data-dir", "{open}", "--listen", "127.0.0.1:443"), "cannot listen on 127.0.0.1:443", "sysctl"),
    ],
)
def test_a_missing_right_is_one_clear_line(tmp_path: Path, options: tuple[str, ...], text: str, step: str) -> None:
    places = {"closed": tmp_path / "closed", "open": tmp_path / "open"}
    places["closed"].mkdir(mode=0o500)
    arguments = [option.format_map(places) for option in options]
    with network_namespace(mapped=True) as enter:
        command = [*enter, *ORDINARY, str(PIERHEAD), "up", "--network", "none", "--listen", "127.0.0.1:0", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    first, second = done.stderr.splitlines()
    assert done.returncode == 1
    assert text.format_map(places) in first
    assert step in second
