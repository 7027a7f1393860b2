"""Messages of an association: C-STORE data sets go straight into files, bad requests are answered here.

`ReceivingDimse` takes the place of pynetdicom's DIMSE provider: limits are checked while the data comes,
memory stays constant, and nothing is left behind when the connection dies. pynetdicom's own way to a file,
``STORE_RECV_CHUNKED_DATASET``, cannot do that (3.0.4, `DIMSEMessage.decode_msg`): it calls nobody until
the data set is complete, so an object too long fills the disk, or has to be aborted instead of being
answered 0xA701; its file lies in the process's directory for temporary files, and stays there when the
association ends early; and whatever is sent as a command, or as data set of another request, is collected
in memory without limit. A request in which an element is missing or wrong it drops without a word, or
aborts.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import cast

from pydicom.uid import UID, RawDataStorage
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, N_EVENT_REPORT_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_EVENT_REPORT, DimsePrimitiveType
from pynetdicom.pdu_primitives import P_DATA

from lfmri_node.dicom_io.commitment import PUSH_MODEL
from lfmri_node.dicom_io.errors import ListenerRefusal, PayloadError
from lfmri_node.dicom_io.raw_data.head import PARSE_ERRORS
from lfmri_node.dicom_io.receive.incoming import IncomingObject, malformed_command
from lfmri_node.dicom_io.status import Status

_COMMAND, _LAST = 1, 2  # bits of the message control header, PS3.8 E.2
_NO_DATA_SET = 0x0101  # of Command Data Set Type, PS3.7 9.3.1.1
MAX_COMMAND_BYTES = 1 << 16
MAX_REPORT_BYTES = 1 << 20
"""Longest information of an N-EVENT-REPORT: that of some thousand instances."""
MAX_WAITING = 8  # requests not served yet; the one agreed on is 1 (PS3.7 D.3.3.3)
_GETTING_ON_BYTES = 1 << 16


class ReceivingDimse(DIMSEServiceProvider):
    """DIMSE provider of one association that receives C-STORE data sets into files.

    `receive_primitive` runs in the thread that reads the socket, so a slow disk slows the sender down
    and nothing queues up in memory; `take` and `discard` may be called from others. pynetdicom gets
    requests that it can serve. A C-STORE request that is not what PS3.7 9.3.1.1 asks for is answered,
    after its data set. A caller that sends what no sender sends, long commands or requests without
    waiting for answers, is aborted.

    Parameters
    ----------
    begin
        Makes an `IncomingObject` with a path of its own.
    tell
        Is told code and message of what was refused here.

    Attributes
    ----------
    n_answers
        Messages answered so far.
    """

    def __init__(
        self,
        assoc: Association,
        begin: Callable[[], IncomingObject],
        tell: Callable[[str, str], None],
    ) -> None:
        super().__init__(assoc)
        self._begin = begin
        self._tell = tell
        self._command = bytearray()
        self._message_id = 0
        self._current: IncomingObject | None = None
        self._complete: deque[IncomingObject] = deque()
        self._report: bytearray | None = None
        self._owes_answer = False
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
        """Sort fragments: commands are judged when they are complete, data sets go into the file."""
        for context_id, value in primitive.presentation_data_value_list:
            if not self._sorted(context_id, value):
                self._tell(
                    "LF-NET-015", "association aborted, what came is no request that could be answered"
                )
                self.assoc.abort(block=False)
                return

    def _sorted(self, context_id: int, value: bytes) -> bool:
        """Put a fragment where it belongs; False where it belongs nowhere."""
        if not value:
            return False
        if not value[0] & _COMMAND and self._current is not None:
            self._receive(self._current, memoryview(value)[1:])
            if value[0] & _LAST:
                self._end(self._current, context_id)
            return True
        if not value[0] & _COMMAND and self._report is not None:
            return self._informed(self._report, context_id, value)
        if not value[0] & _COMMAND or self._current is not None or self._report is not None:
            return False
        self._command += value[1:]
        if len(self._command) > MAX_COMMAND_BYTES or self.msg_queue.qsize() > MAX_WAITING:
            return False
        return not value[0] & _LAST or self._command_came(context_id)

    def _command_came(self, context_id: int) -> bool:
        """Judge a complete command; False where it is none that could be answered."""
        whole = _single(context_id, bytes([_COMMAND | _LAST]) + self._command)
        self._command.clear()
        self._got_on = time.monotonic()
        message = DIMSEMessage()
        try:
            message.decode_msg(whole)
            has_data_set = message.command_set.CommandDataSetType != _NO_DATA_SET
            if isinstance(message, C_STORE_RQ):
                return self._store_came(message, whole, has_data_set=has_data_set)
            if isinstance(message, N_EVENT_REPORT_RQ):
                return self._report_came(message, whole, has_data_set=has_data_set)
            if not isinstance(message, C_ECHO_RQ) or has_data_set or not _is_request(message):
                return False
        except (*PARSE_ERRORS, OSError):
            return False
        super().receive_primitive(whole)
        return True

    def _report_came(self, message: N_EVENT_REPORT_RQ, whole: P_DATA, *, has_data_set: bool) -> bool:
        """Begin to receive the information of a report; only who may report has a context for it."""
        of_reports = {c.context_id for c in self.assoc.accepted_contexts if c.abstract_syntax == PUSH_MODEL}
        if message.context_id not in of_reports or not _is_request(message):
            return False
        super().receive_primitive(whole)
        self._report = bytearray([_LAST]) if has_data_set else None
        return True

    def _informed(self, information: bytearray, context_id: int, value: bytes) -> bool:
        """Collect the information of a report, within bounds, and let pynetdicom have it when it is whole."""
        information += value[1:]
        if len(information) > MAX_REPORT_BYTES:
            return False
        if value[0] & _LAST:
            self._report = None
            super().receive_primitive(_single(context_id, bytes(information)))
        return True

    def _store_came(self, message: C_STORE_RQ, whole: P_DATA, *, has_data_set: bool) -> bool:
        """Begin to receive the data set of a request, or answer one that has none."""
        command = message.command_set
        message_id = command.get("MessageID")
        accepted = {context.context_id: context for context in self.assoc.accepted_contexts}
        context = accepted.get(message.context_id)
        if context is None or context.context_id is None or not isinstance(message_id, int):
            return False
        self._message_id = message_id
        refusal = _fault(message) or (None if has_data_set else malformed_command())
        if refusal is not None and not has_data_set:
            self._refuse(refusal, context.context_id)
            return True
        incoming = self._begin()
        if refusal is not None:
            incoming.refuse(refusal)
        else:
            super().receive_primitive(whole)
            incoming.open(
                sop_class_uid=str(command.AffectedSOPClassUID),
                sop_instance_uid=str(command.AffectedSOPInstanceUID),
                syntax=str(context.transfer_syntax[0]),
                calling_ae=self.assoc.requestor.ae_title,
            )
        self._current = incoming
        self._got_on_at_size = 0
        return True

    def _receive(self, incoming: IncomingObject, piece: memoryview) -> None:
        incoming.write(piece)
        if incoming.size >= self._got_on_at_size + _GETTING_ON_BYTES:
            self._got_on_at_size = incoming.size
            self._got_on = time.monotonic()

    def _end(self, incoming: IncomingObject, context_id: int) -> None:
        """Close the file; pynetdicom, where it has the request, finishes it with an empty data set."""
        self._current = None
        incoming.finish()
        self._got_on = time.monotonic()
        if self.message is None:
            self._refuse(incoming.refusal or malformed_command(), context_id)
        else:
            self._complete.append(incoming)
            super().receive_primitive(_single(context_id, bytes([_LAST])))

    def _refuse(self, refusal: ListenerRefusal | PayloadError, context_id: int) -> None:
        """Answer the request that pynetdicom was not given."""
        answer = C_STORE()
        answer.MessageIDBeingRespondedTo = self._message_id
        answer.Status = int(refusal.status)
        answer.ErrorComment = error_comment(refusal)  # type: ignore[assignment]  # declared as always None
        super().send_msg(answer, context_id)
        self._answered()
        self._tell(refusal.code, answered(refusal))

    def take(self) -> IncomingObject:
        """The complete data set of the request that is being served, for the caller to keep or to discard."""
        self._owes_answer = True
        return self._complete.popleft()

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Queue an answer for the peer."""
        super().send_msg(primitive, context_id)
        self._owes_answer = False
        self._answered()

    def _answered(self) -> None:
        self.n_answers += 1
        self._got_on = time.monotonic()

    def discard(self) -> None:
        """Remove what has not been taken; called when the connection is closed."""
        unfinished, self._current = self._current, None
        if unfinished is not None:
            unfinished.discard()
        while self._complete:
            self._complete.popleft().discard()


