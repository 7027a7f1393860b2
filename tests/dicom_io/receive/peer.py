"""A scripted peer: associations and C-STORE commands byte by byte, right or wrong."""

import socket
import struct
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RawDataStorage
from pynetdicom.dsutils import decode

RAW_DATA, EXPLICIT = RawDataStorage.encode(), ExplicitVRLittleEndian.encode()
NO_DATA_SET, DATA_SET = 0x0101, 0x0000


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxL", kind, len(content)) + content


def associate_request(
    calling: bytes = b"GATEWAY", called: bytes = b"LFNODE", padding: int = 0, syntax: bytes = EXPLICIT
) -> bytes:
    """A-ASSOCIATE-RQ for Raw Data, written by hand (PS3.8 9.3.2)."""
    context = struct.pack(">Bxxx", 1) + item(0x30, RAW_DATA) + item(0x40, syntax)
    user = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
    if padding:  # SOP Class Extended Negotiation, PS3.7 D.3.3.5
        user += item(0x56, struct.pack(">H", len(RAW_DATA)) + RAW_DATA + bytes(padding))
    body = struct.pack(">Hxx16s16s32x", 1, called.ljust(16), calling.ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user)
    return pdu(1, body)


def command(data_set: int, *, message_id: int = 1, change: dict[int, bytes | None] | None = None) -> bytes:
    """C-STORE-RQ in one P-DATA-TF (PS3.7 9.3.1.1); ``change``: element -> value, None for none."""
    elements: dict[int, bytes | None] = {
        0x0002: RAW_DATA + b"\0" * (len(RAW_DATA) % 2),
        0x0100: struct.pack("<H", 1),
        0x0110: struct.pack("<H", message_id),
        0x0700: struct.pack("<H", 0),
        0x0800: struct.pack("<H", data_set),
        0x1000: b"1.2.3.4\0",
    }
    said = {tag: value for tag, value in sorted({**elements, **(change or {})}.items()) if value is not None}
    body = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in said.items())
    return fragment(struct.pack("<HHII", 0, 0, 4, len(body)) + body, control=3)


def fragment(content: bytes, *, control: int) -> bytes:
    return pdu(4, struct.pack(">LBB", len(content) + 2, 1, control) + content)


class Peer:
    """A scripted peer; ``answer`` is the next PDU's type and content, or b"" at the end."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(address, 0))

    def say(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self) -> tuple[int, bytes]:
        header = self._take(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", header)
        return kind, self._take(length)

    def _take(self, size: int) -> bytes:
        taken = b""
        try:
            while len(taken) < size and (piece := self.socket.recv(size - len(taken))):
                taken += piece
        except ConnectionResetError:
            return b""
        return taken

    def response(self) -> Dataset:
        """The command set of the response that comes next."""
        kind, content = self.answer()
        assert kind == 4, "no response but the end"
        return decode(BytesIO(content[6:]), True, True)

    def status(self) -> tuple[int, int]:
        """Message ID and status of the response that comes next (PS3.7 9.3.1.2)."""
        response = self.response()
        return int(response.MessageIDBeingRespondedTo), int(response.Status)

    def established(self, syntax: str = ExplicitVRLittleEndian) -> "Peer":
        self.say(associate_request(syntax=syntax.encode()))
        assert self.answer()[0] == 2
        return self
