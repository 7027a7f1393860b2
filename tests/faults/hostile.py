"""Connections that mean no good, each written byte by byte; see `test_hostile.py`.

An attack is a function of a connected socket and of an event that ends it. It calls ``in_place`` when it
has done what it does. That the node ends the connection, at any point, is no failure.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from time import monotonic

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RawDataStorage
from pynetdicom.dsutils import decode, encode

N_CONNECTIONS = 64
UID = "2.25.4711"
_PATIENCE_S = 60.0
_PAUSE_S = 2.0
_PLACED_S = 10.0
_US_ELEMENT = [("group", "<u2"), ("element", "<u2"), ("vr", "S2"), ("length", "<u2"), ("value", "<u2")]
"""Explicit VR Little Endian (PS3.5 7.1.2)."""

Attack = Callable[[socket.socket, threading.Event, Callable[[], None]], None]


def pdu(kind: int, content: bytes, *, length: int | None = None) -> bytes:
    """PS3.8 9.3.1; ``length`` where it is to lie."""
    return struct.pack(">BxI", kind, len(content) if length is None else length) + content


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def associate_request(calling: str = "GATEWAY", called: str = "LFMRI") -> bytes:
    """A-ASSOCIATE-RQ for Raw Data Storage in Explicit VR Little Endian (PS3.8 9.3.2)."""
    syntaxes = _item(0x30, RawDataStorage.encode()) + _item(0x40, ExplicitVRLittleEndian.encode())
    context = _item(0x20, b"\x01\0\0\0" + syntaxes)
    user = _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"2.25.815"))
    names = called.ljust(16).encode() + calling.ljust(16).encode()
    application = _item(0x10, b"1.2.840.10008.3.1.1.1")
    return pdu(1, b"\0\x01\0\0" + names + bytes(32) + application + context + user)


def store_request(*, uid: str = UID, data_set: bool = True) -> bytes:
    """C-STORE-RQ as a P-DATA-TF (PS3.7 9.3.1); without data set the request says so."""
    command = Dataset()
    command.AffectedSOPClassUID = RawDataStorage
    command.CommandField = 0x0001
    command.MessageID = 1
    command.Priority = 0
    command.CommandDataSetType = 0x0001 if data_set else 0x0101
    command.AffectedSOPInstanceUID = uid
    encoded = encode(command, True, True)
    assert encoded is not None
    body = Dataset()
    body.CommandGroupLength = len(encoded)
    head = encode(body, True, True)
    assert head is not None
    return fragment(head + encoded, control=0x03)


def fragment(content: bytes, *, control: int) -> bytes:
    """One P-DATA-TF with one fragment: control 1 command, 2 last (PS3.8 9.3.5, annex E.2)."""
    return pdu(4, struct.pack(">IBB", len(content) + 2, 1, control) + content)


def established(connection: socket.socket) -> bool:
    """Ask for an association; whether it was accepted."""
    connection.sendall(associate_request())
    return read_pdu(connection)[0] == 2


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Kind and content of the next PDU; kind 0 where the connection has ended."""
    head = _exactly(connection, 6)
    if len(head) < 6:
        return 0, b""
    return head[0], _exactly(connection, struct.unpack(">I", head[2:])[0])


def read_status(connection: socket.socket) -> int | None:
    """Status of the answer that comes next; None where something else comes."""
    kind, content = read_pdu(connection)
    if kind != 4:
        return None
    return int(decode(BytesIO(content[6:]), True, True).Status)


def _exactly(connection: socket.socket, n_bytes: int) -> bytes:
    got = bytearray()
    while len(got) < n_bytes and (piece := connection.recv(n_bytes - len(got))):
        got += piece
    return bytes(got)


def silent(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """Nothing is said."""
    in_place()
    over.wait()


def drip(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """A byte every few seconds."""
    for byte in associate_request():
        connection.sendall(bytes([byte]))
        in_place()
        if over.wait(_PAUSE_S):
            return


def port_scan(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """Connected and closed at once."""
    connection.close()
    in_place()


def giant_pdu(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """An A-ASSOCIATE-RQ of declared 4 GiB, of which 16 MiB come."""
    in_place()
    connection.sendall(pdu(1, b"", length=0xFFFFFFFF))
    for _ in range(256):
        connection.sendall(bytes(1 << 16))
    over.wait()


def half_request(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """Half an A-ASSOCIATE-RQ, then silence."""
    request = associate_request()
    connection.sendall(request[: len(request) // 2])
    in_place()
    over.wait()


def idle(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """An association that is never used."""
    established(connection)
    in_place()
    over.wait()


def many_elements(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """A data set of a million small elements before any that matters: 10 MB."""
    in_place()
    if not established(connection):
        return
    connection.sendall(store_request() + _a_million_elements())
    over.wait()


@cache
def _a_million_elements() -> bytes:
    pieces = (fragment(_elements(first, 1600), control=0x00) for first in range(0, 1_000_000, 1600))
    return b"".join((*pieces, fragment(b"", control=0x02)))


def _elements(first: int, n_elements: int) -> bytes:
    """Private elements of two bytes in ascending order, in as many odd groups as they need."""
    numbers = np.arange(first, first + n_elements)
    elements = np.zeros(n_elements, dtype=_US_ELEMENT)
    elements["group"] = 0x0009 + 2 * (numbers // 0xE000)
    elements["element"] = 0x1000 + numbers % 0xE000
    elements["vr"], elements["length"] = b"US", 2
    return elements.tobytes()


def endless(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """A data set of which a little comes every few seconds, and never the end."""
    if established(connection):
        connection.sendall(store_request())
        in_place()
        first = 0
        while not over.wait(_PAUSE_S):
            connection.sendall(fragment(_elements(first, 10), control=0x00))
            first += 10


def no_data_set(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """A C-STORE request that announces no data set, though a C-STORE needs one."""
    if established(connection):
        connection.sendall(store_request(data_set=False))
        in_place()
        over.wait()


def garbage(connection: socket.socket, over: threading.Event, in_place: Callable[[], None]) -> None:
    """Random bytes: as the first PDU, and inside of an association."""
    rng = random.Random(connection.getsockname()[1])
    if rng.random() < 0.5:
        established(connection)
    connection.sendall(rng.randbytes(5_000))
    in_place()
    over.wait()


ATTACKS: dict[str, Attack] = {
    "silent": silent,
    "a byte every few seconds": drip,
    "port scan": port_scan,
    "a PDU of 4 GiB": giant_pdu,
    "half a request": half_request,
    "idle association": idle,
    "a million elements": many_elements,
    "data set without end": endless,
    "no data set": no_data_set,
    "garbage": garbage,
}


@contextlib.contextmanager
def under_attack(port: int, attack: Attack, *, source: str = "127.0.0.1") -> Iterator[None]:
    """So many connections of one kind are in place, or were turned away, inside the block.

    At its end all are cut, also those that wait until a node that has hung up takes the rest.
    """
    over = threading.Event()
    connections: list[socket.socket] = []
    here = [threading.Event() for _ in range(N_CONNECTIONS)]

    def run(in_place: threading.Event) -> None:
        with contextlib.suppress(OSError):
            address = ("127.0.0.1", port)
            with socket.create_connection(address, _PATIENCE_S, source_address=(source, 0)) as connection:
                connections.append(connection)
                attack(connection, over, in_place.set)
        in_place.set()

    threads = [threading.Thread(target=run, args=(event,), daemon=True) for event in here]
    for thread in threads:
        thread.start()
    deadline = monotonic() + _PLACED_S
    for event in here:
        event.wait(max(deadline - monotonic(), 0.0))
    try:
        yield
    finally:
        over.set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
