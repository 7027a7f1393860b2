"""Raw Data objects that carry an ISMRMRD file: byte-identical, checked, opened in place."""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RawDataStorage,
)

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.raw_data.block import CREATOR_VERSION_UID
from lfmri_node.dicom_io.raw_data.payload import (
    PayloadHeader,
    open_payload,
    read_payload,
    verify,
    verify_part,
)
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.status import Status

IDENTITY = {"PatientID": "P", "StudyInstanceUID": "1.2.3"}
PAYLOAD = (0x7FD1, 0x1010)


def reencoded(path: Path, syntax: UID, out: Path) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dcmwrite(out, dataset, enforce_file_format=True)
    return out


def edited(path: Path, change: Callable[[Dataset], None]) -> Path:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def headers_of(paths: list[Path]) -> list[PayloadHeader]:
    return [read_payload(path) for path in paths]


def refusal(path: Path) -> tuple[str, int]:
    with pytest.raises(PayloadError) as caught:
        verify([read_payload(path)])
    return caught.value.code, caught.value.status


@pytest.fixture
def wrapped(h5: Path, tmp_path: Path, source: dict[str, object]) -> Path:
    (path,) = wrap(h5, tmp_path, source)
    return path


@settings(deadline=None, max_examples=60)
@given(content=st.binary(min_size=1, max_size=600), pieces=st.integers(1, 5), implicit=st.booleans())
def test_round_trip_is_byte_identical(
    content: bytes, pieces: int, implicit: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any size, odd and even, one part or many, both transfer syntaxes."""
    home = tmp_path_factory.mktemp("round")
    (home / "in.h5").write_bytes(content)
    longest = -(-len(content) // pieces)
    paths = wrap(home / "in.h5", home, IDENTITY, max_part_bytes=longest)
    if implicit:
        paths = [reencoded(path, ImplicitVRLittleEndian, path.with_suffix(".implicit")) for path in paths]
    assert len(paths) == -(-len(content) // longest)
    headers = [read_payload(path) for path in paths]
    verify(headers)
    assert [header.fields.part for header in headers] == list(range(1, len(paths) + 1))
    assert {header.fields.sha256 for header in headers} == {hashlib.sha256(content).hexdigest()}
    with open_payload(headers_of(paths)) as window:
        assert window.read() == content
    shutil.rmtree(home)


@settings(deadline=None, max_examples=40)
@given(
    content=st.binary(min_size=1, max_size=200),
    pieces=st.integers(1, 4),
    reads=st.lists(st.tuples(st.integers(0, 220), st.integers(0, 220)), max_size=8),
)
def test_window_reads_like_the_file(
    content: bytes,
    pieces: int,
    reads: list[tuple[int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = tmp_path_factory.mktemp("window")
    (home / "in.h5").write_bytes(content)
    paths = wrap(home / "in.h5", home, IDENTITY, max_part_bytes=-(-len(content) // pieces))
    with (home / "in.h5").open("rb") as file, open_payload(headers_of(paths)) as window:
        for offset, count in reads:
            assert window.seek(offset) == file.seek(offset)
            assert window.read(count) == file.read(count)
            assert window.tell() == file.tell()
        assert window.seek(-1, os.SEEK_END) == file.seek(-1, os.SEEK_END)
        assert window.seek(1, os.SEEK_CUR) == file.seek(1, os.SEEK_CUR)
        assert window.read() == b""
        assert not window.writable()
    shutil.rmtree(home)


@pytest.mark.parametrize("longest", [1 << 30, 10_000])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"]
)
def test_hdf5_is_opened_in_place(h5: Path, tmp_path: Path, longest: int, syntax: UID) -> None:
    paths = wrap(h5, tmp_path, IDENTITY, max_part_bytes=longest)
    paths = [reencoded(path, syntax, path.with_suffix(".again")) for path in paths]
    assert (len(paths) > 1) == (longest == 10_000)
    with (
        open_payload(headers_of(paths)) as window,
        h5py.File(window, "r") as there,
        h5py.File(h5, "r") as here,
    ):
        np.testing.assert_array_equal(there["dataset/data"][:], here["dataset/data"][:])
        assert there["dataset/xml"][()] == here["dataset/xml"][()]


def test_un_elements_in_explicit_vr_are_read(wrapped: Path) -> None:
    """What a node writes that has received the object in Implicit VR and does not know the block."""

    def forget(dataset: Dataset) -> None:
        for element in list(dataset.group_dataset(0x7FD1)):
            if element.tag.element > 0xFF:
                value = element.value
                raw = {"LO": lambda v: str(v).encode(), "OB": bytes}.get(element.VR)
                size = {"US": "<H", "UL": "<I"}.get(element.VR)
                value = raw(value) if raw else struct.pack(size, value)
                dataset[element.tag] = pydicom.DataElement(element.tag, "UN", value)

    before = read_payload(wrapped).fields
    assert read_payload(edited(wrapped, forget)).fields == before


@pytest.mark.parametrize("longest", [1 << 30, 20_000])
def test_dciodvfy_finds_no_error(h5: Path, tmp_path: Path, source: dict[str, object], longest: int) -> None:
    validator = Path(sys.executable).with_name("dciodvfy")
    for path in wrap(h5, tmp_path, source, max_part_bytes=longest):
        done = subprocess.run([validator, path], capture_output=True, text=True, timeout=60, check=False)
        assert "RawData" in done.stdout + done.stderr
        assert "Error" not in done.stdout + done.stderr
        assert done.returncode == 0


def test_wrapping_twice_gives_the_same_bytes(h5: Path, tmp_path: Path, source: dict[str, object]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        wrap(h5, tmp_path / name, source, max_part_bytes=30_000)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


@pytest.mark.parametrize(
    "change", [{"PatientID": "LF-0002"}, {"StudyInstanceUID": "1.2.4"}, {"IssuerOfPatientID": "CLINIC"}]
)
def test_another_patient_or_study_is_another_object(
    h5: Path, tmp_path: Path, source: dict[str, object], change: dict[str, object]
) -> None:
    (tmp_path / "other").mkdir()
    one = pydicom.dcmread(wrap(h5, tmp_path, source)[0])
    two = pydicom.dcmread(wrap(h5, tmp_path / "other", source | change)[0])
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID


def test_parts_share_a_series_and_differ_as_objects(h5: Path, tmp_path: Path) -> None:
    objects = [pydicom.dcmread(path) for path in wrap(h5, tmp_path, IDENTITY, max_part_bytes=20_000)]
    assert len({str(o.SOPInstanceUID) for o in objects}) == len(objects) > 2
    assert len({str(o.SeriesInstanceUID) for o in objects}) == 1
    assert [o.InstanceNumber for o in objects] == list(range(1, len(objects) + 1))


def test_the_object_says_what_it_is(wrapped: Path, h5: Path, source: dict[str, object]) -> None:
    dataset = pydicom.dcmread(wrapped)
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66"
    assert dataset.CreatorVersionUID == CREATOR_VERSION_UID
    assert UID(CREATOR_VERSION_UID).is_valid
    assert UID(dataset.SOPInstanceUID).is_valid
    assert UID(dataset.SeriesInstanceUID).is_valid
    assert dataset.PatientName == source["PatientName"]
    assert (dataset.ContentDate, dataset.ContentTime) == (source["StudyDate"], source["StudyTime"])
    header = read_payload(wrapped)
    assert header.patient == ("LF-0001", "HOSPITAL")
    assert header.fields.size == h5.stat().st_size
    assert "LF-0001" not in repr(header)


def test_empty_file_cannot_be_wrapped(tmp_path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    with pytest.raises(PayloadError, match="LF-PAY-012"):
        wrap(tmp_path / "empty.h5", tmp_path, IDENTITY)


@pytest.mark.parametrize("missing", ["PatientID", "StudyInstanceUID"])
def test_identity_is_needed_to_wrap(h5: Path, tmp_path: Path, missing: str) -> None:
    with pytest.raises(PayloadError, match="LF-PAY-008"):
        wrap(h5, tmp_path, IDENTITY | {missing: ""})


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "PatientNme"])
def test_wrap_refuses_attributes_that_are_not_the_callers(h5: Path, tmp_path: Path, keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        wrap(h5, tmp_path, IDENTITY | {keyword: "1.2"})


def test_one_flipped_bit_is_found(wrapped: Path) -> None:
    header = read_payload(wrapped)
    with wrapped.open("r+b") as file:
        file.seek(header.offset + header.fields.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    assert refusal(wrapped) == ("LF-PAY-010", Status.WRONG_HASH)
    with pytest.raises(PayloadError, match="LF-PAY-010"):
        verify_part(read_payload(wrapped))


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.1])
def test_truncated_payload(wrapped: Path, kept: float) -> None:
    os.truncate(wrapped, int(wrapped.stat().st_size * kept))
    assert refusal(wrapped) == ("LF-PAY-005", Status.TRUNCATED)


def test_every_truncation_is_refused(wrapped: Path) -> None:
    """Cut all over the head, and before the last byte: always a PayloadError, never another exception."""
    whole = wrapped.read_bytes()
    cuts = [*range(0, read_payload(wrapped).offset + 3, 3), len(whole) - 1]
    for length in cuts:
        wrapped.write_bytes(whole[:length])
        with pytest.raises(PayloadError):
            read_payload(wrapped)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom quotes what it finds malformed
@settings(deadline=None, max_examples=120)
@given(damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_heads_give_payload_errors_only(
    damage: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("damage")
    (home / "in.h5").write_bytes(b"abcdef")
    (path,) = wrap(home / "in.h5", home, IDENTITY)
    content = bytearray(path.read_bytes())
    for where, value in damage:
        content[int(where * len(content))] = value
    path.write_bytes(content)
    refused = ""
    try:
        verify([read_payload(path)])
    except PayloadError as error:
        refused = error.code
    assert not refused or refused.startswith("LF-PAY-")
    shutil.rmtree(home)


def test_another_makers_raw_data(wrapped: Path) -> None:
    def replace_block(dataset: Dataset) -> None:
        for element in list(dataset.group_dataset(0x7FD1)):
            del dataset[element.tag]
        block = dataset.private_block(0x7FD1, "SOMEBODY ELSE", create=True)
        block.add_new(0x10, "OB", bytes(200_000))

    assert refusal(edited(wrapped, replace_block)) == ("LF-PAY-003", Status.FOREIGN_RAW_DATA)


def test_our_block_beside_another_makers(wrapped: Path, h5: Path, tmp_path: Path) -> None:
    """PS3.5 7.8.1: the number of a private block is not fixed."""

    def move(dataset: Dataset) -> None:
        elements = {e.tag.element & 0xFF: e for e in dataset.group_dataset(0x7FD1) if e.tag.element > 0xFF}
        for element in list(dataset.group_dataset(0x7FD1)):
            del dataset[element.tag]
        dataset.private_block(0x7FD1, "SOMEBODY ELSE", create=True).add_new(0x10, "OB", b"xx")
        ours = dataset.private_block(0x7FD1, "LFMRI ISMRMRD 1.0", create=True)
        for number, element in elements.items():
            ours.add_new(number, element.VR, element.value)

    with open_payload(headers_of([edited(wrapped, move)])) as window:
        assert window.read() == h5.read_bytes()


def test_an_mr_image(wrapped: Path) -> None:
    def become_mr(dataset: Dataset) -> None:
        dataset.SOPClassUID = MRImageStorage

    assert refusal(edited(wrapped, become_mr)) == ("LF-PAY-002", Status.DATA_SET_MISMATCH)


def test_deflated_objects_are_refused_before_they_are_inflated(wrapped: Path) -> None:
    path = reencoded(wrapped, DeflatedExplicitVRLittleEndian, wrapped)
    assert refusal(path) == ("LF-PAY-009", Status.UNREADABLE)


def test_file_meta_information_that_declares_4_gib_is_read_within_bounds(wrapped: Path) -> None:
    """Its first element, (0002,0001) OB, has a length of 32 bits (PS3.10 7.1)."""
    content = bytearray(wrapped.read_bytes())
    at = content.index(b"\x02\x00\x01\x00OB\0\0") + 8
    content[at : at + 4] = b"\xfe\xff\xff\xff"
    wrapped.write_bytes(content)
    assert refusal(wrapped) == ("LF-PAY-013", Status.UNREADABLE)


def test_another_transfer_syntax(wrapped: Path) -> None:
    content = wrapped.read_bytes()
    big_endian = content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0", 1)
    assert big_endian != content
    wrapped.write_bytes(big_endian)
    assert refusal(wrapped) == ("LF-PAY-009", Status.UNREADABLE)


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID"])
def test_no_usable_identity(wrapped: Path, keyword: str) -> None:
    def clear(dataset: Dataset) -> None:
        setattr(dataset, keyword, "")

    assert refusal(edited(wrapped, clear)) == ("LF-PAY-008", Status.NO_IDENTITY)


def test_malformed_sop_instance_uid(wrapped: Path) -> None:
    def spoil(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = ""

    assert refusal(edited(wrapped, spoil)) == ("LF-PAY-011", Status.INVALID_SOP_INSTANCE)


@pytest.mark.parametrize(
    ("element", "value", "code", "status"),
    [
        (0x01, "ISMRMRD-CBOR", "LF-PAY-004", Status.UNKNOWN_FORMAT),
        (0x02, 7, "LF-PAY-007", Status.PARTS_CONTRADICT),
        (0x03, "f" * 63, "LF-PAY-004", Status.UNKNOWN_FORMAT),
        (0x04, "", "LF-PAY-004", Status.UNKNOWN_FORMAT),
        (0x05, 2, "LF-PAY-007", Status.PARTS_CONTRADICT),
        (0x05, 0, "LF-PAY-007", Status.PARTS_CONTRADICT),
        (0x07, "f" * 64, "LF-PAY-007", Status.PARTS_CONTRADICT),
        (0x08, "many", "LF-PAY-004", Status.UNKNOWN_FORMAT),
    ],
)
def test_contradicting_block(wrapped: Path, element: int, value: object, code: str, status: int) -> None:
    def change(dataset: Dataset) -> None:
        dataset[0x7FD1, 0x1000 + element].value = value

    assert refusal(edited(wrapped, change)) == (code, status)


def test_stated_length_contradicts_the_element(wrapped: Path) -> None:
    def shorten(dataset: Dataset) -> None:
        size = dataset[0x7FD1, 0x1002].value - 2
        dataset[0x7FD1, 0x1002].value = size
        dataset[0x7FD1, 0x1008].value = str(size)

    assert refusal(edited(wrapped, shorten)) == ("LF-PAY-006", Status.UNKNOWN_FORMAT)


def test_missing_payload_element(wrapped: Path) -> None:
    def drop(dataset: Dataset) -> None:
        del dataset[PAYLOAD]

    assert refusal(edited(wrapped, drop)) == ("LF-PAY-006", Status.UNKNOWN_FORMAT)


def test_parts_must_be_complete_ordered_and_of_one_file(h5: Path, tmp_path: Path) -> None:
    paths = wrap(h5, tmp_path, IDENTITY, max_part_bytes=30_000)
    (tmp_path / "other").mkdir()
    content = h5.read_bytes()
    h5.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    strangers = wrap(h5, tmp_path / "other", IDENTITY, max_part_bytes=30_000)
    for wrong in (paths[:-1], paths[::-1], [*paths, paths[0]], [*paths[:-1], strangers[-1]], []):
        with pytest.raises(PayloadError, match="LF-PAY-007"):
            open_payload(headers_of(wrong))


def test_a_file_that_shrinks_under_the_window_is_an_error(wrapped: Path) -> None:
    with open_payload(headers_of([wrapped])) as window:
        os.truncate(wrapped, wrapped.stat().st_size // 2)
        with pytest.raises(OSError, match="shorter"):
            window.read()


def test_memory_stays_constant(tmp_path: Path, peak_kib: str) -> None:
    """Wrap and verify 150 MB (three parts) in a process that may use far less than that."""
    (tmp_path / "in.h5").touch()
    os.truncate(tmp_path / "in.h5", 150_000_001)
    script = (
        peak_kib
        + """
import sys
from pathlib import Path
from lfmri_node.dicom_io.raw_data.payload import read_payload, verify
from lfmri_node.dicom_io.raw_data.wrap import wrap

home = Path(sys.argv[1])
base = peak_kib()
paths = wrap(home / "in.h5", home, {"PatientID": "P", "StudyInstanceUID": "1.2"}, max_part_bytes=60_000_000)
headers = [read_payload(path) for path in paths]
verify(headers)
print(len(paths), peak_kib() - base)
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    n_parts, grown_kib = map(int, done.stdout.split())
    assert n_parts == 3
    assert grown_kib < 32 * 1024


def _meta(path: Path) -> FileMetaDataset:
    return pydicom.dcmread(path, stop_before_pixels=True).file_meta


def test_file_meta_names_the_object(wrapped: Path) -> None:
    meta = _meta(wrapped)
    assert meta.MediaStorageSOPClassUID == RawDataStorage
    assert meta.MediaStorageSOPInstanceUID == read_payload(wrapped).sop_instance_uid
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
