"""The trail on its way to an audit repository: syslog over TLS (RFC 5424, 5425), behind the files.

The files are the queue: a place in them says what the repository has. It moves on when the repository's
machine has acknowledged the bytes and the connection still stands; so an event may come twice, and is lost
only where that machine takes bytes and then dies, which syslog cannot tell.
"""

from __future__ import annotations

import fcntl
import json
import logging
import socket
import ssl
import struct
import termios
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lfmri_node.dicom_io.errors import TlsError
from lfmri_node.dicom_io.tls import ClientTls, reason_of
from lfmri_node.node import logs
from lfmri_node.node.audit.trail import lines_after
from lfmri_node.node.audit.xml import to_xml
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.files import write_text

_PRIORITY = 85  # facility 10 security/authorization, severity 5 notice (PS3.15 A.6)
_MESSAGE_ID = "DICOM+RFC3881"
_BOM = b"\xef\xbb\xbf"
_BATCH = 50
_LOOK_S = 1.0
_ACKNOWLEDGED_S = 0.01
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where audit messages go."""

    host: str
    port: int
    tls: ClientTls


class Forwarder:
    """Sends what the files hold and the repository has not, in a thread; nobody ever waits for it.

    Parameters
    ----------
    backoff
        Between two tries to connect.
    """

    def __init__(self, folder: Path, repository: Repository, backoff: Backoff) -> None:
        self._folder = folder
        self._repository = repository
        self._backoff = backoff
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._connection: ssl.SSLSocket | None = None
        self._in_vain = 0

    def __enter__(self) -> Forwarder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_LOOK_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                moved = self._send_some()
                self._in_vain = 0
            except (OSError, TlsError) as error:
                self._hang_up()
                self._in_vain += 1
                self._say(error)
                self._stop.wait(self._backoff.delay_s(self._in_vain))
            else:
                if not moved:
                    self._stop.wait(_LOOK_S)
        self._hang_up()

    def _send_some(self) -> bool:
        """Send the next lines, and move on in the files; False where there are none."""
        name, offset = self._place()
        batch = list(islice(lines_after(self._folder, name, offset), _BATCH))
        if not batch:
            return False
        connection = self._connection or self._connect()
        for _, _, line in batch:
            connection.sendall(frame(to_xml(json.loads(line)), socket.gethostname()))
        _await_acknowledgement(connection)
        name, offset, _ = batch[-1]
        write_text(self._marker, json.dumps({"file": name, "offset": offset}))
        return True

    def _connect(self) -> ssl.SSLSocket:
        repository = self._repository
        plain = socket.create_connection((repository.host, repository.port), timeout=_TIMEOUT_S)
        self._connection = repository.tls.context().wrap_socket(plain, server_hostname=repository.host)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _marker(self) -> Path:
        return self._folder / "sent.json"

    def _place(self) -> tuple[str, int]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(self._marker.read_bytes())
            return str(said["file"]), int(said["offset"])
        return "", 0

    def _say(self, error: OSError | TlsError) -> None:
        if self._in_vain > 1:
            return
        why = error.message if isinstance(error, TlsError) else _words(error)
        logs.event("audit.unsent", level=logging.WARNING, code="LF-AUD-002", message=why)


def frame(message: bytes, host: str) -> bytes:
    """One syslog message with its length before it (RFC 5425 4.3.1)."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    head = f"<{_PRIORITY}>1 {now} {host or '-'} lfmri-node - {_MESSAGE_ID} - ".encode("ascii", "replace")
    content = head + _BOM + message
    return str(len(content)).encode("ascii") + b" " + content


def _await_acknowledgement(connection: ssl.SSLSocket) -> None:
    """Return when the peer's TCP has all bytes and it has not hung up (tcp(7), SIOCOUTQ)."""
    end = time.monotonic() + _TIMEOUT_S
    while struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]:
        if time.monotonic() > end:
            raise TimeoutError("no acknowledgement in time")
        time.sleep(_ACKNOWLEDGED_S)
    connection.settimeout(0.0)
    try:
        if not connection.recv(1):
            raise ConnectionResetError("the repository has hung up")
    except (ssl.SSLWantReadError, BlockingIOError):
        pass
    finally:
        connection.settimeout(_TIMEOUT_S)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return reason_of(error)
    return error.strerror or type(error).__name__
