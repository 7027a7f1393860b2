"""Hostile heads: bounded in bytes and elements at every depth, and always an answer that is final."""

import struct
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.status import Status, meaning_of

PATIENT_NAME = struct.pack("<HH2s", 0x0010, 0x0010, b"PN")
UNDEFINED = 0xFFFFFFFF


def element(group: int, number: int, vr: bytes, content: bytes, length: int | None = None) -> bytes:
    """Explicit VR Little Endian (PS3.5 7.1.2); ``length`` where another than the true one is stated."""
    stated = len(content) if length is None else length
    if vr in (b"SQ", b"UN", b"OB", b"UT"):
        return struct.pack("<HH2sHI", group, number, vr, 0, stated) + content
    return struct.pack("<HH2sH", group, number, vr, stated) + content


ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HHI", 0xFFFE, n, 0) for n in (0xE000, 0xE00D, 0xE0DD))
OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)


def nested(depth: int) -> bytes:
    begin = element(0x0008, 0x1140, b"SQ", b"", UNDEFINED) + OPEN_ITEM
    return begin * depth + (ITEM_END + SEQUENCE_END) * depth


HEADS = {
    "a million elements": b"".join(element(0x0009, n % 0xFFFF, b"LO", b"") for n in range(1_000_000)),
    "a million items": element(0x0008, 0x1140, b"SQ", ITEM * 1_000_000 + SEQUENCE_END, UNDEFINED),
    "elements in an open item": element(
        0x0008, 0x1140, b"SQ", OPEN_ITEM + element(0x0009, 1, b"LO", b"") * 200_000, UNDEFINED
    ),
    "depth": nested(5000),
    "many long elements": element(0x0009, 0x1001, b"LO", bytes(60_000)) * 40,
    "a long character set": element(0x0008, 0x0005, b"UN", bytes(3_000_000)),
}
LENGTHS = {
    "name beyond the end": element(0x0010, 0x0010, b"PN", b"A^B ", 0xFFFE),
    "sequence beyond the end": element(0x0008, 0x1140, b"SQ", b"", 0xFFFFFFF0),
    "open value without end": element(0x0009, 0x1001, b"OB", b"abcd", UNDEFINED),
    "open sequence without item": element(0x0008, 0x1140, b"SQ", b"abcdefgh", UNDEFINED),
    "unknown VR": element(0x0009, 0x1001, b"Z?", b"ab"),
    "US of three bytes": element(0x0028, 0x0010, b"US", b"abc"),
}


def with_head(path: Path, hostile: bytes) -> Path:
    """The object with ``hostile`` at the start of its data set."""
    content = path.read_bytes()
    start = 144 + pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    path.write_bytes(content[:start] + hostile + content[start:])
    return path


@pytest.fixture
def wrapped(h5: Path, tmp_path: Path, source: dict[str, object]) -> Path:
    return wrap(h5, tmp_path, source)[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", HEADS)
def test_a_head_that_would_fill_the_memory_is_refused_for_good(
    wrapped: Path, tmp_path: Path, peak_kib: str, kind: str
) -> None:
    """In a process of its own, which may grow by 48 MB."""
    script = (
        peak_kib
        + """
import sys, warnings
from pathlib import Path
from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.payload import read_payload
warnings.simplefilter("ignore")
base = peak_kib()
try:
    read_payload(Path(sys.argv[1]))
except PayloadError as error:
    print(error.code, error.status, peak_kib() - base)
"""
    )
    path = with_head(wrapped, HEADS[kind])
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    code, status, grown_kib = done.stdout.split()
    assert code in ("LF-PAY-001", "LF-PAY-013")
    assert int(status) == Status.UNREADABLE
    assert int(grown_kib) < 48 * 1024


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", LENGTHS)
def test_a_malformed_length_is_refused_for_good_or_left_out(wrapped: Path, kind: str) -> None:
    statuses = [0xC000]
    try:
        read_payload(with_head(wrapped, LENGTHS[kind]))
    except PayloadError as error:
        statuses.append(error.status)
    assert not any(meaning_of(status).transient for status in statuses)


def test_a_long_head_of_honest_size_is_read(wrapped: Path) -> None:
    dataset = pydicom.dcmread(wrapped)
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    dataset.ReferencedStudySequence = Sequence([item] * 1000)
    dataset.PatientComments = "x" * 10_000
    dataset.save_as(wrapped)
    attributes = read_payload(wrapped).attributes
    assert len(attributes["ReferencedStudySequence"]["Value"]) == 1000


def test_large_elements_of_others_are_left_out(wrapped: Path) -> None:
    dataset = pydicom.dcmread(wrapped)
    dataset.PatientComments = "x" * 100_000
    dataset.add_new(0x00091001, "OB", bytes(5_000_000))
    dataset.save_as(wrapped, implicit_vr=False)
    assert "PatientComments" not in read_payload(wrapped).attributes


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_decoded_is_left_out(wrapped: Path) -> None:
    dataset = pydicom.dcmread(wrapped)
    dataset.PatientWeight = "70.00"
    dataset.save_as(wrapped)
    wrapped.write_bytes(wrapped.read_bytes().replace(b"70.00 ", b"seven "))
    attributes = read_payload(wrapped).attributes
    assert "PatientWeight" not in attributes
    assert attributes["PatientID"]["Value"] == ["LF-0001"]
