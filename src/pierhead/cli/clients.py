"""Clients of the demo's Service: each image over a connection of its own, as frontends that know one address only."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Callable

from PIL import Image, ImageDraw

WORKERS = 4
PAUSE = 0.02
"""Seconds between two images of one client: a load that two cores carry beside everything else."""


def pictures() -> list[tuple[bytes, str]]:
    """A JPEG and a PNG, and their formats."""
    image = Image.new("RGB", (640, 480), (24, 58, 92))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 300, 640, 480), fill=(18, 40, 60))
    draw.polygon([(0, 320), (420, 290), (420, 305), (0, 360)], fill=(120, 84, 60))
    draw.ellipse((470, 60, 560, 150), fill=(255, 214, 140))
    found = []
    for kind in ("JPEG", "PNG"):
        out = io.BytesIO()
        image.save(out, kind)
        found.append((out.getvalue(), kind))
    return found


class Clients:
    """Sends images to one address until told to stop, and keeps what it saw."""

    def __init__(self, address: str, port: int) -> None:
        self._address, self._port = address, port
        self._pictures = pictures()
        self.served: Counter[str] = Counter()
        """Pod → thumbnails it answered."""
        self.failures: list[str] = []

    async def run(self, stop: asyncio.Event, told: Callable[[int], None]) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                group.create_task(self._work(number, stop, told))

    async def _work(self, number: int, stop: asyncio.Event, told: Callable[[int], None]) -> None:
        while not stop.is_set():
            await self.send(number)
            told(self.served.total())
            await asyncio.sleep(PAUSE)
            number += 1

    async def send(self, number: int) -> None:
        """One image there, one thumbnail back; anything else is a failure."""
        content, kind = self._pictures[number % len(self._pictures)]
        try:
            async with asyncio.timeout(5):
                pod, answer = await self._exchange(content)
            with Image.open(io.BytesIO(answer)) as thumbnail:
                good = thumbnail.format == kind and max(thumbnail.size) <= 128
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        if good:
            self.served[pod] += 1
        else:
            self.failures.append(f"{pod} answered something else than a thumbnail")

    async def _exchange(self, content: bytes) -> tuple[str, bytes]:
        reader, writer = await asyncio.open_connection(self._address, self._port)
        try:
            head = f"POST /?size=128 HTTP/1.1\r\nHost: thumbnails\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + content)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:])}
            return headers.get("x-served-by", "?"), await reader.readexactly(int(headers.get("content-length", "0")))
        finally:
            writer.close()
