"""The few bytes of the upper layer protocol (PS3.8 9.3) that are handled before pynetdicom sees them."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

PDU_HEADER = struct.Struct(">BxL")
"""PDU type, reserved byte, length of what follows (PS3.8 9.3.1)."""

A_ASSOCIATE_RQ = 0x01
LOCAL_LIMIT_EXCEEDED = bytes.fromhex("03000000000400020302")
"""A-ASSOCIATE-RJ: rejected-transient, presentation related, local-limit-exceeded (PS3.8 table 9-21)."""

ABORT = bytes.fromhex("07000000000400000000")
"""A-ABORT of the service-user (PS3.8 table 9-26)."""


class BoundedSocket(socket.socket):
    """An accepted connection that breaks when a PDU states a length above ``longest`` bytes.

    pynetdicom collects whatever length a PDU states, up to 4 GiB, before it looks at it.

    Raises
    ------
    ConnectionError
        From `recv`, as soon as such a length has been read; pynetdicom takes it as a closed connection.
    """

    def __init__(self, connection: socket.socket, longest: int) -> None:
        super().__init__(fileno=connection.detach())
        self._longest = longest
        self._header = bytearray()
        self._left = 0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        if not flags & socket.MSG_PEEK:
            self._follow(data)
        return data

    def _follow(self, data: bytes) -> None:
        """Keep track of where in which PDU the connection is."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
            else:
                step = min(PDU_HEADER.size - len(self._header), len(data) - at)
                self._header += data[at : at + step]
                if len(self._header) == PDU_HEADER.size:
                    _, self._left = PDU_HEADER.unpack(self._header)
                    self._header.clear()
                    if self._left > self._longest:
                        raise ConnectionAbortedError("a PDU is longer than what was agreed")
            at += step


def end_connection(connection: socket.socket, last_words: bytes = ABORT) -> None:
    """Send a last PDU, if that is possible at once, and shut the connection down in both directions."""
    with suppress(OSError):
        connection.send(last_words, socket.MSG_DONTWAIT)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
