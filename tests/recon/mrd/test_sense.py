"""Heads and header read with sense: lengths, readouts, flags and references that contradict each other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from ismrmrd import xsd

from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.mrd.heads import Flag
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer, write_measurement
from lfmri_node.recon.types import KSpace

Edit = Callable[..., None]

SHA = "0" * 64
LAYOUT = ScanLayout(matrix=(32, 16, 1), field_of_view_mm=(64.0, 32.0, 5.0), n_coils=2)
BIT = 1 << (Flag.SURFACECOILCORRECTIONSCAN_DATA - 1)


def noise_like(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def load(path: Path, *, prewhiten: bool = False) -> KSpace:
    with open_measurement(path, sha256=SHA, settings=ReaderSettings(prewhiten=prewhiten)) as measurement:
        return measurement.scan().load(0)


def code(path: Path) -> str:
    with pytest.raises(ReconError) as caught:
        load(path)
    return caught.value.code


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "scan.h5"
    write_measurement(target, noise_like(1, 2, 32, 16), np.ones(16, dtype=bool), LAYOUT)
    return target


@pytest.mark.parametrize(
    ("field_of_view", "plausible"),
    [
        ((0.128, 0.128, 0.005), False),  # metres
        ((128_000.0, 128_000.0, 5_000.0), False),  # micrometres
        ((128.0, 128.0, 0.005), False),
        ((64.0, 0.032, 5.0), False),
        ((10.0, 10.0, 0.3), True),  # a mouse
        ((1000.0, 500.0, 200.0), True),  # oversampled whole body, thick slab
    ],
)
def test_lengths_must_be_plausible(
    tmp_path: Path, field_of_view: tuple[float, float, float], plausible: bool
) -> None:
    layout = replace(LAYOUT, field_of_view_mm=field_of_view)
    write_measurement(tmp_path / "a.h5", noise_like(1, 2, 32, 16), np.ones(16, dtype=bool), layout)
    if plausible:
        assert load(tmp_path / "a.h5").sampled.all()
    else:
        assert code(tmp_path / "a.h5") == "LF-RAW-036"


def test_positions_lie_in_the_room(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, position=(0.0, 0.0, 30_000.0))
    assert code(path) == "LF-RAW-034"


@pytest.mark.parametrize(("samples", "center"), [(16, 8), (20, 10), (22, 9)])
def test_a_readout_that_is_short_on_both_sides_contradicts_its_header(
    tmp_path: Path, edit_mrd: Edit, samples: int, center: int
) -> None:
    """Oversampling that was removed from the data and not from the header would double the object."""
    layout = replace(LAYOUT, matrix=(samples, 16, 1))
    write_measurement(tmp_path / "a.h5", noise_like(1, 2, samples, 16), np.ones(16, dtype=bool), layout)
    edit_mrd(tmp_path / "a.h5", xml=(b"<x>%d</x>" % samples, b"<x>32</x>"), center_sample=center)
    assert code(tmp_path / "a.h5") == "LF-RAW-010"


@pytest.mark.parametrize("backward", [False, True])
def test_an_asymmetric_echo_reaches_one_end(tmp_path: Path, edit_mrd: Edit, backward: bool) -> None:
    """24 of 32 samples, the echo at 8, so that 8 before it were never recorded."""
    layout = replace(LAYOUT, matrix=(24, 16, 1))
    write_measurement(tmp_path / "a.h5", noise_like(1, 2, 24, 16), np.ones(16, dtype=bool), layout)
    heads = {"flags": 1 << (Flag.REVERSE - 1)} if backward else {}
    edit_mrd(
        tmp_path / "a.h5", xml=(b"<x>24</x>", b"<x>32</x>"), center_sample=15 if backward else 8, **heads
    )
    data = load(tmp_path / "a.h5").data
    assert not data[:, :8].any()
    assert data[:, 8:].all()


def test_noise_stays_noise_whatever_else_it_is_flagged(tmp_path: Path, edit_mrd: Edit) -> None:
    flags = {}
    for other in (0, BIT, 1 << (Flag.RTFEEDBACK_DATA - 1)):
        path = tmp_path / f"{other}.h5"
        noise, samples = noise_like(2, 500), np.ones(16, dtype=bool)
        write_measurement(path, noise_like(1, 2, 32, 16), samples, LAYOUT, noise=noise)
        edit_mrd(path, flags=np.array([(1 << (Flag.NOISE_MEASUREMENT - 1)) | other] + [0] * 16))
        flags[other] = load(path, prewhiten=True).data
    assert all(np.array_equal(data, flags[0]) for data in flags.values())
    assert not np.array_equal(flags[0], load(tmp_path / "0.h5").data)


@pytest.mark.parametrize("marked", [slice(None), slice(0, 1), slice(None, None, 2)])
def test_ordinary_lines_may_carry_the_flag_of_a_correction_scan(
    path: Path, edit_mrd: Edit, marked: slice
) -> None:
    expected = load(path).data
    flags = np.zeros(16, dtype=np.uint64)
    flags[marked] = BIT
    edit_mrd(path, flags=flags)
    loaded = load(path)
    assert loaded.sampled.all()
    np.testing.assert_array_equal(loaded.data, expected)


@pytest.mark.parametrize("same_size", [True, False])
def test_a_correction_scan_of_its_own_stays_out(tmp_path: Path, same_size: bool) -> None:
    """8 lines that repeat lines of the image, or that are shorter than they."""
    data, path = noise_like(16, 2, 32), tmp_path / "scan.h5"
    lines = np.arange(16) if same_size else np.arange(8, 16)
    with open_writer(path, LAYOUT) as writer:
        writer.lines(data[lines], lines)
        writer.lines(5 * data[:8], np.arange(8), flags=(Flag.SURFACECOILCORRECTIONSCAN_DATA,))
    if not same_size:
        with h5py.File(path, "r+") as file:
            rows = file["dataset/data"][:]
            for row in rows[-8:]:
                row["data"] = row["data"].reshape(2, -1)[:, :32].ravel()
                row["head"]["number_of_samples"] = 16
            file["dataset/data"][:] = rows
    loaded = load(path)
    assert np.flatnonzero(loaded.sampled).tolist() == lines.tolist()
    np.testing.assert_allclose(loaded.data[:, :, 8:], data[8:].transpose(1, 2, 0), atol=1e-6)


def add_encoding(path: Path, matrix: tuple[int, int], field: tuple[float, float], rows: slice) -> None:
    """A second encoding, to which ``rows`` belong as calibration lines, counted from 0 about the middle."""
    with h5py.File(path, "r+") as file:
        header = xsd.CreateFromDocument(file["dataset/xml"][0])
        first = header.encoding[0]
        space = xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=matrix[0], y=matrix[1], z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=field[0], y=field[1], z=5.0),
        )
        limit = xsd.limitType(minimum=0, maximum=matrix[1] - 1, center=matrix[1] // 2)
        header.encoding.append(
            xsd.encodingType(
                encodedSpace=space,
                reconSpace=space,
                encodingLimits=xsd.encodingLimitsType(kspace_encoding_step_1=limit),
                trajectory=first.trajectory,
            )
        )
        file["dataset/xml"][0] = xsd.ToXML(header)
        table = file["dataset/data"][:]
        table["head"]["encoding_space_ref"][rows] = 1
        table["head"]["flags"][rows] = 1 << (Flag.PARALLEL_CALIBRATION - 1)
        file["dataset/data"][:] = table


def write_reference(path: Path, data: np.ndarray, *, image_lines: np.ndarray, side: int = 16) -> None:
    """Lines of the image, and 8 reference lines of ``side`` samples about the centre of k-space."""
    middle = slice(16 - side // 2, 16 + side // 2)
    reference = data[0][:, middle, 4:12].transpose(2, 0, 1)
    with open_writer(path, replace(LAYOUT, matrix=(side, 16, 1))) as writer:
        writer.lines(reference, np.arange(8))
    with h5py.File(path) as file:
        rows = file["dataset/data"][:]
    with open_writer(path, LAYOUT) as writer:
        writer.lines(data[0].transpose(2, 0, 1)[image_lines], image_lines)
    with h5py.File(path, "r+") as file:
        table = file["dataset/data"]
        n = table.shape[0]
        table.resize(n + 8, axis=0)
        table[n:] = rows


ODD = np.arange(1, 16, 2)


@pytest.mark.parametrize("side", [16, 32])
def test_references_of_a_smaller_matrix_calibrate(tmp_path: Path, side: int) -> None:
    path, data = tmp_path / "scan.h5", noise_like(1, 2, 32, 16)
    write_reference(path, data, image_lines=ODD, side=side)
    add_encoding(path, (side, 8), (64.0, 32.0), slice(8, None))
    loaded = load(path)
    assert np.flatnonzero(loaded.sampled).tolist() == ODD.tolist()
    middle = slice(16 - side // 2, 16 + side // 2)
    np.testing.assert_allclose(loaded.calibration, data[0][:, middle, 4:12], atol=1e-6)


def test_references_of_another_field_of_view_are_told_where_they_would_be_needed(tmp_path: Path) -> None:
    path, data = tmp_path / "scan.h5", noise_like(1, 2, 32, 16)
    write_reference(path, data, image_lines=ODD)
    add_encoding(path, (16, 8), (64.0, 48.0), slice(8, None))
    assert code(path) == "LF-RAW-037"


def test_references_of_another_field_of_view_are_not_needed_with_a_centre(tmp_path: Path) -> None:
    path, data = tmp_path / "scan.h5", noise_like(1, 2, 32, 16)
    write_reference(path, data, image_lines=np.arange(16))
    add_encoding(path, (16, 8), (64.0, 48.0), slice(16, None))
    loaded = load(path)
    assert loaded.calibration is None
    assert loaded.sampled.all()
