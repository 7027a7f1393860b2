"""Delivery by C-STORE: one attempt, one receipt for every object. Retrying is the caller's."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from lfmri_node.dicom_io.ae_title import require_ae_title
from lfmri_node.dicom_io.errors import DeliveryError
from lfmri_node.dicom_io.libraries import MAXIMUM_PDU_BYTES, configure_libraries, tune_connection
from lfmri_node.dicom_io.status import Outcome, meaning_of
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject

_MOST_CONTEXTS = 128  # odd identifiers 1..255, PS3.8 9.3.2.2
_QUEUED_PDUS = 32
_LOOK_AGAIN_S = 0.5
_LOST = "the association was lost before this object"


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomDestination:
    """A storage SCP.

    Parameters
    ----------
    name
        For receipts and messages.
    ae_title, calling_ae_title
        Theirs and ours.
    connect_timeout_s, answer_timeout_s
        Longest wait for the connection, and for the answer to one object once it is sent.
    """

    name: str
    host: str
    port: int
    ae_title: str
    calling_ae_title: str
    connect_timeout_s: float = 10
    answer_timeout_s: float = 120

    def __post_init__(self) -> None:
        require_ae_title(self.ae_title)
        require_ae_title(self.calling_ae_title)


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoAnswer:
    """Whether a destination answers C-ECHO; ``detail`` says what went wrong."""

    answered: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outgoing:
    """A file to send and what its file meta information says (PS3.10 7.1)."""

    path: Path
    sop_class_uid: UID
    sop_instance_uid: UID
    transfer_syntax: UID

    @property
    def context(self) -> tuple[UID, UID]:
        return (self.sop_class_uid, self.transfer_syntax)


def send_objects(
    destination: DicomDestination, objects: Sequence[EncodedObject | Path]
) -> Iterator[DeliveryReceipt]:
    """Send DICOM files as they lie on disk over one association; a receipt for each, in order.

    Receipts come as the answers do. When the association cannot be opened or is lost, the remaining
    objects get receipts that say so. A warning status counts as delivered and is told in the detail.

    Raises
    ------
    DeliveryError
        LF-NET-031 a file cannot be read as a DICOM file, LF-NET-032 more than 128 pairs of SOP class
        and transfer syntax. Nothing has been sent then.
    """
    outgoing = [_read(item.path if isinstance(item, EncodedObject) else item) for item in objects]
    contexts = sorted({item.context for item in outgoing})
    if len(contexts) > _MOST_CONTEXTS:
        raise DeliveryError(
            "LF-NET-032",
            f"{len(contexts)} pairs of SOP class and transfer syntax",
            "send fewer kinds at once",
        )
    return _deliver(destination, outgoing, contexts) if outgoing else iter(())


def echo(destination: DicomDestination) -> EchoAnswer:
    """Ask a destination whether it listens to us (Verification, PS3.4 Annex A)."""
    with _association(destination, [(Verification, UID("1.2.840.10008.1.2"))]) as association:
        if association is None or not association.is_established:
            return EchoAnswer(answered=False, detail=_why_not(association)[0])
        answer = association.send_c_echo() if association.accepted_contexts else None
        if answer is None or "Status" not in answer:
            return EchoAnswer(answered=False, detail="no answer to C-ECHO")
        return EchoAnswer(answered=answer.Status == 0, detail=f"0x{answer.Status:04X}")


def _deliver(
    destination: DicomDestination, outgoing: list[_Outgoing], contexts: list[tuple[UID, UID]]
) -> Iterator[DeliveryReceipt]:
    with _association(destination, contexts) as association:
        if association is None or not association.is_established:
            detail, transient = _why_not(association)
            for item in outgoing:
                yield _failed(destination, item, detail, transient=transient)
            return
        accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}
        lost = False
        for item in outgoing:
            if lost:
                yield _failed(destination, item, _LOST)
            elif item.context not in accepted:
                refused = f"SOP class not accepted: {item.sop_class_uid.name}, {item.transfer_syntax.name}"
                yield _failed(destination, item, refused, transient=False)
            else:
                receipt = _sent(destination, item, association)
                lost = receipt.dimse_status is None
                yield receipt


def _sent(destination: DicomDestination, item: _Outgoing, association: Association) -> DeliveryReceipt:
    """Send one object and read the answer; an answer without Status is none (PS3.7 9.1.1.1)."""
    try:
        answer = association.send_c_store(item.path)
    except RuntimeError:  # the association ended since it was looked at
        return _failed(destination, item, _LOST)
    if "Status" not in answer:
        return _failed(destination, item, "no answer: the association was lost or the time is up")
    row = meaning_of(answer.Status)
    words = row.outcome if row.outcome is Outcome.STORED else row.meaning
    return DeliveryReceipt(
        sop_instance_uid=str(item.sop_instance_uid),
        destination=destination.name,
        dimse_status=int(answer.Status),
        delivered=row.delivered,
        verified=None,
        detail=f"0x{answer.Status:04X} {words}",
        answered_at=datetime.now(UTC),
        transient=row.transient,
    )


def _failed(
    destination: DicomDestination, item: _Outgoing, detail: str, *, transient: bool = True
) -> DeliveryReceipt:
    return DeliveryReceipt(
        sop_instance_uid=str(item.sop_instance_uid),
        destination=destination.name,
        dimse_status=None,
        delivered=False,
        verified=None,
        detail=detail,
        answered_at=datetime.now(UTC),
        transient=transient,
    )


def _read(path: Path) -> _Outgoing:
    try:
        meta = read_file_meta_info(path)
        return _Outgoing(
            path=path,
            sop_class_uid=UID(meta.MediaStorageSOPClassUID),
            sop_instance_uid=UID(meta.MediaStorageSOPInstanceUID),
            transfer_syntax=UID(meta.TransferSyntaxUID),
        )
    except (OSError, InvalidDicomError, AttributeError, EOFError) as error:
        raise DeliveryError(
            "LF-NET-031", f"{path.name} cannot be read as a DICOM file", "encode the objects again"
        ) from error


@contextmanager
def _association(
    destination: DicomDestination, contexts: Sequence[tuple[UID, UID]]
) -> Iterator[Association | None]:
    """Open an association that proposes one context for each pair; it is released or gone at the end.

    None where the destination's name leads to no address.
    """
    configure_libraries()
    entity = AE(destination.calling_ae_title)
    entity.connection_timeout = destination.connect_timeout_s
    entity.acse_timeout = destination.answer_timeout_s
    entity.dimse_timeout = destination.answer_timeout_s
    entity.network_timeout = destination.answer_timeout_s
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)

    def opened(event: evt.Event) -> None:
        tune_connection(event.assoc, destination.answer_timeout_s)
        event.assoc.dimse = _SendingDimse(event.assoc)
        event.assoc.dul.to_provider_queue = _PacedQueue(event.assoc)

    try:
        association = entity.associate(
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            max_pdu=MAXIMUM_PDU_BYTES,
            evt_handlers=[(evt.EVT_CONN_OPEN, opened)],
        )
    except (OSError, UnicodeError):  # of getaddrinfo, which the library leaves to its caller
        yield None
        return
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _why_not(association: Association | None) -> tuple[str, bool]:
    """Why an association was not established, and whether another attempt may succeed (PS3.8 9.3.4)."""
    if association is None:
        return "no association: the destination's host name leads to no address", True
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return f"association rejected: {answer.result_str}, {answer.reason_str}", answer.result == 2
    return "no association: the destination cannot be reached or ends the connection", True


class _SendingDimse(DIMSEServiceProvider):
    """Keeps PDUs short also where the peer would take any length: they are made in memory."""

    @property
    def maximum_pdu_size(self) -> int:
        return min(super().maximum_pdu_size or MAXIMUM_PDU_BYTES, MAXIMUM_PDU_BYTES)


class _PacedQueue(queue.Queue[Any]):
    """Queue between the reader of the file and the socket, bounded so that a file is not all in memory."""

    def __init__(self, association: Association) -> None:
        super().__init__(maxsize=_QUEUED_PDUS)
        self._association = association

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        """Wait for room while anybody takes from the queue; what is for a dead connection is dropped."""
        while True:
            try:
                super().put(item, timeout=_LOOK_AGAIN_S)
                return
            except queue.Full:
                if not self._association.dul.is_alive():
                    return
