"""Receiving: the pieces of a C-STORE data set go straight into a file on the spool's file system.

`ReceivingDimse` takes the place of pynetdicom's DIMSE provider: limits are checked while the data comes,
memory stays constant, and nothing is left behind when the connection dies. pynetdicom's own way to a file,
``STORE_RECV_CHUNKED_DATASET``, cannot do that (3.0.4, `DIMSEMessage.decode_msg`): it calls nobody until
the data set is complete, so an object too long fills the disk, or has to be aborted instead of being
answered 0xA701; its file lies in the process's directory for temporary files, and stays there when the
association ends early; and whatever is sent as a command, or as data set of another request, is collected
in memory without limit.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import DimsePrimitiveType
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.pdu_primitives import P_DATA

from lfmri_node.dicom_io.errors import ListenerRefusal, PayloadError
from lfmri_node.dicom_io.files import private
from lfmri_node.dicom_io.raw_data.head import MAX_HEAD_BYTES, PARSE_ERRORS
from lfmri_node.dicom_io.raw_data.payload import PayloadHeader, read_begun
from lfmri_node.dicom_io.status import Status

_COMMAND, _LAST = 1, 2  # bits of the message control header, PS3.8 E.2
_SPACE_CHECK = 1 << 26
_MAX_COLLECTED_BYTES = 1 << 16  # of one command, or of the data set of another request than C-STORE
_MAX_WAITING = 8  # requests not served yet; the one agreed on is 1 (PS3.7 D.3.3.3)
_GETTING_ON_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes: longest data set of one object, and the free space that must remain beside it."""

    max_object_bytes: int
    min_free_bytes: int


class IncomingObject:
    """A data set on its way into a file.

    Problems do not raise, they become ``refusal``: the rest of the data set is then read from the
    network and dropped, so that the sender gets a status instead of a broken connection.

    Attributes
    ----------
    size
        Bytes of the data set received so far.
    header
        Of a long object, once its head has come: the rest of an object that will be refused takes
        no room, and its association makes way for another.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.refusal: ListenerRefusal | PayloadError | None = None
        self.header: PayloadHeader | None = None
        self.size = 0
        self._limits = limits
        self._check_at = 0
        self._file: FileIO | None = None

    def open(self, *, sop_class_uid: str, sop_instance_uid: str, syntax: str, calling_ae: str) -> None:
        """Create the file with preamble and file meta information (PS3.10 7.1)."""
        if not UID(sop_instance_uid).is_valid:
            self.refuse(malformed_command(Status.INVALID_SOP_INSTANCE))
            return
        try:
            meta = create_file_meta(
                sop_class_uid=UID(sop_class_uid),
                sop_instance_uid=UID(sop_instance_uid),
                transfer_syntax=UID(syntax),
            )
            meta.SourceApplicationEntityTitle = calling_ae
            self._file = FileIO(self.path, "xb", opener=private)
            self._append(memoryview(bytes(128) + b"DICM" + encode_file_meta(meta)))
        except OSError as error:
            self.refuse(out_of_space(error))
        except ValueError:
            self.refuse(malformed_command())

    def write(self, piece: memoryview) -> None:
        """Append a piece, unless the object is refused already."""
        self.size += len(piece)
        if self.refusal is not None or self._file is None:
            return
        try:
            if self.size >= self._check_at:
                self._check_limits()
            if self.refusal is None:
                self._append(piece)
                if self.header is None and self.size > MAX_HEAD_BYTES:
                    self.header = read_begun(self.path)
        except PayloadError as refusal:
            self.refuse(refusal)
        except OSError as error:
            self.refuse(out_of_space(error))

    def finish(self) -> None:
        """The data set is complete."""
        if self.size == 0:
            self.refuse(malformed_command())
        if self.refusal is None:
            self._close()

    def refuse(self, refusal: ListenerRefusal | PayloadError) -> None:
        """Note the first reason and remove the file."""
        self.refusal = self.refusal or refusal
        self.discard()

    def discard(self) -> None:
        """Remove the file, if it has not been moved away."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _append(self, piece: memoryview) -> None:
        """Write all of a piece; a write to a file may stop short when the disk is nearly full."""
        while self._file is not None and piece:
            piece = piece[self._file.write(piece) :]

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _check_limits(self) -> None:
        self._check_at = min(self.size + _SPACE_CHECK, self._limits.max_object_bytes + 1)
        if self.size > self._limits.max_object_bytes:
            self.refuse(
                ListenerRefusal(
                    "LF-NET-011",
                    f"the object is longer than {self._limits.max_object_bytes} bytes",
                    "send smaller parts, or raise max_payload_bytes",
                    status=Status.TOO_LARGE,
                )
            )
        elif shutil.disk_usage(self.path.parent).free < self._limits.min_free_bytes:
            self.refuse(out_of_space("free space is below its floor"))


