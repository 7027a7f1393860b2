"""Raw Data Storage objects that carry an ISMRMRD file: reading, checking, opening in place.

The object is a Raw Data IOD (PS3.3 C.19) with the private block of `payload_block`. Explicit and
Implicit VR Little Endian are read. The payload is never loaded: every function here works in
constant memory, whatever the size of the scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, RawDataStorage

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.block import BlockFields, find_block, parts_error
from lfmri_node.dicom_io.raw_data.context import copied_attributes
from lfmri_node.dicom_io.raw_data.head import (
    damage_is_a_payload_error,
    read_head,
    require_length,
    text_of,
)
from lfmri_node.dicom_io.raw_data.window import Segment, SegmentWindow
from lfmri_node.dicom_io.status import Status

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadHeader:
    """What the head of a Raw Data object of ours says; the payload itself is not read.

    Parameters
    ----------
    offset
        Where this part of the ISMRMRD file starts in the DICOM file, bytes.
    fields
        Length and hash of this part and of the whole file, number of the part, HDF5 group.
    head_sha256
        Of everything in the data set but the payload, as encoded. Two objects with equal
        ``head_sha256`` and equal part hash are equal byte for byte.
    patient
        (PatientID, IssuerOfPatientID).
    attributes
        Of patient, study, series and equipment; see `context.copied_attributes`.
    received_at
        Aware; of a file whose reception nobody has noted, its modification time.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    offset: int
    fields: BlockFields
    head_sha256: str
    calling_ae: str
    patient: tuple[str, str] = field(repr=False)
    study_instance_uid: str = field(repr=False)
    attributes: Mapping[str, Any] = field(repr=False)
    received_at: datetime

    @property
    def segment(self) -> Segment:
        """The bytes of this part."""
        return Segment(path=self.path, offset=self.offset, size=self.fields.size)


def read_payload(path: Path) -> PayloadHeader:
    """Read and check the head of a Raw Data object; the payload is not touched.

    Raises
    ------
    PayloadError
        As `read_begun`; LF-PAY-005 when the object is truncated.
    """
    return completed(read_begun(path))


def read_begun(path: Path) -> PayloadHeader:
    """The head of an object of which only that need have come; see `completed`.

    Raises
    ------
    PayloadError
        LF-PAY-001 no DICOM file or a damaged head, -002 another SOP class, -003 Raw Data of another
        maker, -004 a format that is not known, -006 lengths contradict, -007 part numbers contradict,
        -008 no usable identity, -009 another transfer syntax, -011 no SOP Instance UID or a malformed
        one, -013 too long a head.
    """
    head, payload = read_head(path)
    with damage_is_a_payload_error():
        _require_raw_data(head)
        fields, offset = _located(head, payload)
        _require_identity(head)
        return PayloadHeader(
            path=path,
            sop_class_uid=str(head.SOPClassUID),
            sop_instance_uid=str(head.SOPInstanceUID),
            offset=offset,
            fields=fields,
            head_sha256="",
            calling_ae=text_of(head.file_meta, "SourceApplicationEntityTitle"),
            patient=(text_of(head, "PatientID"), text_of(head, "IssuerOfPatientID")),
            study_instance_uid=text_of(head, "StudyInstanceUID"),
            attributes=copied_attributes(head),
            received_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        )


def completed(header: PayloadHeader) -> PayloadHeader:
    """With the hash of all but the payload, now that the whole object is there; LF-PAY-005 if it is not."""
    end = header.offset + header.fields.size
    require_length(header.path, end + header.fields.size % 2)
    return replace(header, head_sha256=_sha256_around(header.path, header.offset, end))


def verify(headers: Sequence[PayloadHeader]) -> None:
    """Check that parts make up one ISMRMRD file and that the file has the promised hash.

    Streams every part once; the hashing releases the interpreter lock.

    Raises
    ------
    PayloadError
        LF-PAY-007 when parts are missing, doubled or of different files, LF-PAY-010 when the bytes
        differ from the hash.
    """
    require_complete(headers)
    with _window(headers) as window:
        _require_hash(_sha256(window.blocks()), headers[0].fields.sha256)


def verify_part(header: PayloadHeader, found: str | None = None) -> None:
    """Check one part against its own hash.

    Parameters
    ----------
    found
        SHA-256 of its bytes, where somebody has hashed them already.

    Raises
    ------
    PayloadError
        LF-PAY-010 when the bytes differ from the hash.
    """
    if found is None:
        with _window([header]) as window:
            found = _sha256(window.blocks())
    _require_hash(found, header.fields.part_sha256)


