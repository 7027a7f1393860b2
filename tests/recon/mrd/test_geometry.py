"""Voxel centres against LPS numbers worked out by hand, and point sources followed to their voxel."""

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from lfmri_node.recon.errors import InvalidRawData, ReconError, UnsupportedAcquisition
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.types import DisplayOrder, RawScan, Vector

SHA = "0" * 64
TOLERANCE_MM = 1e-3


def written(path: Path, layout: ScanLayout) -> Path:
    """A file with one line a slice, enough for its geometry."""
    with open_writer(path, layout) as writer:
        for s in range(len(layout.positions_mm)):
            writer.lines(
                np.ones((1, 1, layout.matrix[0]), dtype=np.complex64), np.array([0]), slice_counter=s
            )
    return path


def scan_of(path: Path, layout: ScanLayout) -> RawScan:
    with open_measurement(written(path, layout), sha256=SHA) as measurement:
        return measurement.scan()


def ninths(*numbers: float) -> Vector:
    a, b, c = (n / 9 for n in numbers)
    return (a, b, c)


@dataclass(frozen=True)
class Case:
    """A layout, and what was worked out by hand: matrix, spacing and two opposite corners."""

    layout: ScanLayout
    matrix: tuple[int, int, int]
    spacing_mm: Vector
    first_mm: Vector
    last_mm: Vector


