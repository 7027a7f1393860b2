"""The three pages over HTTP, in threads of the service: few at once, none for long."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from prometheus_client import CONTENT_TYPE_LATEST

from lfmri_node.node import logs
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.monitor.metrics import Metrics
from lfmri_node.node.monitor.vitals import Report, Vitals, alive, ready

_MOST_AT_ONCE = 8
_REQUEST_S = 5.0
_JSON = "application/json"


class Monitor:
    """Answers while the ``with`` block lasts; nothing at all where no port is configured.

    Raises
    ------
    JobError
        LF-OPS-001 where the port cannot be used.
    """

    def __init__(self, config: Config, vitals: Vitals, *, version: str) -> None:
        self._config = config
        self._table = databases_of(config).table
        self._vitals = vitals
        self._metrics = Metrics(config, vitals, version=version)
        self._server: _Server | None = None

    def page(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body of a path."""
        floor_gb = self._config.listener.free_space_floor_gb
        if path == "/healthz":
            return _answer(alive(self._vitals, self._table))
        if path == "/readyz":
            return _answer(ready(self._vitals, self._table, self._config.node.data_dir, floor_gb=floor_gb))
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, self._metrics.text()
        return HTTPStatus.NOT_FOUND, "text/plain", b"/healthz /readyz /metrics\n"

    def __enter__(self) -> Monitor:
        section = self._config.monitor
        if section.port is None:
            return self
        self._metrics.begin()
        try:
            self._server = _Server((section.host, section.port), self)
        except OSError as error:
            raise JobError(
                "LF-OPS-001",
                f"port {section.port} of monitor cannot be used ({error.strerror})",
                "stop what uses it, or change monitor.port",
            ) from None
        threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True).start()
        logs.event("monitor.ready", host=section.host, port=self._server.server_port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Refuses whoever comes while `_MOST_AT_ONCE` are answered: a probe asks again."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], monitor: Monitor) -> None:
        self.monitor = monitor
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address) -> None:  # type: ignore[no-untyped-def]
        cut = threading.Timer(_REQUEST_S, _cut_off, (request,))
        cut.daemon = True
        cut.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut.cancel()
            self._places.release()


def _cut_off(connection: socket.socket) -> None:
    """End a connection whose time is up, whatever it drips."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "lfmri-node", ""

    def do_GET(self) -> None:
        status, kind, body = self.server.monitor.page(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: probes come every few seconds."""


def _answer(report: Report) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.OK if report.good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _JSON, json.dumps(report.document()).encode("utf-8") + b"\n"
