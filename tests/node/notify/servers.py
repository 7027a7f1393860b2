"""A web server and a mail server in our own process, which speak on real sockets and keep what they got."""

from __future__ import annotations

import base64
import queue
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hook(ThreadingHTTPServer):
    """Keeps what is posted; answers with the first of ``statuses``, while there are any, and then 204."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.statuses: list[int] = []
        self.refused: queue.Queue[int] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Post)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Post(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url)
        self.end_headers()
        if status == 204:
            self.server.got.put((dict(self.headers), body))
        else:
            self.server.refused.put(status)

    def log_message(self, *_arguments: object) -> None:
        pass


class Mailbox(socketserver.ThreadingTCPServer):
    """SMTP (RFC 5321) with STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4616); nothing is taken without both."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext, user: str, password: str) -> None:
        self.context, self.login = context, f"\0{user}\0{password}"
        self.got: queue.Queue[tuple[list[str], Message]] = queue.Queue()
        super().__init__(("127.0.0.1", 0), _Session)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def say(self, text: str) -> None:
        self.wfile.write(text.encode("ascii") + b"\r\n")

    def handle(self) -> None:
        secure, known, to = False, False, []
        self.say("220 test")
        while line := self.rfile.readline().decode("ascii").strip():
            word = line.split()[0].upper()
            if word == "EHLO":
                self.say("250-test")
                self.say("250 AUTH PLAIN" if secure else "250 STARTTLS")
            elif word == "STARTTLS":
                self.say("220 go on")
                self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                secure = True
            elif word == "AUTH" and secure:
                known = base64.b64decode(line.split()[2]).decode() == self.server.login
                self.say("235 welcome" if known else "535 no")
            elif word == "MAIL" and known:
                to = []
                self.say("250 ok")
            elif word == "RCPT" and known:
                to.append(line.partition("<")[2].partition(">")[0])
                self.say("250 ok")
            elif word == "DATA" and to:
                self.say("354 end with a full stop")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text)
                self.server.got.put((to, message_from_bytes(b"".join(lines))))
                self.say("250 ok")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("530 not so")


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread while the block lasts."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
