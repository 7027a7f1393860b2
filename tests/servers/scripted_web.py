"""A web server that answers as a test says, on a real socket; for answers that a real server never gives."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Said = tuple[int, bytes] | None
"""Status and body; None cuts the connection."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@contextmanager
def answering(script: Callable[[Asked], Said], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer every GET and POST by ``script``; yields the root's URL, without a slash at its end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(method=self.command, path=self.path, headers=dict(self.headers), body=body)
            said = script(asked)
            if said is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(said[0])
            if said[0] == 302:
                self.send_header("Location", "/login")
            self.send_header("Content-Length", str(len(said[1])))
            self.end_headers()
            self.wfile.write(said[1])

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
