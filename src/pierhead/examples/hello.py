"""Says which pod it is, over TCP: one line of HTTP to whoever asks. Listens on POD_IP and the port given as argument."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = f"{os.environ.get('POD_NAME', 'somebody')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    ThreadingHTTPServer((os.environ["POD_IP"], int(sys.argv[1])), Hello).serve_forever()
