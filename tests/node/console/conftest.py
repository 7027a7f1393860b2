"""The console as a process of its own over the data directory of a node, and forms as browsers send them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest


@dataclass
class Answer:
    """Status, headers and body of one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @classmethod
    def read(cls, response: HTTPResponse) -> Answer:
        return cls(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


@dataclass
class Console:
    """A running console."""

    port: int
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request(method, path, body or None, headers)
            return Answer.read(connection.getresponse())
        finally:
            connection.close()

    def token(self, page: str = "/destinations") -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.ask(page).text)
        assert found is not None
        return found[1]

    def submit(self, path: str, page: str = "/destinations") -> Answer:
        """Send a form as a browser does that has loaded ``page``."""
        body = urlencode({"token": self.token(page)})
        return self.ask(path, "POST", body, Origin=f"http://{self.host}")


@pytest.fixture
def start_console() -> Iterator[Callable[[Path], Console]]:
    """``start_console(config)``: `lfmri-node console` of that file, once it says where it is."""
    with ExitStack() as stack:

        def start(config: Path) -> Console:
            command = [sys.executable, "-m", "lfmri_node.node.cli", "console", "--config", str(config)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith(("console: http://", "console: https://")), said
            port = urlsplit(said.split()[1].rstrip(",")).port
            return Console(port or 0, process)

        yield start
