"""The door for MRD streams: TCP, one connection a measurement, callers by address, everything bounded.

The sender hears one text, JSON, and the close: what became of its measurement. A job in it is the node's
promise, as 0x0000 is that of a C-STORE; before that the stream is on disk, converted, kept in the spool and
in the job table. A stream without its close message is never acknowledged.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import BinaryIO, cast

from lfmri_node.dicom_io.receive.policy import lies_in
from lfmri_node.dicom_io.receive.tally import Tally
from lfmri_node.dicom_io.tls import FreshContext, ServerTls, reason_of
from lfmri_node.node import logs
from lfmri_node.node.doors.frames import Read, text_message
from lfmri_node.node.doors.intake import Intake, Taken, is_death
from lfmri_node.node.doors.port import Port
from lfmri_node.node.doors.streams import Streams
from lfmri_node.node.errors import DoorError

_BUFFER_BYTES = 1 << 20
_MOST_TRIES = 3
_AGAIN_S = 30.0
_FAREWELL_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who may stream: the AE title that stands for it in this node, and where it comes from."""

    ae_title: str
    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class MrdSettings:
    """What the door needs to know.

    Parameters
    ----------
    callers
        The first whose network holds an address names it; without any nobody is let in.
    max_connections, max_per_address
        At once.
    header_s
        Longest time from the connection to the end of the ISMRMRD header's message.
    silence_s
        Longest wait for the next bytes.
    stream_s
        Longest time from the connection to the close message.
    tls
        How connections are secured; None for in the clear.
    """

    host: str
    port: int
    callers: tuple[Caller, ...]
    max_connections: int
    max_per_address: int
    header_s: float
    silence_s: float
    stream_s: float
    tls: ServerTls | None = None

    def named(self, address: str) -> str | None:
        """AE title of an address; None where nobody may call from it."""
        fitting = (caller.ae_title for caller in self.callers if lies_in(address, [caller.network]))
        return next(fitting, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Settings that can take effect, with the port that they are for; None: nobody is let in."""

    settings: MrdSettings
    port: Port | None
    tls: FreshContext | None


class MrdDoor:
    """Receives, hands over, answers; a thread a connection.

    Parameters
    ----------
    settings
        In effect from the first `carry_out`; a connection keeps those that it came under.
    images
        Gives the messages of the images that a sender asked for, in pieces, once they are there.
    stopped
        Set when nobody is let in any more; nobody waits for images from then on.
    """

    def __init__(
        self,
        settings: MrdSettings,
        *,
        streams: Streams,
        intake: Intake,
        images: Callable[[Taken], Iterator[bytes]],
        stopped: threading.Event,
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._intake = intake
        self._images = images
        self._tally = Tally()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._threads: list[threading.Thread] = []
        self._left: set[Path] = set()
        self._stopped = stopped
        self._port: Port | None = None

    def counts(self) -> Mapping[str, int]:
        """How often each code was given for a stream that was not taken."""
        return self._tally.counts()

    def start(self) -> None:
        """Take in what a killed node had received whole."""
        self._left = set(self._streams.complete())
        self._start_thread("mrd-left", self._take_left)

    def prepare(self, settings: MrdSettings) -> Change:
        """Open what other settings need; they are in effect after `carry_out`, or it is closed by `give_up`.

        Raises
        ------
        OSError
            The port cannot be used.
        TlsError
            LF-NET-043 a file of ``settings.tls`` cannot be used.
        """
        if not settings.callers:
            return Change(settings=settings, port=None, tls=None)
        tls = FreshContext(settings.tls) if settings.tls is not None else None
        port = self._port
        if port is None or port.where != (settings.host, settings.port):
            port = Port(settings.host, settings.port, tls)
        return Change(settings=settings, port=port, tls=tls)

    def give_up(self, change: Change) -> None:
        """Forget settings that are not to take effect."""
        if change.port is not None and change.port is not self._port:
            change.port.close()

    def carry_out(self, change: Change) -> None:
        """Have settings take effect for who calls from now on; streams that are coming in go on."""
        former, self._port = self._port, change.port
        self._settings = change.settings
        if change.port is not None:
            change.port.tls = change.tls
        if former is change.port:
            return
        if former is not None:
            former.close()
            logs.event("mrd.closed")
        if change.port is not None:
            change.port.start(self._let_in, self._tally.tell)
            logs.event("mrd.ready", port=change.port.number)

    def _start_thread(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def stop(self) -> None:
        """Let nobody in any more, and wait for the streams that are coming in: `end` cuts them off."""
        self._stopped.set()
        if self._port is not None:
            self._port.close()
        for thread in list(self._threads):
            thread.join()
        self._tally.tell(now=True)

    def end(self) -> None:
        """Cut off what is still coming in; it is kept as incomplete."""
        with self._lock:
            for connection in self._open:
                _shut(connection)

    def _let_in(self, connection: socket.socket, host: str) -> None:
        settings = self._settings
        ae_title = settings.named(host)
        with self._lock:
            held = Counter(self._open.values())
            full = len(self._open) >= settings.max_connections or held[host] >= settings.max_per_address
            if ae_title is not None and not full:
                self._open[connection] = host
        if ae_title is None:
            self._tally.note("LF-DOR-010", "stream refused, nobody may call from this address", host)
            connection.close()
        elif full:
            self._tally.note("LF-DOR-011", "stream refused, too many at once", host)
            with connection:
                if not isinstance(connection, ssl.SSLSocket):  # a handshake is worth no wait here
                    _say(connection, _error_document(_too_many()))
        else:
            self._start_thread("mrd-stream", lambda: self._serve(connection, host, ae_title, settings))

    def _serve(self, connection: socket.socket, host: str, ae_title: str, settings: MrdSettings) -> None:
        """One connection, from its first byte to the answer."""
        try:
            connection.settimeout(settings.silence_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(connection, ssl.SSLSocket) and not self._shaken(connection, host, settings):
                return
            with connection.makefile("rb", buffering=_BUFFER_BYTES) as stream:
                path = self._received(connection, cast(BinaryIO, stream), host, ae_title, settings)
                if path is None:
                    return
                taken = self._taken(path, ae_title, host)
                if isinstance(taken, DoorError):
                    _say(connection, _error_document(taken))
                    return
                for piece in self._images(taken) if taken.images else ():
                    connection.sendall(piece)
                _say(connection, _taken_document(taken))
        except OSError:  # the sender is gone: its measurement is a job all the same
            self._tally.note("LF-DOR-012", "the sender of a stream left before it was answered", host)
        finally:
            with self._lock:
                del self._open[connection]
            _close(connection)

    def _shaken(self, connection: ssl.SSLSocket, host: str, settings: MrdSettings) -> bool:
        """Whether the sender has shown what is asked for, in time."""
        try:
            with _deadline(connection, settings.header_s):
                connection.do_handshake()
        except OSError as error:
            why = reason_of(error) if isinstance(error, ssl.SSLError) else "connection ended"
            self._tally.note("LF-DOR-013", f"stream refused, no TLS handshake, {why}", host)
            return False
        return True

    def _received(
        self, connection: socket.socket, stream: BinaryIO, host: str, ae_title: str, settings: MrdSettings
    ) -> Path | None:
        try:
            with _deadline(connection, settings.stream_s), _deadline(connection, settings.header_s) as header:
                return self._streams.receive(_reader(stream), ae_title, header.cancel)
        except DoorError as error:
            self._tally.note(error.code, f"stream not taken, {error.message}", host, f"{ae_title} at {host}")
            with suppress(OSError):
                _say(connection, _error_document(error))
            return None

    def _taken(self, path: Path, ae_title: str, host: str) -> Taken | DoorError:
        """Make a job of a complete stream; what cannot become one now waits, or is put aside."""
        try:
            taken = self._intake.take("stream", str(path), path.stat().st_size, ae_title)
        except DoorError as error:
            self._tally.note(error.code, f"stream not taken, {error.message}", host)
            if error.passing and not (is_death(error) and self._streams.count_try(path) >= _MOST_TRIES):
                self._left.add(path)
            else:
                self._streams.refuse(path, error)
            return error
        self._streams.forget_beginnings(path)
        self._streams.remove(path)
        return taken

    def _take_left(self) -> None:
        """Take in complete streams that are no job yet: from an earlier run, or for want of room."""
        while True:
            for path in sorted(self._left):
                if self._stopped.is_set():
                    return
                self._left.discard(path)
                self._taken(path, self._streams.note_of(path).ae_title, "an earlier run")
            if self._stopped.wait(_AGAIN_S):
                return


def _reader(stream: BinaryIO) -> Read:
    """Reads whole; a connection that broke or was silent for too long has ended."""

    def read(n_bytes: int) -> bytes:
        try:
            return stream.read(n_bytes)
        except OSError:
            return b""

    return read


@contextmanager
def _deadline(connection: socket.socket, seconds: float) -> Iterator[threading.Timer]:
    """Shut a connection that is not done with the block in time, unless the timer is cancelled."""
    timer = threading.Timer(seconds, _shut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()


def _shut(connection: socket.socket) -> None:
    """End what comes in; what goes out may still be said."""
    with suppress(OSError):  # of the socket itself: that of TLS would forget the session
        socket.socket.shutdown(connection, socket.SHUT_RD)


def _close(connection: socket.socket) -> None:
    """Say over TLS that nothing more comes, and close."""
    if isinstance(connection, ssl.SSLSocket):
        with suppress(OSError, ValueError):  # gone, or never shaken hands
            connection.settimeout(_FAREWELL_S)
            connection.unwrap()
    connection.close()


def _say(connection: socket.socket, document: dict[str, object]) -> None:
    connection.sendall(text_message(json.dumps(document)))


def _name(taken: Taken) -> str | None:
    return None if taken.job is None else taken.job.name


def _taken_document(taken: Taken) -> dict[str, object]:
    return {"job": _name(taken), "held": bool(taken.missing), "missing": list(taken.missing)}


def _error_document(error: DoorError) -> dict[str, object]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def _too_many() -> DoorError:
    return DoorError(
        "LF-DOR-011",
        "too many streams at once",
        "send again later, or raise mrd.max_connections or mrd.max_per_address",
    )
