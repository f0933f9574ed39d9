"""The HTTP seam, over real sockets: deadlines, caps, limits, slow watchers, stopping."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pierhead.apiserver.server import Limits, Serving
from pierhead.apiserver.sink import EXTENSION, DirectSink, Frame
from pierhead.pki import credentials

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Echo:
    """An application that answers with the body it got, and streams what it is told to."""

    def __init__(self) -> None:
        self.sinks: list[DirectSink] = []
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Send) -> None:
        if scope["path"] == "/endless":
            self.opened.set()
            await asyncio.Event().wait()
        if scope["path"] == "/watch":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            sink = DirectSink(scope["extensions"][EXTENSION]["pipe"])
            self.sinks.append(sink)
            self.opened.set()
            listening = asyncio.ensure_future(self._listen(receive, sink))
            await sink.run()
            listening.cancel()
            await send({"type": "http.response.body", "body": b""})
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message.get("more_body", False)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _listen(self, receive: Any, sink: DirectSink) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.closed.set()
        sink.close()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def close(self) -> None:
        for sink in self.sinks:
            sink.close()


def serve(test: Callable[[Echo, int], Awaitable[None]], limits: Limits | None = None) -> None:
    async def main() -> None:
        app = Echo()
        with socket.create_server(("127.0.0.1", 0)) as sock:
            async with Serving(app, sock, limits=limits):
                await test(app, sock.getsockname()[1])

    asyncio.run(asyncio.wait_for(main(), 10))


async def talk(port: int, *parts: bytes) -> bytes:
    """Sends the parts, then reads until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


def test_a_request_is_answered_and_the_connection_kept() -> None:
    async def test(_: Echo, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _number in range(2):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"date: " in head
            assert await reader.readexactly(2) == b"hi"
        writer.close()

    serve(test)


def test_slow_headers_get_408() -> None:
    async def test(_: Echo, port: int) -> None:
        answer = await talk(port, b"GET / HTTP/1.1\r\nhost:")
        assert answer.startswith(b"HTTP/1.1 408")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["kind"] == "Status"

    serve(test, Limits(header_seconds=0.05))


def test_headers_that_trickle_get_no_more_time() -> None:
    async def test(_: Echo, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")

        async def trickle() -> None:
            while True:
                writer.write(b"a: b\r\n")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        # No further than the first line: what is sent to a closed connection resets it, and that may be all one reads then.
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        trickling.cancel()
        writer.close()

    serve(test, Limits(header_seconds=0.1))


def test_a_silent_connection_is_closed_without_a_word() -> None:
    async def test(_: Echo, port: int) -> None:
        assert await talk(port) == b""

    serve(test, Limits(header_seconds=0.05))


def test_half_a_body_gets_408() -> None:
    async def test(_: Echo, port: int) -> None:
        answer = await talk(port, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf")
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"the body of the request did not come in time" in answer

    serve(test, Limits(body_seconds=0.05))


def test_endless_headers_get_431() -> None:
    async def test(_: Echo, port: int) -> None:
        answer = await talk(port, b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 5000)
        assert answer.startswith(b"HTTP/1.1 431")

    serve(test, Limits(header_bytes=4096))


def test_one_connection_too_many_gets_503_and_others_go_on() -> None:
    async def test(app: Echo, port: int) -> None:
        assert app.sinks == []
        held = [await asyncio.open_connection("127.0.0.1", port) for _number in range(2)]
        assert (await talk(port)).startswith(b"HTTP/1.1 503")
        reader, writer = held[0]
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for _reader, held_writer in held:
            held_writer.close()

    serve(test, Limits(connections=2))


def test_garbage_is_400() -> None:
    async def test(_: Echo, port: int) -> None:
        assert (await talk(port, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")

    serve(test)


def test_a_method_that_nobody_knows_is_405() -> None:
    async def test(_: Echo, port: int) -> None:
        answer = await talk(port, b"FOO /api/v1/services HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 405")
        assert b"MethodNotAllowed" in answer

    serve(test)


def test_who_asks_for_an_upgrade_is_answered_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def test(_: Echo, port: int) -> None:
        for upgrade in (b"websocket", b"SPDY/3.1"):
            asked = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: " + upgrade + b"\r\n\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()

    serve(test)
    assert not caplog.records


def test_who_speaks_plain_http_to_the_port_of_tls_is_told_so(tmp_path: Path) -> None:
    pki = credentials.ensure(tmp_path / "pki", ["127.0.0.1"], datetime.now(UTC))

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
            async with Serving(Echo(), sock, certificate=pki.certificate, key=pki.key):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(GET)
                answer = await reader.readuntil(b"server.\n")
                assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
                assert answer.endswith(b"\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
                writer.close()
                assert b"HTTP" not in await talk(port, b"neither TLS nor HTTP\r\n\r\n")

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_frame_is_written_as_one_chunk() -> None:
    async def test(app: Echo, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"transfer-encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
        await app.opened.wait()
        assert app.sinks[0].write(Frame(b"hello\n"))
        assert await reader.readexactly(11) == b"6\r\nhello\n\r\n"
        app.sinks[0].close()
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        writer.close()

    serve(test)


def test_a_watcher_that_does_not_read_is_dropped() -> None:
    async def test(app: Echo, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await app.opened.wait()
        frame = Frame(b"x" * 2**20)
        taken = 0
        while app.sinks[0].write(frame):
            taken += 1
            assert taken < 64
        assert taken >= 8
        writer.transport.abort()

    serve(test)


def test_who_takes_nothing_of_a_long_answer_is_hung_up_on() -> None:
    async def test(app: Echo, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await app.opened.wait()
        assert app.sinks[0].write(Frame(b"x" * 2**23))
        await app.closed.wait()
        writer.transport.abort()

    serve(test, Limits(unread_seconds=0.1))


def test_stopping_ends_watches_in_less_than_a_second() -> None:
    async def main() -> float:
        app = Echo()
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as sock:
            async with Serving(app, sock):
                reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
                writer.write(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                await app.opened.wait()
                began = loop.time()
            assert (await reader.read()).endswith(b"0\r\n\r\n")
            writer.close()
        return loop.time() - began

    assert asyncio.run(main()) < 1


def test_stopping_says_nothing_of_an_answer_that_does_not_end(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        app = Echo()
        with socket.create_server(("127.0.0.1", 0)) as sock, socket.create_connection(sock.getsockname()) as client:
            async with Serving(app, sock):
                client.sendall(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
                await app.opened.wait()
            assert client.recv(1) == b""

    asyncio.run(asyncio.wait_for(main(), 10))
    assert not caplog.records


def test_no_answer_waits_for_the_acknowledgement_of_its_beginning() -> None:
    async def main() -> int:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            async with Serving(Echo(), sock) as serving:
                reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
                writer.write(GET)
                await reader.readuntil(b"\r\n\r\n")
                [connection] = serving._state.open()
                accepted = connection.transport.get_extra_info("socket")
                writer.close()
                found: int = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                return found

    assert asyncio.run(main()) == 1
