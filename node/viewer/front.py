"""One loopback address for OHIF and for Orthanc's DICOMweb behind it.

The browser sees one origin: it needs no password and no leave to ask another host. Only GET and HEAD of
DICOMweb pass, so that nothing in a page can change the PACS. Only requests that name this address as their
host are answered: a page of another name that resolves to loopback reads nothing (DNS rebinding).
"""

from __future__ import annotations

import json
import shutil
import threading
from base64 import b64encode
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

PROXIED = ("/dicom-web/", "/wado")
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ASKED = ("Accept", "Range", "If-None-Match")
_ANSWERED = ("Content-Type", "Content-Length", "Content-Range", "ETag", "Last-Modified")
_TIMEOUT_S = 120.0
_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "orthanc",
    "configuration": {
        "friendlyName": "lfmri-node",
        "name": "orthanc",
        "wadoUriRoot": "/wado",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "supportsReject": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "dicomUploadEnabled": False,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    },
}
SETTINGS = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "customizationService": {"ohif.tours": {"$set": []}},
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "showCPUFallbackMessage": False,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "orthanc",
    "dataSources": [_SOURCE],
}
"""OHIF's own configuration, ``app-config.js``."""


class Front:
    """Serves ``files`` and the DICOMweb of the Orthanc at ``127.0.0.1:orthanc_port`` until it is left.

    Port 0 takes a free one. Raises OSError where the port is taken.
    """

    def __init__(self, files: Path, orthanc_port: int, login: str, port: int = 0) -> None:
        handler = partial(_Handler, directory=str(files), orthanc_port=orthanc_port, login=login)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def study_url(self, study_instance_uid: str) -> str:
        """Where the viewer shows a study."""
        return f"{self.url}/viewer?StudyInstanceUIDs={study_instance_uid}"

    def __enter__(self) -> Front:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, orthanc_port: int, login: str, **kwargs: Any) -> None:
        self._orthanc_port, self._login = orthanc_port, login
        super().__init__(*args, **kwargs)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: paths hold UIDs of patients' studies."""

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:
        self._answer(super().do_HEAD)

    def _answer(self, file: Any) -> None:
        own = self.connection.getsockname()[1]
        if self.headers.get("Host") not in (f"127.0.0.1:{own}", f"localhost:{own}"):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif self.path.startswith(PROXIED):
            self._pass_on()
        elif self.path == "/app-config.js":
            self._send(f"window.config = {json.dumps(SETTINGS)};".encode(), "text/javascript")
        else:
            if not Path(self.translate_path(self.path)).is_file():
                self.path = "/index.html"  # a page of the application, not a file
            file()

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pass_on(self) -> None:
        headers = {name: self.headers[name] for name in _ASKED if name in self.headers}
        headers["Host"] = self.headers["Host"]  # Orthanc makes addresses of bulk data from it
        headers["Authorization"] = "Basic " + b64encode(self._login.encode()).decode()
        upstream = HTTPConnection("127.0.0.1", self._orthanc_port, timeout=_TIMEOUT_S)
        try:
            upstream.request(self.command, self.path, headers=headers)
            answer = upstream.getresponse()
        except (OSError, HTTPException):
            self.send_error(HTTPStatus.BAD_GATEWAY)
            return
        with answer:
            self.send_response(answer.status)
            for name in _ANSWERED:
                if (value := answer.getheader(name)) is not None:
                    self.send_header(name, value)
            if answer.getheader("Content-Length") is None:
                self.close_connection = True
                self.send_header("Connection", "close")
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)
        upstream.close()
