"""The head of a Raw Data object: everything in front of the bulk, read without the bulk."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.block import PAYLOAD_ELEMENT, PRIVATE_GROUP, find_block
from lfmri_node.dicom_io.status import Status

TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

_LARGE_ELEMENT = 1 << 16
PARSE_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises on damaged data sets."""


def read_head(path: Path) -> tuple[FileDataset, int | None]:
    """Everything in front of the ISMRMRD payload, and the position of the payload's element.

    The position is None when the object holds no block of ours. Elements above 64 KiB are skipped,
    so an object of another maker does not fill the memory.

    Raises
    ------
    PayloadError
        LF-PAY-001 when the file is no DICOM file or its head cannot be read, LF-PAY-009 for a
        transfer syntax other than Explicit or Implicit VR Little Endian.
    """

    def beyond_creators(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag.group == PRIVATE_GROUP and tag.element > 0xFF

    with damage_is_a_payload_error(), path.open("rb") as file:
        _require_syntax(path)
        head = read_partial(file, stop_when=beyond_creators, defer_size=_LARGE_ELEMENT)
        block = find_block(head)
        if block is None:
            return head, None
        wanted = block.get_tag(PAYLOAD_ELEMENT)
        file.seek(0)
        head = read_partial(file, stop_when=lambda tag, _vr, _n: tag >= wanted, defer_size=_LARGE_ELEMENT)
        return head, file.tell()


def payload_offset(path: Path, at: int, tag: BaseTag, size: int, *, implicit: bool) -> int:
    """Where the payload's value starts; checks the element's own header (PS3.5 7.1.2, 7.1.3)."""
    with path.open("rb") as file:
        file.seek(at)
        header = file.read(8 if implicit else 12)
    if len(header) < (8 if implicit else 12):
        raise _truncated()
    (length,) = struct.unpack("<I", header[-4:])
    named = struct.unpack("<HH", header[:4]) == (tag.group, tag.element)
    typed = implicit or header[4:6] in (b"OB", b"UN")
    if not named or not typed or length != size + size % 2:
        raise PayloadError(
            "LF-PAY-006",
            "the payload element is missing or its length contradicts the private block",
            "wrap the ISMRMRD file again",
            status=Status.UNKNOWN_FORMAT,
        )
    return at + len(header)


def require_length(path: Path, length: int) -> None:
    """Check that a file is at least ``length`` bytes long; LF-PAY-005 otherwise."""
    if path.stat().st_size < length:
        raise _truncated()


def _truncated() -> PayloadError:
    return PayloadError(
        "LF-PAY-005",
        "the object ends before its payload does",
        "send the object again",
        status=Status.TRUNCATED,
    )


@contextmanager
def damage_is_a_payload_error() -> Iterator[None]:
    """Turn what pydicom raises on damaged data sets into LF-PAY-001."""
    try:
        yield
    except PARSE_ERRORS as error:
        raise PayloadError(
            "LF-PAY-001",
            "not a DICOM file, or its head is damaged",
            "send the object again",
            status=Status.UNREADABLE,
        ) from error


def text_of(dataset: Dataset, keyword: str) -> str:
    """An attribute as text without padding; "" when absent or empty."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip(" \0")


def _require_syntax(path: Path) -> None:
    """Refuse other encodings before anything of the data set is parsed or inflated."""
    if read_file_meta_info(path).get("TransferSyntaxUID") not in TRANSFER_SYNTAXES:
        raise PayloadError(
            "LF-PAY-009",
            "the transfer syntax is neither Explicit nor Implicit VR Little Endian",
            "send the object uncompressed",
            status=Status.UNREADABLE,
        )
