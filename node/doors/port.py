"""A port that is listened on, in the clear or over TLS; who calls is handed over, one after the other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from lfmri_node.dicom_io.tls import FreshContext

_ACCEPT_S = 0.5
_BACKLOG = 16

Caller = Callable[[socket.socket, str], None]


class Port:
    """Listens from when it is made; `start` begins to let callers in.

    Parameters
    ----------
    host, port
        Of ours; port 0 for any that is free.
    tls
        How connections are secured; None for in the clear. May be replaced at any time, for those to come.

    Raises
    ------
    OSError
        The port cannot be used.
    """

    def __init__(self, host: str, port: int, tls: FreshContext | None) -> None:
        self.where = (host, port)
        self.tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listening.settimeout(_ACCEPT_S)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def number(self) -> int:
        """The port; needed when 0 was asked for."""
        return int(self._listening.getsockname()[1])

    def start(self, called: Caller, looked: Callable[[], None]) -> None:
        """Hand every connection, before its handshake, and the caller's address over; in a thread.

        Parameters
        ----------
        looked
            Called now and then.
        """
        self._thread = threading.Thread(
            target=self._accept, args=(called, looked), name="mrd-door", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more; connections that were handed over go on."""
        self._closed.set()
        with suppress(OSError):  # wakes the thread, which else would hold the port for a moment
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        if self._thread is not None:
            self._thread.join()

    def _accept(self, called: Caller, looked: Callable[[], None]) -> None:
        while not self._closed.is_set():
            looked()
            try:
                connection, address = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                if not self._closed.wait(_ACCEPT_S):  # no file descriptor is left
                    continue
                return
            try:
                ours = self._wrapped(connection)
            except OSError:  # gone again
                connection.close()
                continue
            called(ours, str(address[0]))

    def _wrapped(self, connection: socket.socket) -> socket.socket:
        """The connection, secured once its thread has shaken hands."""
        if self.tls is None:
            return connection
        context = self.tls.current()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
