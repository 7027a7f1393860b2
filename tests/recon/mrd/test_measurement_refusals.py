"""Hostile and unsupported files: each is refused with the code of its cause."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from lfmri_node.recon.errors import InvalidRawData, ReconError, UnsupportedAcquisition
from lfmri_node.recon.mrd.header import parse_header
from lfmri_node.recon.mrd.heads import Flag
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer, write_measurement

Edit = Callable[..., None]

SHA = "0" * 64
LAYOUT = ScanLayout(
    matrix=(6, 8, 1),
    field_of_view_mm=(60.0, 80.0, 5.0),
    n_coils=2,
    positions_mm=((0.0, 0.0, 0.0), (0.0, 0.0, 5.0)),
)
SLAB = replace(LAYOUT, matrix=(6, 4, 4), three_dimensional=True, positions_mm=((0.0, 0.0, 0.0),))
ROWS = 16  # 2 slices of 8 lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A healthy measurement; each test damages it."""
    target = tmp_path / "scan.h5"
    write_measurement(target, np.ones((2, 2, 6, 8), dtype=np.complex64), np.ones(8, dtype=bool), LAYOUT)
    return target


def read_all(path: Path, settings: ReaderSettings | None = None) -> None:
    with open_measurement(path, sha256=SHA, settings=settings) as measurement:
        for key in measurement.scans:
            scan = measurement.scan(*key)
            for s in range(scan.n_slices):
                scan.load(s)


def refusal(path: Path, settings: ReaderSettings | None = None) -> ReconError:
    """Read everything there is and return the error that stops it."""
    with pytest.raises(ReconError) as caught:
        read_all(path, settings)
    return caught.value


def test_the_undamaged_file_is_read(path: Path) -> None:
    with open_measurement(path, sha256=SHA) as measurement:
        assert measurement.scan().load(1).sampled.all()


