"""An image-processing backend: POST a JPEG or PNG, get its thumbnail back. Listens on POD_IP and the port given as argument.

    POST /?size=128     the image as body; answers a thumbnail of at most 128 pixels a side, in the same format
    GET  /healthz       200 once it can work

Told to stop, it goes on serving for a moment, because a client may be just about to connect, then ends.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from PIL import Image, UnidentifiedImageError

LARGEST_UPLOAD = 10 * 1024 * 1024
LARGEST_SIDE = 1024
LINGER = 0.5
"""Seconds of service after SIGTERM."""


def thumbnail(content: bytes, side: int) -> tuple[bytes, str]:
    """The image scaled down to ``side`` pixels, and its media type.

    Raises:
        ValueError: it is no JPEG or PNG.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            kind = str(image.format)
            image.thumbnail((side, side))
            out = io.BytesIO()
            image.save(out, kind)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError("send a JPEG or a PNG") from error
    return out.getvalue(), f"image/{kind.lower()}"


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = self.path == "/healthz"
        self._answer(200 if found else 404, b"ok\n" if found else b"POST an image to /\n", "text/plain")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_UPLOAD:
            self.close_connection = True
            self._answer(413, b"too large\n", "text/plain")
            return
        asked = parse_qs(urlsplit(self.path).query).get("size", ["128"])[0]
        side = min(int(asked), LARGEST_SIDE) if asked.isdecimal() and int(asked) else 128
        try:
            content, media = thumbnail(self.rfile.read(length), side)
        except ValueError as error:
            self._answer(400, f"{error}\n".encode(), "text/plain")
        else:
            self._answer(200, content, media)

    def _answer(self, code: int, content: bytes, media: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Served-By", os.environ.get("POD_NAME", ""))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    address = (os.environ["POD_IP"], int(sys.argv[1]))
    server = ThreadingHTTPServer(address, Backend)
    server.daemon_threads = False  # server_close() waits for the requests that are under way

    def stop(*_: object) -> None:
        threading.Timer(LINGER, server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    print(f"{os.environ.get('POD_NAME', '')} listens on {address[0]}:{address[1]}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
