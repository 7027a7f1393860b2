"""The private block that carries an ISMRMRD file inside a Raw Data object: its elements, both ways.

(7FD1,xx00), creator ``LFMRI ISMRMRD 1.0``; our own format, which PS3.3 C.19.1 leaves to the maker
and names by the Creator-Version UID. `ELEMENTS` says what is in it; the conformance statement, how another
maker writes it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset, PrivateBlock

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.status import Status

PRIVATE_GROUP: Final = 0x7FD1  # high, so that the bulk comes last; group 7FE1 reads as pixel data
PRIVATE_CREATOR: Final = "LFMRI ISMRMRD 1.0"
PAYLOAD_ELEMENT: Final = 0x10
CREATOR_VERSION_UID: Final = "2.25.135476886472222818313101571132363445345"

_FORMAT = "ISMRMRD-HDF5"
_NUMBERS = {"US": "<H", "UL": "<I"}
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the block: the last two hex digits of its tag, and what it holds."""

    number: int
    vr: str
    name: str
    content: str
    required: bool = True


ELEMENTS: Final = (
    Element(0x01, "LO", "Format", f"`{_FORMAT}`"),
    Element(0x02, "UL", "Part Length", "exact length of this part in bytes, above 0, without padding"),
    Element(0x03, "LO", "Part SHA-256", "SHA-256 of this part without padding, 64 lower-case hex digits"),
    Element(0x04, "LO", "HDF5 Group", "name of the HDF5 group that holds the measurement, not empty"),
    Element(0x05, "US", "Part Number", "number of this part, from 1"),
    Element(0x06, "US", "Number of Parts", "number of parts of the file"),
    Element(0x07, "LO", "File SHA-256", "SHA-256 of the whole ISMRMRD file, 64 lower-case hex digits"),
    Element(0x08, "LO", "File Length", "exact length of the whole file in bytes, decimal digits"),
    Element(
        0x09,
        "LO",
        "Given Attributes",
        "keywords, with spaces between, of those of PatientID, PatientName, StudyInstanceUID and"
        " AccessionNumber that were given on purpose in place of what the ISMRMRD header says; the node does"
        " not compare these with the header",
        required=False,
    ),
    Element(PAYLOAD_ELEMENT, "OB", "Payload", "this part of the file, with one zero byte where it is odd"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFields:
    """The elements in front of the payload; valid once constructed.

    Raises
    ------
    PayloadError
        LF-PAY-004 for a malformed hash or an empty part, LF-PAY-007 when the numbers of the parts
        contradict one another.
    """

    size: int
    part_sha256: str
    group: str
    part: int
    n_parts: int
    sha256: str
    total_size: int
    given: str = ""

    def __post_init__(self) -> None:
        if not (_SHA256.match(self.sha256) and _SHA256.match(self.part_sha256) and self.size and self.group):
            raise _unknown_format()
        if not 1 <= self.part <= self.n_parts:
            raise parts_error("the number of the part lies outside the number of parts")
        if self.size > self.total_size:
            raise parts_error("a part is longer than its file")
        alone = self.n_parts == 1
        if alone and (self.sha256, self.total_size) != (self.part_sha256, self.size):
            raise parts_error("a single part differs from its file in hash or length")

    def add_to(self, dataset: Dataset) -> PrivateBlock:
        """Write the elements into a new block of ``dataset``; the payload is left to the caller."""
        block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
        values: dict[int, str | int] = {
            0x01: _FORMAT,
            0x02: self.size,
            0x03: self.part_sha256,
            0x04: self.group,
            0x05: self.part,
            0x06: self.n_parts,
            0x07: self.sha256,
            0x08: str(self.total_size),
            0x09: self.given,
        }
        for element in ELEMENTS:
            if values.get(element.number):
                block.add_new(element.number, element.vr, values[element.number])
        return block

    @classmethod
    def read_from(cls, block: PrivateBlock) -> BlockFields:
        """Decode the elements, also where they come as UN.

        Raises
        ------
        PayloadError
            LF-PAY-004 when an element is missing or malformed, LF-PAY-007 as on construction.
        """
        try:
            if _text(block, 0x01) != _FORMAT:
                raise _unknown_format()
            return cls(
                size=_number(block, 0x02, "UL"),
                part_sha256=_text(block, 0x03),
                group=_text(block, 0x04),
                part=_number(block, 0x05, "US"),
                n_parts=_number(block, 0x06, "US"),
                sha256=_text(block, 0x07),
                total_size=int(_text(block, 0x08)),
                given=_text(block, 0x09) if 0x09 in block else "",
            )
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise _unknown_format() from error


def find_block(dataset: Dataset) -> PrivateBlock | None:
    """Our block, whatever its number within the group; None when another maker wrote the object."""
    try:
        return dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)
    except KeyError:
        return None


def parts_error(message: str) -> PayloadError:
    """LF-PAY-007."""
    return PayloadError(
        "LF-PAY-007",
        message,
        "wrap the ISMRMRD file again and send all parts",
        status=Status.PARTS_CONTRADICT,
    )


def _unknown_format() -> PayloadError:
    return PayloadError(
        "LF-PAY-004",
        "the private block is incomplete or of a format that is not known",
        "let the node and the gateway use the same version of the payload format",
        status=Status.UNKNOWN_FORMAT,
    )


def _text(block: PrivateBlock, element: int) -> str:
    value = block[element].value
    return (value.decode("ascii") if isinstance(value, bytes) else str(value)).rstrip(" \0")


def _number(block: PrivateBlock, element: int, vr: str) -> int:
    value = block[element].value
    if isinstance(value, bytes):
        (value,) = struct.unpack(_NUMBERS[vr], value)
    return int(value)
