"""Who comes in: connections are counted, timed and chosen here before they cost a thread.

A connection waits in one thread until its association request (A-ASSOCIATE-RQ) has come completely;
the request stays in the kernel's buffer meanwhile. Only then pynetdicom gets the connection and one of
the places for associations. So silent connections, port scans and half requests take nothing from
those who talk, and what is read of a request is bounded before it is read.

Under TLS the handshake is part of the wait: it goes on a step whenever something has come, so that half a
handshake costs a place among those who wait, as half a request does, and no thread.
"""

from __future__ import annotations

import math
import selectors
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer

from lfmri_node.dicom_io.libraries import MAXIMUM_PDU_BYTES
from lfmri_node.dicom_io.receive.tally import Tally
from lfmri_node.dicom_io.receive.wire import (
    A_ASSOCIATE_RQ,
    LOCAL_LIMIT_EXCEEDED,
    PDU_HEADER,
    BoundedSocket,
    TlsSocket,
    end_connection,
)
from lfmri_node.dicom_io.tls import FreshContext, reason_of

_MAX_WAITING = 256
_BACKLOG = 128
_LOOK_AGAIN_S = 0.02
_TELL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRules:
    """Places, and how long somebody may keep others waiting.

    Parameters
    ----------
    max_associations, max_per_address
        Associations at once: of all callers, and of one address.
    request_timeout_s
        Longest time from the connection to the end of the association request, and to a place.
    give_way_s
        Where no place is free, the association that has done nothing for the longest time, and for
        at least so long, is aborted in favour of one that waits.
    """

    max_associations: int
    max_per_address: int
    request_timeout_s: float
    give_way_s: float


@dataclass(slots=True, kw_only=True, eq=False)
class _Visitor:
    """A connection without association; ``needed`` bytes of its request are waited for."""

    connection: BoundedSocket | TlsSocket
    host: str
    address: tuple[str, int]
    since: float
    needed: int = 0
    complete: bool = False

    def wait_for(self, size: int) -> None:
        """Go on when so many bytes are there, or when no more will come."""
        self.needed = size
        self.connection.expect(size)


