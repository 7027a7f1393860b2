"""Receiving: the pieces of a C-STORE data set go straight into a file on the spool's file system.

pynetdicom can collect a data set in memory, or in a file in the process's directory for temporary
files. `ReceivingDimse` takes the place of its DIMSE provider instead: limits are checked while the
data comes, memory stays constant, and nothing is left behind when the connection dies.
"""

from __future__ import annotations

import shutil
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

from lfmri_node.dicom_io.errors import ListenerRefusal
from lfmri_node.dicom_io.raw_data.window import Segment
from lfmri_node.dicom_io.receive.follow import Follower
from lfmri_node.dicom_io.status import Status

_COMMAND, _LAST = 1, 2  # bits of the message control header, PS3.8 E.2
_SPACE_CHECK = 1 << 26


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
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.refusal: ListenerRefusal | None = None
        self.size = 0
        self._limits = limits
        self._length = 0
        self._check_at = 0
        self._file: FileIO | None = None
        self._follower = Follower(path)

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
            self._file = FileIO(self.path, "xb")
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
        except OSError as error:
            self.refuse(out_of_space(error))

    def finish(self) -> None:
        """The data set is complete."""
        if self.size == 0:
            self.refuse(malformed_command())
        if self.refusal is None:
            self._follower.finish(self._length)
            self._close()

    def digest(self, segment: Segment) -> str | None:
        """SHA-256 of a segment, where it has been computed on the way; see `Follower.digest`."""
        return self._follower.digest(segment)

    def refuse(self, refusal: ListenerRefusal) -> None:
        """Note the first reason and remove the file."""
        self.refusal = self.refusal or refusal
        self.discard()

    def discard(self) -> None:
        """Remove the file, if it has not been moved away."""
        self._follower.finish(0)
        self._close()
        self.path.unlink(missing_ok=True)

    def _append(self, piece: memoryview) -> None:
        """Write all of a piece; a write to a file may stop short when the disk is nearly full."""
        while self._file is not None and piece:
            count = self._file.write(piece)
            self._length += count
            piece = piece[count:]
        self._follower.grown(self._length)

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

    `receive_fragment` runs in the thread that reads the socket, so a slow disk slows the sender
    down and nothing queues up in memory; `take` and `discard` may be called from others.

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
        self._complete: dict[int, IncomingObject] = {}
        self._owes_answer = False
        self.n_answers = 0

    @property
    def receiving(self) -> bool:
        """Whether a data set is arriving."""
        return self._current is not None

    @property
    def busy(self) -> bool:
        """Whether a data set is arriving, waits to be taken, or waits for its answer."""
        return self.receiving or bool(self._complete) or self._owes_answer

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take what comes through pynetdicom's upper layer: commands, and the first data with them."""
        for context_id, value in primitive.presentation_data_value_list:
            self.receive_fragment(context_id, value[0], memoryview(value)[1:])

    def receive_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        """Sort a fragment: commands go pynetdicom's way, data sets of C-STORE into the file.

        Parameters
        ----------
        control
            Message control header: command or data set, last or not (PS3.8 E.2).
        fragment
            Valid until this method returns.
        """
        if self._current is not None and not control & _COMMAND:
            self._current.write(fragment)
            if control & _LAST:
                self._end(context_id)
            return
        super().receive_primitive(_single(context_id, bytes([control]) + bytes(fragment)))
        if isinstance(self.message, C_STORE_RQ) and control & _COMMAND and control & _LAST:
            self._start(self.message, context_id)

    def take(self, message_id: int) -> IncomingObject | None:
        """The complete data set of a request, for the caller to keep or to discard."""
        self._owes_answer = True
        return self._complete.pop(message_id, None)

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Queue an answer for the peer."""
        super().send_msg(primitive, context_id)
        self.n_answers += 1
        self._owes_answer = False

    def discard(self) -> None:
        """Remove what has not been taken; called when the connection is closed."""
        unfinished, self._current = self._current, None
        if unfinished is not None:
            unfinished.discard()
        while self._complete:
            self._complete.popitem()[1].discard()

    def _start(self, request: C_STORE_RQ, context_id: int) -> None:
        incoming = self._begin()
        command = request.command_set
        context = self.assoc._accepted_cx.get(context_id)
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

    def _end(self, context_id: int) -> None:
        """Close the file, then let pynetdicom finish the message with an empty data set."""
        incoming, request = self._current, self.message
        self._current = None
        if incoming is None or request is None:
            return
        incoming.finish()
        self._complete[int(request.command_set.get("MessageID", 0))] = incoming
        super().receive_primitive(_single(context_id, bytes([_LAST])))


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