class ReceivingDimse(DIMSEServiceProvider):
    """DIMSE provider of one association that receives C-STORE data sets into files.

    `receive_primitive` runs in the thread that reads the socket, so a slow disk slows the sender down
    and nothing queues up in memory; `take` and `discard` may be called from others. A caller that sends
    what no sender of ours sends, long commands or requests without waiting for answers, is aborted.

    Parameters
    ----------
    begin
        Makes an `IncomingObject` with a path of its own.

    Attributes
    ----------
    n_answers
        Messages answered so far.
    """

    def __init__(self, assoc: Association, begin: Callable[[], IncomingObject]) -> None:
        super().__init__(assoc)
        self._begin = begin
        self._current: IncomingObject | None = None
        self._complete: deque[tuple[int, IncomingObject]] = deque()
        self._owes_answer = False
        self._n_collected = 0
        self._got_on = time.monotonic()
        self._got_on_at_size = 0
        self.n_answers = 0

    @property
    def busy(self) -> bool:
        """Whether a data set is arriving, waits to be taken, or waits for its answer."""
        return self._current is not None or self._serving

    @property
    def silence_s(self) -> float | None:
        """Seconds since a message or 64 KiB of a data set came, or an answer left.

        None while we owe an answer; infinite while only the rest of a refused object comes.
        """
        if self._serving:
            return None
        if self._current is not None and self._current.refusal is not None:
            return math.inf
        return time.monotonic() - self._got_on

    @property
    def _serving(self) -> bool:
        return bool(self._complete) or self._owes_answer

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Sort fragments: commands go pynetdicom's way, data sets of C-STORE into the file."""
        for context_id, value in primitive.presentation_data_value_list:
            control = value[0] if value else _COMMAND  # message control header, PS3.8 E.2
            if self._current is not None and not control & _COMMAND:
                self._receive(self._current, memoryview(value)[1:])
                if control & _LAST:
                    self._end(context_id)
            elif not self._collect(context_id, value):
                self.assoc.abort(block=False)
                return

    def _collect(self, context_id: int, value: bytes) -> bool:
        """Let pynetdicom have a fragment of a command or of another data set; whether that is bearable."""
        self._n_collected += len(value)
        if self._n_collected > _MAX_COLLECTED_BYTES or self.msg_queue.qsize() > _MAX_WAITING:
            return False
        try:
            super().receive_primitive(_single(context_id, value))
        except (*PARSE_ERRORS, OSError):
            return False
        if self.message is None:
            self._message_came()
        elif isinstance(self.message, C_STORE_RQ) and value[0] == _COMMAND | _LAST:
            self._start(self.message, context_id)
        return True

    def take(self, message_id: int) -> IncomingObject | None:
        """The complete data set of a request, for the caller to keep or to discard."""
        self._owes_answer = True
        while self._complete:
            of, incoming = self._complete.popleft()
            if of == message_id:
                return incoming
            incoming.discard()  # its request was not fit to be served
        return None

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Queue an answer for the peer."""
        super().send_msg(primitive, context_id)
        self.n_answers += 1
        self._owes_answer = False
        self._got_on = time.monotonic()

    def discard(self) -> None:
        """Remove what has not been taken; called when the connection is closed."""
        unfinished, self._current = self._current, None
        if unfinished is not None:
            unfinished.discard()
        while self._complete:
            self._complete.popleft()[1].discard()

    def _start(self, request: C_STORE_RQ, context_id: int) -> None:
        incoming = self._begin()
        command = request.command_set
        context = next((c for c in self.assoc.accepted_contexts if c.context_id == context_id), None)
        if context is None:
            incoming.refuse(malformed_command())
        else:
            incoming.open(
                sop_class_uid=str(command.get("AffectedSOPClassUID", "")),
                sop_instance_uid=str(command.get("AffectedSOPInstanceUID", "")),
                syntax=str(context.transfer_syntax[0]),
                calling_ae=self.assoc.requestor.ae_title,
            )
        self._current = incoming
        self._got_on_at_size = 0

    def _receive(self, incoming: IncomingObject, piece: memoryview) -> None:
        incoming.write(piece)
        if incoming.size >= self._got_on_at_size + _GETTING_ON_BYTES:
            self._got_on_at_size = incoming.size
            self._got_on = time.monotonic()

    def _end(self, context_id: int) -> None:
        """Close the file, then let pynetdicom finish the message with an empty data set."""
        incoming, self._current = self._current, None
        if incoming is None or self.message is None:
            return
        incoming.finish()
        self._complete.append((int(self.message.command_set.get("MessageID", 0)), incoming))
        super().receive_primitive(_single(context_id, bytes([_LAST])))
        self._message_came()

    def _message_came(self) -> None:
        self._n_collected = 0
        self._got_on = time.monotonic()


def malformed_command(status: Status = Status.UNREADABLE) -> ListenerRefusal:
    """LF-NET-013."""
    return ListenerRefusal(
        "LF-NET-013",
        "the C-STORE request is malformed or has no data set",
        "check the sending program",
        status=status,
    )


def out_of_space(cause: OSError | str) -> ListenerRefusal:
    """LF-NET-012."""
    words = cause.strerror if isinstance(cause, OSError) else cause
    return ListenerRefusal(
        "LF-NET-012",
        f"the spool cannot take the object: {words}",
        "make room on the spool's file system, or check the disk",
        status=Status.OUT_OF_RESOURCES,
    )


def _single(context_id: int, fragment: bytes) -> P_DATA:
    primitive = P_DATA()
    primitive.presentation_data_value_list.append((context_id, fragment))
    return primitive
