"""The head of a Raw Data object: every element but the payload, read within bounds.

A head comes from outside, and pydicom takes what it finds: a million small elements become gigabytes.
Therefore the file is read through a window that counts bytes and reads, which bounds the elements of
every depth.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import dcmread, read_partial
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.block import PAYLOAD_ELEMENT, find_block
from lfmri_node.dicom_io.status import Status

TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

_LARGE_ELEMENT = 1 << 16
MAX_HEAD_BYTES = 1 << 20
_MAX_READS = 20_000  # one to three an element
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


def read_head(path: Path) -> tuple[FileDataset, RawDataElement | None]:
    """The data set without its large elements, and the element of the ISMRMRD payload as it lies there.

    The payload is None when the object holds no block of ours, or no payload in it. Other elements above
    64 KiB are left out, so an object of another maker does not fill the memory.

    Raises
    ------
    PayloadError
        LF-PAY-001 when the file is no DICOM file or its head cannot be read, LF-PAY-009 for a
        transfer syntax other than Explicit or Implicit VR Little Endian, LF-PAY-013 for a head above
        1 MiB or of thousands of elements.
    """
    with damage_is_a_payload_error(), path.open("rb", buffering=0) as file:
        _require_syntax(file.fileno())
        head = dcmread(cast(BinaryIO, _Bounded(file.fileno())), defer_size=_LARGE_ELEMENT)
        block = find_block(head)
        payload = None
        if block is not None and block.get_tag(PAYLOAD_ELEMENT) in head:
            payload = head.get_item(block.get_tag(PAYLOAD_ELEMENT), keep_deferred=True)
        for tag in list(head.keys()):
            element = head.get_item(tag, keep_deferred=True)
            if isinstance(element, RawDataElement) and element.value is None and element.length:
                del head[tag]
        return head, payload if isinstance(payload, RawDataElement) else None


class _Bounded:
    """A file from its start, for pydicom: a limited number of bytes in a limited number of reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        self._bytes_left = MAX_HEAD_BYTES
        self._reads_left = _MAX_READS

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:  # pydicom reads to the end what it is about to inflate, and nothing else
            raise _other_syntax()
        if size > self._bytes_left or self._reads_left == 0:
            raise PayloadError(
                "LF-PAY-013",
                "the object's head is longer than 1 MiB, or has too many elements",
                "send only attributes of patient, study and equipment beside the payload",
                status=Status.UNREADABLE,
            )
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        self._bytes_left -= len(data)
        self._reads_left -= 1
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}[whence]
        if start + offset < 0:
            raise ValueError("seek before the start of the file")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position


def require_length(path: Path, length: int) -> None:
    """Check that a file is at least ``length`` bytes long; LF-PAY-005 otherwise."""
    if path.stat().st_size < length:
        raise PayloadError(
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
        raise _damaged() from error
    except OSError as error:
        if error.errno is not None:
            raise  # of the file system; pydicom raises it without a number where an item is cut off
        raise _damaged() from error


def _damaged() -> PayloadError:
    return PayloadError(
        "LF-PAY-001",
        "not a DICOM file, or its head is damaged",
        "send the object again",
        status=Status.UNREADABLE,
    )


def text_of(dataset: Dataset, keyword: str) -> str:
    """An attribute as text without padding; "" when absent or empty."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip(" \0")


def _require_syntax(descriptor: int) -> None:
    """Refuse other encodings before anything of the data set is parsed or inflated."""
    begun = read_partial(cast(BinaryIO, _Bounded(descriptor)), stop_when=lambda *_: True)
    if begun.file_meta.get("TransferSyntaxUID") not in TRANSFER_SYNTAXES:
        raise _other_syntax()


def _other_syntax() -> PayloadError:
    return PayloadError(
        "LF-PAY-009",
        "the transfer syntax is neither Explicit nor Implicit VR Little Endian",
        "send the object uncompressed",
        status=Status.UNREADABLE,
    )