AXIAL = ScanLayout(
    matrix=(4, 6, 1), field_of_view_mm=(40.0, 30.0, 5.0), n_coils=1, positions_mm=((3.0, -7.0, 12.0),)
)
# Slice normal (-4, 4, -7)/9: oblique axial. Voxels of 9 mm make every number whole.
OBLIQUE = ScanLayout(
    matrix=(4, 5, 1),
    field_of_view_mm=(36.0, 45.0, 3.0),
    n_coils=1,
    read_dir=ninths(8, 1, -4),
    phase_dir=ninths(1, 8, 4),
    slice_dir=ninths(-4, 4, -7),
    positions_mm=((18.0, 12.0, 44.0), (10.0, 20.0, 30.0), (14.0, 16.0, 37.0)),
)
CASES = {
    # read to left, phase to posterior: index 2 of 4 at x = 3, index 3 of 6 at y = -7
    "axial": Case(AXIAL, (1, 6, 4), (5.0, 5.0, 10.0), (-17.0, -22.0, 12.0), (13.0, 3.0, 12.0)),
    # read to anterior, phase to right: read index i at y = -7 - 10 (i - 2), phase j at x = 3 - 5 (j - 3)
    "axial turned and flipped": Case(
        replace(AXIAL, read_dir=(0.0, -1.0, 0.0), phase_dir=(-1.0, 0.0, 0.0)),
        (1, 4, 6),
        (5.0, 10.0, 5.0),
        (-7.0, -17.0, 12.0),
        (18.0, 13.0, 12.0),
    ),
    # odd sizes: index 2 of 5 at x = 3, index 3 of 7 at y = -7
    "axial odd": Case(
        replace(AXIAL, matrix=(5, 7, 1), field_of_view_mm=(50.0, 35.0, 5.0)),
        (1, 7, 5),
        (5.0, 5.0, 10.0),
        (-17.0, -22.0, 12.0),
        (23.0, 8.0, 12.0),
    ),
    # odd sizes flipped: index 2 of 5 becomes 2, index 3 of 7 becomes 3
    "axial odd flipped": Case(
        replace(
            AXIAL,
            matrix=(5, 7, 1),
            field_of_view_mm=(50.0, 35.0, 5.0),
            read_dir=(-1.0, 0.0, 0.0),
            phase_dir=(0.0, -1.0, 0.0),
        ),
        (1, 7, 5),
        (5.0, 5.0, 10.0),
        (-17.0, -22.0, 12.0),
        (23.0, 8.0, 12.0),
    ),
    # slices written from head to feet come back from feet to head
    "axial stack": Case(
        replace(AXIAL, positions_mm=((3.0, -7.0, 26.0), (3.0, -7.0, 12.0), (3.0, -7.0, 19.0))),
        (3, 6, 4),
        (7.0, 5.0, 10.0),
        (-17.0, -22.0, 12.0),
        (13.0, 3.0, 26.0),
    ),
    # read to feet, phase to posterior, slices to left: columns to posterior, rows to feet
    "sagittal": Case(
        ScanLayout(
            matrix=(6, 4, 1),
            field_of_view_mm=(60.0, 32.0, 4.0),
            n_coils=1,
            read_dir=(0.0, 0.0, -1.0),
            phase_dir=(0.0, 1.0, 0.0),
            slice_dir=(1.0, 0.0, 0.0),
            positions_mm=((10.0, 5.0, -20.0), (4.0, 5.0, -20.0)),
        ),
        (2, 6, 4),
        (6.0, 10.0, 8.0),
        (4.0, -11.0, 10.0),
        (10.0, 13.0, -40.0),
    ),
    # read to left, phase to head, slices to anterior: rows turned to feet, slices ordered to posterior
    "coronal": Case(
        ScanLayout(
            matrix=(4, 6, 1),
            field_of_view_mm=(40.0, 30.0, 4.0),
            n_coils=1,
            phase_dir=(0.0, 0.0, 1.0),
            slice_dir=(0.0, -1.0, 0.0),
            positions_mm=((1.0, -2.0, 3.0), (1.0, 2.0, 3.0)),
        ),
        (2, 6, 4),
        (4.0, 5.0, 10.0),
        (-19.0, -2.0, 13.0),
        (11.0, 2.0, -12.0),
    ),
    # (10,20,30) - 2 (8,1,-4) - 2 (1,8,4); (18,12,44) + (8,1,-4) + 2 (1,8,4)
    "double oblique": Case(OBLIQUE, (3, 5, 4), (9.0, 9.0, 9.0), (-8.0, 2.0, 30.0), (28.0, 29.0, 48.0)),
    # read against the rows, phase along the columns: (10,20,30) - (1,8,4) - 2 (8,1,-4)
    "double oblique turned": Case(
        replace(OBLIQUE, read_dir=ninths(-1, -8, -4), phase_dir=ninths(8, 1, -4)),
        (3, 4, 5),
        (9.0, 9.0, 9.0),
        (-7.0, 10.0, 34.0),
        (36.0, 30.0, 44.0),
    ),
    "oversampled readout": Case(
        replace(AXIAL, readout_oversampling=2),
        (1, 6, 4),
        (5.0, 5.0, 10.0),
        (-17.0, -22.0, 12.0),
        (13.0, 3.0, 12.0),
    ),
    # 40 mm shown as 5 voxels of 8 mm, index 2 at x = 3; 30 mm as 12 of 2.5 mm, index 6 at y = -7
    "interpolated": Case(
        replace(AXIAL, recon_matrix=(5, 12, 1)),
        (1, 12, 5),
        (5.0, 2.5, 8.0),
        (-13.0, -22.0, 12.0),
        (19.0, 5.5, 12.0),
    ),
    # oversampled phase and readout, other voxels: 27 mm as 3 voxels, 24 mm as 8 voxels
    "cropped and interpolated": Case(
        replace(AXIAL, recon_matrix=(3, 8, 1), recon_field_of_view_mm=(27.0, 24.0, 5.0)),
        (1, 8, 3),
        (5.0, 3.0, 9.0),
        (-6.0, -19.0, 12.0),
        (12.0, 2.0, 12.0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_voxel_centres_are_those_worked_out_by_hand(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    geometry = scan_of(tmp_path / "scan.h5", case.layout).geometry
    assert geometry.known
    assert geometry.matrix == case.matrix
    assert geometry.spacing_mm == pytest.approx(case.spacing_mm, abs=1e-5)
    last = tuple(n - 1 for n in case.matrix)
    assert geometry.voxel_centre_mm(0, 0, 0) == pytest.approx(case.first_mm, abs=TOLERANCE_MM)
    assert geometry.voxel_centre_mm(*last) == pytest.approx(case.last_mm, abs=TOLERANCE_MM)


def test_thickness_is_the_header_s_even_where_slices_have_gaps(tmp_path: Path) -> None:
    assert scan_of(tmp_path / "scan.h5", OBLIQUE).geometry.thickness_mm == 3.0


@pytest.mark.parametrize(
    "directions",
    [
        {"read_dir": (0.0, 0.0, 0.0), "phase_dir": (0.0, 0.0, 0.0), "slice_dir": (0.0, 0.0, 0.0)},
        {"read_dir": (1.0, 0.0, 0.0), "phase_dir": (0.1, 1.0, 0.0)},
        {"slice_dir": (0.0, 0.0, 2.0)},
        {"read_dir": (float("nan"), 0.0, 0.0)},
    ],
)
def test_unusable_directions_give_a_stand_in(tmp_path: Path, directions: dict[str, Vector]) -> None:
    geometry = scan_of(tmp_path / "scan.h5", replace(AXIAL, **directions)).geometry
    assert not geometry.known
    assert (geometry.axis_s, geometry.axis_y, geometry.axis_x) == ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    assert geometry.origin_mm == (-20.0, -15.0, 0.0)
    assert geometry.spacing_mm == (5.0, 5.0, 10.0)


def test_directions_of_single_precision_are_made_orthonormal(tmp_path: Path) -> None:
    """Directions that a scanner rounded to four digits still place the last voxel within 1e-3 mm."""
    rounded = replace(
        OBLIQUE,
        read_dir=(0.8889, 0.1111, -0.4444),
        phase_dir=(0.1111, 0.8889, 0.4444),
        slice_dir=(-0.4444, 0.4444, -0.7778),
    )
    geometry = scan_of(tmp_path / "scan.h5", rounded).geometry
    axes = np.array([geometry.axis_s, geometry.axis_y, geometry.axis_x])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert geometry.voxel_centre_mm(2, 4, 3) == pytest.approx((28.0, 29.0, 48.0), abs=TOLERANCE_MM)


@pytest.mark.parametrize(
    ("positions", "error", "code"),
    [
        (((0, 0, 0), (0, 0, 5), (0, 0, 11)), UnsupportedAcquisition, "LF-RAW-031"),
        (((0, 0, 0), (0, 1, 5), (0, 2, 10)), UnsupportedAcquisition, "LF-RAW-032"),
        (((0, 0, 0), (0, 0, 5), (0, 0, 5)), InvalidRawData, "LF-RAW-033"),
    ],
)
def test_slices_that_make_no_volume_are_refused(
    tmp_path: Path, positions: tuple[Vector, ...], error: type[ReconError], code: str
) -> None:
    with pytest.raises(error) as caught:
        scan_of(tmp_path / "scan.h5", replace(AXIAL, positions_mm=positions))
    assert caught.value.code == code


def test_slices_that_are_not_parallel_are_refused(tmp_path: Path) -> None:
    upright = replace(AXIAL, positions_mm=((0.0, 0.0, 0.0), (0.0, 0.0, 5.0)))
    path = written(tmp_path / "scan.h5", upright)
    tilt = np.deg2rad(1.0)
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        rows["head"]["phase_dir"][1] = (0.0, np.cos(tilt), np.sin(tilt))
        rows["head"]["slice_dir"][1] = (0.0, -np.sin(tilt), np.cos(tilt))
        file["dataset/data"][:] = rows
    with open_measurement(path, sha256=SHA) as measurement, pytest.raises(UnsupportedAcquisition) as caught:
        measurement.scan()
    assert caught.value.code == "LF-RAW-030"


def test_display_copies_voxels_bit_by_bit_where_nothing_is_interpolated() -> None:
    volume = np.arange(2 * 6 * 5, dtype=np.float32).reshape(2, 6, 5)
    display = DisplayOrder(crop=(4, 3), resample=(4, 3), permutation=(0, 2, 1), flip=(False, True, False))
    shown = apply_display(volume, display)
    # index n // 2 stays: rows 1..4 of 6, columns 1..3 of 5
    np.testing.assert_array_equal(shown, volume[:, 1:5, 1:4].transpose(0, 2, 1)[:, ::-1])


def test_display_interpolation_is_exact_for_a_band_limited_image() -> None:
    """A plane wave of the image is a plane wave of the finer image, at the positions shown."""
    n, m, field = 8, 15, 6.5
    x_in, x_out = np.arange(n) - n // 2, (np.arange(m) - m // 2) * field / m
    wave = np.exp(2j * np.pi * 2 * x_in / n)
    volume = (wave[:, None] * np.ones(4)).astype(np.complex64)[None]
    shown = apply_display(volume, DisplayOrder(crop=(field, 4), resample=(m, 4)))
    np.testing.assert_allclose(shown[0, :, 0], np.exp(2j * np.pi * 2 * x_out / n), atol=1e-5)


def test_display_shows_nothing_outside_the_measured_field_of_view() -> None:
    shown = apply_display(np.ones((1, 4, 4), dtype=np.float32), DisplayOrder(crop=(8, 4), resample=(16, 4)))
    assert np.flatnonzero(np.abs(shown[0, :, 0]) > 1e-6).tolist() == list(range(4, 13))
