"""The few bytes of the upper layer protocol (PS3.8 9.3) that are handled before pynetdicom sees them."""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
from contextlib import suppress

PDU_HEADER = struct.Struct(">BxL")
"""PDU type, reserved byte, length of what follows (PS3.8 9.3.1)."""

A_ASSOCIATE_RQ = 0x01
LOCAL_LIMIT_EXCEEDED = bytes.fromhex("03000000000400020302")
"""A-ASSOCIATE-RJ: rejected-transient, presentation related, local-limit-exceeded (PS3.8 table 9-21)."""

ABORT = bytes.fromhex("07000000000400000000")
"""A-ABORT of the service-user (PS3.8 table 9-26)."""


class PduLengths:
    """Follows a stream of PDUs and breaks when one states a length above ``longest`` bytes.

    pynetdicom collects whatever length a PDU states, up to 4 GiB, before it looks at it.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._header = bytearray()
        self._left = 0

    def rest(self, size: int) -> int:
        """``size``, or what is left of the PDU that is being read where that is more."""
        return max(size, self._left)

    def follow(self, data: bytes) -> None:
        """Take the next bytes of the stream.

        Raises
        ------
        ConnectionError
            As soon as too great a length has been read; pynetdicom takes it as a closed connection.
        """
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


class BoundedSocket(socket.socket):
    """An accepted connection whose PDUs are bounded (`PduLengths`), and what the door asks of it.

    Where pynetdicom (3.0.4, `AssociationSocket.recv`) asks for 4 KiB of a PDU, again and again until it has
    all of it, it gets what is there of that PDU: a thirtieth of the calls.
    """

    awaits = selectors.EVENT_READ

    def __init__(self, connection: socket.socket, longest: int) -> None:
        super().__init__(fileno=connection.detach())
        self._lengths = PduLengths(longest)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if flags & socket.MSG_PEEK:
            return super().recv(bufsize, flags)
        data = super().recv(self._lengths.rest(bufsize), flags)
        self._lengths.follow(data)
        return data

    def pending(self) -> int:
        """Bytes that can be read though the kernel has none."""
        return 0

    def expect(self, size: int) -> None:
        """Be readable when so many bytes are there, or when no more will come (SO_RCVLOWAT, tcp(7))."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def glance(self, size: int) -> bytes | None:
        """The next bytes, which stay in the kernel's buffer.

        Raises
        ------
        OSError
            They will not come.
        """
        data = super().recv(size, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if len(data) < size:
            raise ConnectionResetError
        return data

    def leave(self) -> None:
        """The door is done with the connection."""
        self.expect(1)

    def reject(self, last_words: bytes, size: int) -> None:
        """Answer what was glanced at; with its ``size`` bytes unread the answer would be lost in a reset."""
        with suppress(OSError):
            self.recv(size, socket.MSG_DONTWAIT)
        end_connection(self, last_words)


class TlsSocket(ssl.SSLSocket):
    """The same under TLS: made by an `ssl.SSLContext` (`wrapped`), not blocking until `leave`.

    Handshake and request are read while the door looks, as far as they have come; what the door has read
    is kept for who reads next.
    """

    awaits = selectors.EVENT_READ
    _lengths: PduLengths
    _greeted = False
    _read = b""

    @classmethod
    def wrapped(cls, connection: socket.socket, context: ssl.SSLContext, longest: int) -> TlsSocket:
        """An accepted connection with the handshake before it.

        Raises
        ------
        OSError
            The caller has gone already.
        """
        connection.setblocking(False)
        context.sslsocket_class = cls
        wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        assert isinstance(wrapped, cls)
        wrapped._lengths = PduLengths(longest)
        return wrapped

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        data, self._read = self._read[:buflen], self._read[buflen:]
        if not data:
            data = super().recv(self._lengths.rest(buflen), flags)
        self._lengths.follow(data)
        return data

    def pending(self) -> int:
        """Bytes that can be read though the kernel has none; pynetdicom asks before it waits."""
        return len(self._read) + super().pending()

    def shutdown(self, how: int) -> None:
        """End the connection below TLS: what another thread still sends must not go out in the clear."""
        socket.socket.shutdown(self, how)

    def expect(self, size: int) -> None:
        """Nothing to prepare: TLS has no low-water mark."""

    def glance(self, size: int) -> bytes | None:
        """The next bytes, None where they have not all come yet; ``awaits`` says what is waited for.

        Raises
        ------
        OSError
            They will not come, or the handshake failed (`ssl.SSLError`).
        """
        self.awaits = selectors.EVENT_READ
        try:
            if not self._greeted:
                self.do_handshake()
                self._greeted = True
            while len(self._read) < size:
                piece = super().recv(size - len(self._read))
                if not piece:
                    raise ConnectionResetError
                self._read += piece
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLWantWriteError:
            self.awaits = selectors.EVENT_WRITE
            return None
        return self._read

    def leave(self) -> None:
        """The door is done with the connection."""
        self.setblocking(True)

    def reject(self, last_words: bytes, size: int) -> None:
        """Answer what was glanced at."""
        with suppress(OSError):
            self.send(last_words)
        end_connection(self)


def end_connection(connection: socket.socket, last_words: bytes = ABORT) -> None:
    """Send a last PDU, if that is possible at once, and shut the connection down in both directions.

    Under TLS nothing is sent: another thread may be reading, and one connection of OpenSSL is for one thread.
    """
    if not isinstance(connection, ssl.SSLSocket):
        with suppress(OSError):
            connection.send(last_words, socket.MSG_DONTWAIT)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