def require_same_file(headers: Sequence[PayloadHeader]) -> None:
    """Check that parts say the same of their file: hash, length, number of parts and group.

    Raises
    ------
    PayloadError
        LF-PAY-007 otherwise, or when there is no part at all.
    """
    said = {(h.fields.sha256, h.fields.total_size, h.fields.n_parts, h.fields.group) for h in headers}
    if len(said) != 1:
        raise parts_error("the parts contradict one another or belong to different files")


def require_complete(headers: Sequence[PayloadHeader]) -> None:
    """Check that parts are 1..n of one file, in this order, with lengths that add up.

    Raises
    ------
    PayloadError
        LF-PAY-007 otherwise.
    """
    require_same_file(headers)
    if [h.fields.part for h in headers] != list(range(1, headers[0].fields.n_parts + 1)):
        raise parts_error("parts are missing, doubled or out of order")
    if sum(h.fields.size for h in headers) != headers[0].fields.total_size:
        raise parts_error("the lengths of the parts do not add up to the length of the file")


def open_payload(headers: Sequence[PayloadHeader]) -> BinaryIO:
    """Open the ISMRMRD file inside one object, or inside all parts in order, in place.

    Returns
    -------
    BinaryIO
        Seekable and read-only; to be closed after use. ``h5py.File(window, "r")`` reads it.

    Raises
    ------
    PayloadError
        LF-PAY-007 when the parts are not one complete file. Hashes are not checked here: `verify` does.
    """
    require_complete(headers)
    return cast(BinaryIO, _window(headers))


def _window(headers: Sequence[PayloadHeader]) -> SegmentWindow:
    return SegmentWindow([header.segment for header in headers])


def _located(head: FileDataset, payload: RawDataElement | None) -> tuple[BlockFields, int]:
    """The private elements, and where the payload's value starts."""
    block = find_block(head)
    if block is None:
        raise PayloadError(
            "LF-PAY-003",
            "Raw Data object without an ISMRMRD payload of this node's format",
            "send objects that lfmri-node send has made",
            status=Status.FOREIGN_RAW_DATA,
        )
    fields = BlockFields.read_from(block)
    padded = fields.size + fields.size % 2
    if payload is None or payload.VR not in (None, "OB", "UN") or payload.length != padded:
        raise PayloadError(
            "LF-PAY-006",
            "the payload element is missing or its length contradicts the private block",
            "wrap the ISMRMRD file again",
            status=Status.UNKNOWN_FORMAT,
        )
    return fields, payload.value_tell


def _require_raw_data(head: Dataset) -> None:
    """Check class, instance and identity of an object."""
    if head.get("SOPClassUID") != RawDataStorage:
        raise PayloadError(
            "LF-PAY-002",
            "the data set is not of the Raw Data Storage class",
            "send the raw data object, not images",
            status=Status.DATA_SET_MISMATCH,
        )
    if not UID(text_of(head, "SOPInstanceUID")).is_valid:
        raise PayloadError(
            "LF-PAY-011",
            "SOPInstanceUID is empty or malformed",
            "wrap the ISMRMRD file again",
            status=Status.INVALID_SOP_INSTANCE,
        )


def _require_identity(head: Dataset) -> None:
    if not text_of(head, "PatientID") or not text_of(head, "StudyInstanceUID"):
        raise PayloadError(
            "LF-PAY-008",
            "the object has no usable identity: PatientID or StudyInstanceUID is empty",
            "give both when the measurement is wrapped",
            status=Status.NO_IDENTITY,
        )


def _sha256_around(path: Path, hole: int, end: int) -> str:
    """SHA-256 of a file's data set without the bytes from ``hole`` to ``end``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(140)  # value of the File Meta Information Group Length (PS3.10 7.1)
        start = 144 + int.from_bytes(file.read(4), "little")
        file.seek(start)
        left = hole - start
        while left > 0 and (block := file.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
        file.seek(end)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _sha256(blocks: Iterator[memoryview]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _require_hash(found: str, expected: str) -> None:
    if found != expected:
        raise PayloadError(
            "LF-PAY-010",
            "the payload differs from its SHA-256",
            "send the object again; check the disk and the network of the gateway",
            status=Status.WRONG_HASH,
        )