def _fault(message: C_STORE_RQ) -> ListenerRefusal | None:
    """What is wrong with the elements of a request (PS3.7 9.3.1.1)."""
    command = message.command_set
    if str(command.get("AffectedSOPClassUID", "")) != RawDataStorage:
        return ListenerRefusal(
            "LF-NET-018",
            "only Raw Data Storage is accepted",
            "send the raw data object, not images",
            status=Status.SOP_CLASS_NOT_SUPPORTED,
        )
    if not UID(str(command.get("AffectedSOPInstanceUID", ""))).is_valid:
        return malformed_command(Status.INVALID_SOP_INSTANCE)
    try:
        return None if _is_request(message) else malformed_command()
    except PARSE_ERRORS:
        return malformed_command()


def _is_request(message: DIMSEMessage) -> bool:
    """Whether pynetdicom serves it; raises what it raises at values that are none."""
    return cast(C_STORE | C_ECHO | N_EVENT_REPORT, message.message_to_primitive()).is_valid_request


def error_comment(refusal: ListenerRefusal | PayloadError) -> str:
    """Value of Error Comment (0000,0902), an LO (PS3.7 E.1)."""
    return f"{refusal.code} {refusal.message}"[:64]


def answered(refusal: ListenerRefusal | PayloadError) -> str:
    """The words of a log line."""
    return f"{refusal.message} ({refusal.hint}); answered 0x{refusal.status:04X}"


def _single(context_id: int, fragment: bytes) -> P_DATA:
    primitive = P_DATA()
    primitive.presentation_data_value_list.append((context_id, fragment))
    return primitive