class Door:
    """Accepts connections and hands those over whose association request is complete.

    Parameters
    ----------
    server
        Listens on its socket; makes an association of a connection (`finish_request`).
    lets_in
        Whether anybody may call from an address.
    silence_s
        Seconds since an association last got on; None while it is being served.
    tally
        What is refused; told from here.
    tls
        Of the connections; None where they are in the clear.
    """

    def __init__(
        self,
        server: AssociationServer,
        rules: DoorRules,
        *,
        lets_in: Callable[[str], bool],
        silence_s: Callable[[Association], float | None],
        tally: Tally,
        tls: FreshContext | None = None,
    ) -> None:
        self._server = server
        self._rules = rules
        self._lets_in = lets_in
        self._silence_s = silence_s
        self._visitors: list[_Visitor] = []
        self._tally = tally
        self._tls = tls
        self._selector = selectors.DefaultSelector()
        self._bell, self._button = socket.socketpair()
        self._thread = threading.Thread(target=self._watch, name="door", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether somebody watches it."""
        return self._thread.is_alive()

    def open(self) -> None:
        """Begin to let callers in."""
        listening = self._server.socket
        assert listening is not None
        listening.setblocking(False)
        listening.listen(_BACKLOG)
        self._selector.register(listening, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        """Let nobody in any more; associations go on."""
        self._button.close()
        self._thread.join()
        for visitor in self._visitors:
            visitor.connection.close()
        self._selector.close()
        self._bell.close()

    def _watch(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._server.server_close()  # also after a defect: a closed port is noticed, a deaf one is not

    def _turn(self) -> bool:
        """Wait for something to happen, and see to it; False when the door is to be closed."""
        for key, _ in self._selector.select(self._patience_s()):
            if key.fileobj is self._bell:
                return False
            if key.data is None:
                self._accept()
            else:
                self._look(key.data)
        self._admit()
        self._send_away_overdue()
        self._tally.tell()
        return True

    def _note(self, code: str, message: str, address: str) -> None:
        self._tally.note(code, f"connection ended, {message}", address)

    def _patience_s(self) -> float:
        """Until somebody's time is up, or what was counted may be told; short where a place is waited for."""
        if any(visitor.complete for visitor in self._visitors):
            return _LOOK_AGAIN_S
        ends = [visitor.since + self._rules.request_timeout_s for visitor in self._visitors]
        return min(_TELL_S, max(0.0, min(ends, default=math.inf) - time.monotonic()))

    def _accept(self) -> None:
        try:
            connection, address = self._server.get_request()
        except OSError:  # gone again, or no file descriptor is left
            time.sleep(_LOOK_AGAIN_S)
            return
        if not self._lets_in(address[0]):
            self._note("LF-NET-006", "nobody may call from this address", address[0])
            connection.close()
            return
        if len(self._visitors) >= _MAX_WAITING:
            self._send_away(self._least_welcome())
        try:
            ours = self._wrapped(connection)
        except OSError:  # gone again
            connection.close()
            return
        visitor = _Visitor(connection=ours, host=address[0], address=address, since=time.monotonic())
        visitor.wait_for(PDU_HEADER.size)
        self._visitors.append(visitor)
        self._selector.register(ours, selectors.EVENT_READ, visitor)

    def _wrapped(self, connection: socket.socket) -> BoundedSocket | TlsSocket:
        if self._tls is None:
            return BoundedSocket(connection, MAXIMUM_PDU_BYTES)
        return TlsSocket.wrapped(connection, self._tls.current(), MAXIMUM_PDU_BYTES)

    def _least_welcome(self) -> _Visitor:
        """Who has waited for the longest time, of the address with the most visitors; silent ones first."""
        crowd = Counter(visitor.host for visitor in self._visitors)
        silent = [visitor for visitor in self._visitors if not visitor.complete]
        return min(silent or self._visitors, key=lambda visitor: (-crowd[visitor.host], visitor.since))

    def _look(self, visitor: _Visitor) -> None:
        """Something has come, or the end: is the request complete?"""
        if visitor not in self._visitors:
            return  # sent away a moment ago, to make room for another
        try:
            self._read(visitor)
        except ssl.SSLError as error:
            if not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                self._note("LF-NET-041", f"no TLS handshake, {reason_of(error)}", visitor.host)
            self._forget(visitor)
        except OSError:
            self._forget(visitor)

    def _read(self, visitor: _Visitor) -> None:
        """Go on as far as bytes have come; raises OSError where no more will."""
        came = visitor.connection.glance(visitor.needed)
        if came is None:
            self._selector.modify(visitor.connection, visitor.connection.awaits, visitor)
            return
        if visitor.needed == PDU_HEADER.size:
            kind, length = PDU_HEADER.unpack(came)
            if kind != A_ASSOCIATE_RQ or length > MAXIMUM_PDU_BYTES:
                self._note("LF-NET-007", "what came is no association request", visitor.host)
                self._forget(visitor)
                return
            visitor.wait_for(PDU_HEADER.size + length)
            if length and visitor.connection.pending():
                self._read(visitor)
            if length:
                return
        visitor.complete = True
        self._selector.unregister(visitor.connection)

    def _admit(self) -> None:
        """Give places to those who wait: first to the address with the fewest, there to the newest."""
        waiting = [visitor for visitor in self._visitors if visitor.complete]
        while waiting:
            present = self._server.active_associations
            held = Counter(association.requestor.address for association in present)
            waiting.sort(key=lambda visitor: (held[visitor.host], -visitor.since))
            visitor = waiting.pop(0)
            if held[visitor.host] >= self._rules.max_per_address:
                self._make_way([a for a in present if a.requestor.address == visitor.host])
            elif len(present) >= self._rules.max_associations:
                self._make_way(present)
            else:
                self._hand_over(visitor)

    def _make_way(self, present: list[Association]) -> None:
        """End the association that has been silent for the longest time, if that is long enough."""
        silent = [(s, a) for a in present if (s := self._silence_s(a)) is not None]
        longest, association = max(silent, key=lambda pair: pair[0], default=(0.0, None))
        if association is not None and longest >= self._rules.give_way_s:
            self._note("LF-NET-008", "a silent association made way", association.requestor.address)
            end_association(association)

    def _hand_over(self, visitor: _Visitor) -> None:
        self._visitors.remove(visitor)
        try:
            visitor.connection.leave()
            self._server.finish_request(visitor.connection, visitor.address)
        except (OSError, RuntimeError):  # RuntimeError: no thread can be started
            visitor.connection.close()

    def _send_away_overdue(self) -> None:
        limit = time.monotonic() - self._rules.request_timeout_s
        for visitor in [visitor for visitor in self._visitors if visitor.since <= limit]:
            self._send_away(visitor)

    def _send_away(self, visitor: _Visitor) -> None:
        """Reject a complete request; close a connection that has not come so far."""
        if visitor.complete:
            self._note("LF-NET-004", "too many associations at once", visitor.host)
            visitor.connection.reject(LOCAL_LIMIT_EXCEEDED, MAXIMUM_PDU_BYTES + PDU_HEADER.size)
        else:
            self._note("LF-NET-009", "no association request came in time", visitor.host)
        self._forget(visitor)

    def _forget(self, visitor: _Visitor) -> None:
        self._visitors.remove(visitor)
        if not visitor.complete:
            self._selector.unregister(visitor.connection)
        visitor.connection.close()


def end_association(association: Association) -> None:
    """End an association now, also one whose thread waits for bytes in the middle of a PDU."""
    transport = association.dul.socket
    connection = transport.socket if transport is not None else None
    if connection is not None:
        end_connection(connection)