@pytest.mark.parametrize("kept", [0, 1, 100, 2000, 6000, -1])
def test_truncated_file(path: Path, kept: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    assert refusal(path).code == "LF-RAW-001"


def test_no_hdf5_at_all(path: Path) -> None:
    path.write_bytes(b"DICM" * 5000)
    assert refusal(path).code == "LF-RAW-001"


def outside_global_heaps(content: bytes, size: int) -> list[int]:
    """Starts of blocks that touch no global heap: HDF5 1.14 loops for ever on a heap of zeros."""
    heaps, start = [], content.find(b"GCOL")
    while start >= 0:
        length = int.from_bytes(content[start + 8 : start + 16], "little")
        heaps.append((start, start + length))
        start = content.find(b"GCOL", start + length)
    blocks = range(0, len(content), size)
    return [b for b in blocks if not any(b < stop and first < b + size for first, stop in heaps)]


def test_overwritten_blocks_raise_nothing_without_a_code(path: Path) -> None:
    """256 zeros anywhere in the tables: read as they are, or refused."""
    content = path.read_bytes()
    codes = set()
    for start in outside_global_heaps(content, 256):
        path.write_bytes(content[:start] + bytes(256) + content[start + 256 :])
        try:
            read_all(path)
        except ReconError as error:
            codes.add(error.code[:7])
    assert codes == {"LF-RAW-"}


def test_missing_file_is_the_operating_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_measurement(tmp_path / "absent.h5", sha256=SHA):
        pass


def test_wrong_group(path: Path) -> None:
    error = refusal(path, ReaderSettings(group="other"))
    assert error.code == "LF-RAW-002"
    assert "dataset" not in str(error)


def test_two_groups_and_none_named(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.copy("dataset", "again")
    assert refusal(path).code == "LF-RAW-002"


def test_no_group_with_acquisitions(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["dataset/image_0/header"] = np.zeros(3)
    assert refusal(tmp_path / "images.h5").code == "LF-RAW-002"


def test_missing_xml(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["dataset/xml"]
    assert refusal(path).code == "LF-RAW-003"


@pytest.mark.parametrize(
    "xml",
    [
        b"",
        b"<ismrmrdHeader>",
        b"\xff\xfebroken",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<a>" * 40 + b"</a>" * 40,
        b"<a>" * 500_000,
        b"<a>" + b"<b/>" * 200_000 + b"</a>",
    ],
    ids=["empty", "open", "no text", "encoding", "entity", "deep", "very deep", "many"],
)
def test_broken_xml(path: Path, xml: bytes) -> None:
    with h5py.File(path, "r+") as file:
        file["dataset/xml"][0] = xml
    assert refusal(path).code == "LF-RAW-003"


def test_a_document_type_is_refused_in_any_encoding() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    with pytest.raises(InvalidRawData, match="document type"):
        parse_header(text.encode("utf-16"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<encoding>", b"<other>"),
        (b"encodedSpace>", b"elsewhere>"),
        (b"<x>6</x>", b"<x>six</x>"),
        (b"<x>6</x>", b"<x>0</x>"),
        (b"<x>6</x>", b"<x>-6</x>"),
        (b"<x>6</x>", b"<x>999999999</x>"),
        (b"<x>60.0</x>", b"<x>0.0</x>"),
        (b"<x>60.0</x>", b"<x>nan</x>"),
        (b"<center>4</center>", b"<center>four</center>"),
    ],
)
def test_header_field_missing_or_no_number(path: Path, edit_mrd: Edit, old: bytes, new: bytes) -> None:
    if old == b"<encoding>":
        edit_mrd(path, xml=(b"</encoding>", b"</other>"))
    edit_mrd(path, xml=(old, new))
    assert refusal(path).code == "LF-RAW-004"


def test_table_is_empty(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["dataset/data"].resize(0, axis=0)
    assert refusal(path).code == "LF-RAW-019"


def test_table_is_something_else(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["dataset/data"]
        file["dataset/data"] = np.zeros((3, 4))
    assert refusal(path).code == "LF-RAW-005"


def test_heads_lack_fields(path: Path) -> None:
    head = np.dtype([("flags", "<u8"), ("number_of_samples", "<u2")])
    table = np.dtype([("head", head), ("data", h5py.vlen_dtype(np.float32))])
    with h5py.File(path, "r+") as file:
        del file["dataset/data"]
        file["dataset"].create_dataset("data", shape=(3,), dtype=table)
    assert refusal(path).code == "LF-RAW-005"


def test_noise_and_no_image(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, flags=1 << (Flag.NOISE_MEASUREMENT - 1))
    assert refusal(path).code == "LF-RAW-019"


def test_encoding_that_the_header_does_not_have(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, encoding_space_ref=3)
    assert refusal(path).code == "LF-RAW-006"


def test_coil_count_changes_midway(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, active_channels=np.repeat([2, 1], 8))
    assert refusal(path).code == "LF-RAW-007"


def test_record_shorter_than_its_head_says(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, number_of_samples=5, center_sample=2)
    assert refusal(path).code == "LF-RAW-008"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sample_that_is_not_finite(path: Path, value: float) -> None:
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        rows["data"][11][3] = value
        file["dataset/data"][:] = rows
    assert refusal(path).code == "LF-RAW-009"


def test_position_that_is_not_finite(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, position=(0.0, 0.0, np.nan))
    assert refusal(path).code == "LF-RAW-034"


@pytest.mark.parametrize("size", [b"<x>5</x>", b"<x>1</x>"])
def test_readout_longer_than_the_header_says(path: Path, edit_mrd: Edit, size: bytes) -> None:
    edit_mrd(path, xml=(b"<x>6</x>", size))
    assert refusal(path).code == "LF-RAW-010"


def test_readout_that_discards_all_its_samples(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, discard_pre=4, discard_post=4)
    assert refusal(path).code == "LF-RAW-010"


def test_slice_without_lines(path: Path, edit_mrd: Edit) -> None:
    """A scan of two contrasts whose second contrast was stopped after the first slice."""
    edit_mrd(path, idx_contrast=np.repeat([0, 0, 1, 1], 4), idx_slice=np.repeat([0, 1, 0, 0], 4))
    assert refusal(path).code == "LF-RAW-011"


def test_fewer_slices_than_the_header_promises(path: Path, edit_mrd: Edit) -> None:
    flags = np.where(np.arange(ROWS) < 8, 0, 1 << (Flag.DUMMYSCAN_DATA - 1))
    edit_mrd(path, flags=flags)
    assert refusal(path).code == "LF-RAW-011"


def test_line_outside_its_limits(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, idx_kspace_encode_step_1=np.tile(np.arange(8) + 1, 2))
    assert refusal(path).code == "LF-RAW-012"


def test_line_outside_the_matrix(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, xml=(b"<center>4</center>", b"<center>0</center>"))
    assert refusal(path).code == "LF-RAW-013"


@pytest.mark.parametrize("center", [1, 5])
def test_echo_centre_that_throws_the_readout_off_its_grid(path: Path, edit_mrd: Edit, center: int) -> None:
    edit_mrd(path, center_sample=center)
    assert refusal(path).code == "LF-RAW-014"


def test_sizes_that_would_fill_the_memory(tmp_path: Path, edit_mrd: Edit) -> None:
    """9 planes of 8192 x 8192 from a file of two short lines."""
    path = tmp_path / "scan.h5"
    layout = replace(SLAB, matrix=(6, 4, 5), field_of_view_mm=(60.0, 800.0, 800.0))
    with open_writer(path, layout) as writer:
        writer.lines(np.ones((2, 2, 6), dtype=np.complex64), np.array([1, 2]), step_2=np.array([0, 1]))
    for old, new in ((b"<x>6<", b"<x>9<"), (b"<y>4<", b"<y>8192<"), (b"<z>5<", b"<z>8192<")):
        edit_mrd(path, xml=(old, new))
    assert refusal(path).code == "LF-RAW-016"


def test_noise_of_another_coil(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with open_writer(path, LAYOUT) as writer:
        writer.noise(np.ones((2, 6), dtype=np.complex64))
        for s in range(2):
            writer.lines(np.ones((8, 2, 6), dtype=np.complex64), np.arange(8), slice_counter=s)
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        rows["head"]["active_channels"][0] = 1
        rows["head"]["number_of_samples"][0] = 12
        file["dataset/data"][:] = rows
    assert refusal(path).code == "LF-RAW-017"
    with open_measurement(path, sha256=SHA, settings=ReaderSettings(prewhiten=False)) as measurement:
        assert measurement.scan().load(0).sampled.all()


def test_position_that_moves_within_a_slice(path: Path, edit_mrd: Edit) -> None:
    position = np.zeros((ROWS, 3))
    position[:, 2] = np.repeat([0.0, 5.0], 8)
    position[5, 0] = 3.0
    edit_mrd(path, position=position)
    assert refusal(path).code == "LF-RAW-018"


def test_two_slices_at_one_position(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, position=(1.0, 2.0, 3.0))
    assert refusal(path).code == "LF-RAW-033"


def test_images_in_two_encodings(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, encoding_space_ref=np.repeat([0, 1], 8))
    error = refusal(path)
    assert isinstance(error, UnsupportedAcquisition)
    assert (error.code, "0, 1" in error.message) == ("LF-RAW-020", True)


@pytest.mark.parametrize("trajectory", [b"radial", b"spiral", b"goldenangle", b"epi", b"other"])
def test_sampling_that_is_not_cartesian(path: Path, edit_mrd: Edit, trajectory: bytes) -> None:
    edit_mrd(path, xml=(b">cartesian<", b">" + trajectory + b"<"))
    error = refusal(path)
    assert isinstance(error, UnsupportedAcquisition)
    assert error.code == "LF-RAW-021"


def test_unnamed_trajectory_with_coordinates(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, xml=(b"<trajectory>cartesian</trajectory>", b""), trajectory_dimensions=2)
    assert refusal(path).code == "LF-RAW-021"


def test_compressed_samples(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, flags=np.uint64(1 << (Flag.COMPRESSION2 - 1)))
    assert refusal(path).code == "LF-RAW-022"


@pytest.mark.parametrize(("counter", "code"), [("idx_set", "LF-RAW-023"), ("idx_phase", "LF-RAW-024")])
def test_dimension_that_is_not_reconstructed(path: Path, edit_mrd: Edit, counter: str, code: str) -> None:
    edit_mrd(path, **{counter: np.arange(ROWS) % 2})
    error = refusal(path)
    assert isinstance(error, UnsupportedAcquisition)
    assert error.code == code


def test_segments_that_only_order_the_lines_are_read(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, idx_segment=np.arange(ROWS) % 4)
    with open_measurement(path, sha256=SHA) as measurement:
        assert measurement.scan().load(0).sampled.all()


def test_two_slabs(tmp_path: Path) -> None:
    layout = replace(SLAB, positions_mm=LAYOUT.positions_mm)
    with open_writer(tmp_path / "scan.h5", layout) as writer:
        for s in range(2):
            samples = np.ones((2, 2, 6), dtype=np.complex64)
            writer.lines(samples, np.array([1, 2]), step_2=np.array([0, 1]), slice_counter=s)
    assert refusal(tmp_path / "scan.h5").code == "LF-RAW-025"


@pytest.mark.parametrize("counter", ["idx_segment", "idx_user"])
def test_line_recorded_twice_without_an_average_counter(path: Path, edit_mrd: Edit, counter: str) -> None:
    values = np.arange(ROWS) % 8 // 4
    edit_mrd(
        path,
        idx_kspace_encode_step_1=np.tile(np.arange(4), 4),
        **{counter: values if counter == "idx_segment" else np.repeat(values[:, None], 8, axis=1)},
    )
    error = refusal(path)
    assert isinstance(error, UnsupportedAcquisition)
    assert error.code == "LF-RAW-026"


def test_messages_hold_no_patient_data(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, xml=(b"<x>60.0</x>", b"<x>DOE^JANE</x>"))
    error = refusal(path)
    assert isinstance(error, InvalidRawData)
    assert "DOE" not in f"{error} {error.message} {error.hint}"
