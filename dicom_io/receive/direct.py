"""Data sets from the socket into their file, past the queues and copies of pynetdicom's upper layer.

pynetdicom copies every P-DATA-TF PDU about six times and passes it through its state machine. In
the state "data transfer" (Sta6) that machine only hands the fragments on (PS3.8 table 9-10, DT-2),
so while a data set is arriving `DirectReads` does just that. Every other PDU goes pynetdicom's way.
"""

from __future__ import annotations

import socket
import struct
from typing import cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from lfmri_node.dicom_io.libraries import MAXIMUM_PDU_BYTES
from lfmri_node.dicom_io.receive.incoming import ReceivingDimse

_P_DATA_TF = 0x04  # PS3.8 9.3.5
_PDU_HEADER = struct.Struct(">BxL")
_PDV_HEADER = struct.Struct(">LBB")  # item length, presentation context ID, message control header
_PDUS_A_TURN = 64
_CLOSED, _INVALID = "Evt17", "Evt19"  # PS3.8 table 9-10


class DirectReads(DULServiceProvider):
    """Upper layer of an association that receives with `ReceivingDimse`."""

    _buffer: memoryview

    def _read_pdu_data(self) -> None:
        """Read what is there: data of a data set under way directly, anything else pynetdicom's way."""
        try:
            if self._read_data():
                return
        except OSError:
            self.event_queue.put(_CLOSED)
            return
        except ValueError:
            self.event_queue.put(_INVALID)
            return
        super()._read_pdu_data()

    def _read_data(self) -> bool:
        """Read up to 64 PDUs of a data set, then let others have their turn; whether there was any."""
        dimse = cast(ReceivingDimse, self.assoc.dimse)
        connection = self.socket.socket if self.socket is not None else None
        n_read = 0
        while connection is not None and n_read < _PDUS_A_TURN and self._data_is_next(connection, dimse):
            self._pass_on(self._read_data_pdu(connection), dimse)
            n_read += 1
        return n_read > 0

    def _data_is_next(self, connection: socket.socket, dimse: ReceivingDimse) -> bool:
        """Whether a data set is under way and the next PDU, already arriving, belongs to it."""
        if not dimse.receiving or self.state_machine.current_state != "Sta6":
            return False
        return (
            self.socket is not None
            and self.socket.ready
            and connection.recv(1, socket.MSG_PEEK) == bytes([_P_DATA_TF])
        )

    def _read_data_pdu(self, connection: socket.socket) -> memoryview:
        """The presentation data values of one PDU; valid until the next is read."""
        header = self._buffer[: _PDU_HEADER.size]
        _receive_all(connection, header)
        _, length = _PDU_HEADER.unpack(header)
        if length > len(self._buffer):
            raise ValueError("the PDU is longer than what was agreed")
        body = self._buffer[:length]
        _receive_all(connection, body)
        return body

    def _pass_on(self, body: memoryview, dimse: ReceivingDimse) -> None:
        """Take presentation data values apart (PS3.8 9.3.5.1)."""
        while body:
            if len(body) < _PDV_HEADER.size:
                raise ValueError("a presentation data value is cut off")
            length, context_id, control = _PDV_HEADER.unpack(body[: _PDV_HEADER.size])
            end = 4 + length
            if not _PDV_HEADER.size <= end <= len(body):
                raise ValueError("a presentation data value is longer than its PDU")
            dimse.receive_fragment(context_id, control, body[_PDV_HEADER.size : end])
            body = body[end:]


def read_directly(association: Association) -> None:
    """Let an association, not yet started, read data sets this way.

    pynetdicom makes the upper layer of an association itself; its class is changed here because there
    is no place to pass another one.
    """
    association.dul.__class__ = DirectReads
    cast(DirectReads, association.dul)._buffer = memoryview(bytearray(MAXIMUM_PDU_BYTES))


def _receive_all(connection: socket.socket, view: memoryview) -> None:
    """Fill ``view``; OSError when the connection ends or falls silent before."""
    while view:
        count = connection.recv_into(view)
        if not count:
            raise ConnectionError("closed in the middle of a PDU")
        view = view[count:]
