"""Delivery by C-STORE: one attempt, one receipt for every object. Retrying is the caller's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom.association import Association

from lfmri_node.dicom_io.deliver.association import DicomDestination, opened_association, why_not
from lfmri_node.dicom_io.errors import DeliveryError
from lfmri_node.dicom_io.status import Outcome, meaning_of
from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject

_MOST_CONTEXTS = 128  # odd identifiers 1..255, PS3.8 9.3.2.2
_LOST = "the association was lost before this object"


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
    TlsError
        LF-NET-043 a file of ``destination.tls`` cannot be used; raised with the first receipt.
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


def _deliver(
    destination: DicomDestination, outgoing: list[_Outgoing], contexts: list[tuple[UID, UID]]
) -> Iterator[DeliveryReceipt]:
    with opened_association(destination, contexts) as association:
        if association is None or not association.is_established:
            detail, transient = why_not(association)
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
