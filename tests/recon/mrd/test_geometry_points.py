"""Point sources, written by the signal equation, are followed to the voxel that shows them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.types import Vector

SHA = "0" * 64
TOLERANCE_MM = 1e-3
AXIAL = ScanLayout(
    matrix=(4, 6, 1), field_of_view_mm=(40.0, 30.0, 5.0), n_coils=1, positions_mm=((3.0, -7.0, 12.0),)
)
# Axes (8, 1, -4)/9, (1, 8, 4)/9, (-4, 4, -7)/9 with voxels of 9 mm: every position is whole.
OBLIQUE = ScanLayout(
    matrix=(4, 5, 1),
    field_of_view_mm=(36.0, 45.0, 3.0),
    n_coils=1,
    read_dir=(8 / 9, 1 / 9, -4 / 9),
    phase_dir=(1 / 9, 8 / 9, 4 / 9),
    slice_dir=(-4 / 9, 4 / 9, -7 / 9),
    positions_mm=((18.0, 12.0, 44.0), (10.0, 20.0, 30.0), (14.0, 16.0, 37.0)),
)
SAGITTAL = ScanLayout(
    matrix=(6, 4, 1),
    field_of_view_mm=(60.0, 32.0, 4.0),
    n_coils=1,
    read_dir=(0.0, 0.0, -1.0),
    phase_dir=(0.0, 1.0, 0.0),
    slice_dir=(1.0, 0.0, 0.0),
    positions_mm=((10.0, 5.0, -20.0), (4.0, 5.0, -20.0)),
)
CORONAL = ScanLayout(
    matrix=(4, 6, 1),
    field_of_view_mm=(40.0, 30.0, 4.0),
    n_coils=1,
    phase_dir=(0.0, 0.0, 1.0),
    slice_dir=(0.0, -1.0, 0.0),
    positions_mm=((1.0, -2.0, 3.0), (1.0, 2.0, 3.0)),
)


@dataclass(frozen=True)
class PointSource:
    """A point at ``lps_mm``, which is a voxel centre, in slice ``slice_counter`` of ``layout``."""

    layout: ScanLayout
    lps_mm: Vector
    slice_counter: int = 0


# Readouts of 8 samples over 80 mm with 40 mm kept: 2x oversampling written out.
OVERSAMPLED = replace(
    AXIAL,
    matrix=(8, 6, 1),
    field_of_view_mm=(80.0, 30.0, 5.0),
    recon_matrix=(4, 6, 1),
    recon_field_of_view_mm=(40.0, 30.0, 5.0),
)
POINTS = {
    "axial": PointSource(AXIAL, (13.0, -17.0, 12.0)),
    "axial turned": PointSource(
        replace(AXIAL, read_dir=(0.0, -1.0, 0.0), phase_dir=(-1.0, 0.0, 0.0)), (18.0, 3.0, 12.0)
    ),
    "axial odd": PointSource(
        replace(AXIAL, matrix=(5, 7, 1), field_of_view_mm=(50.0, 35.0, 5.0)), (23.0, -22.0, 12.0)
    ),
    "oversampled": PointSource(OVERSAMPLED, (13.0, 3.0, 12.0)),
    "oversampled odd": PointSource(
        replace(
            OVERSAMPLED,
            matrix=(10, 6, 1),
            field_of_view_mm=(100.0, 30.0, 5.0),
            recon_matrix=(5, 6, 1),
            recon_field_of_view_mm=(50.0, 30.0, 5.0),
        ),
        (-17.0, 3.0, 12.0),
    ),
    "interpolated to odd": PointSource(
        replace(
            OVERSAMPLED,
            matrix=(64, 48, 1),
            recon_matrix=(45, 65, 1),
            recon_field_of_view_mm=(36.0, 26.0, 5.0),
        ),
        (11.0, -13.0, 12.0),  # 10 voxels of 0.8 mm and -15 voxels of 0.4 mm from the centre
    ),
    "coarser": PointSource(
        replace(
            AXIAL, matrix=(16, 16, 1), field_of_view_mm=(64.0, 64.0, 5.0), recon_matrix=(8, 8, 1)
        ),  # 8 mm voxels
        (-13.0, 17.0, 12.0),
    ),
    "double oblique, middle slice": PointSource(
        OBLIQUE, (14.0 - 16.0 + 2.0, 16.0 - 2.0 + 16.0, 37.0 + 8.0 + 8.0), slice_counter=2
    ),
    "sagittal": PointSource(SAGITTAL, (10.0, 13.0, 0.0), slice_counter=0),
    "coronal": PointSource(CORONAL, (-9.0, 2.0, -12.0), slice_counter=1),
}


def frequencies(n: int, field_of_view_mm: float) -> np.ndarray:
    return (np.arange(n) - n // 2) / field_of_view_mm


def offsets(layout: ScanLayout, point_mm: Vector, slice_counter: int) -> tuple[float, float, float]:
    """Distances of a point from the slice centre along read, phase and slice direction."""
    away = np.array(point_mm) - np.array(layout.positions_mm[slice_counter])
    read, phase, normal = (away @ np.array(d) for d in (layout.read_dir, layout.phase_dir, layout.slice_dir))
    return float(read), float(phase), float(normal)


def write_point(path: Path, source: PointSource, sign: int = -1, turn: tuple[int, int] = (1, 1)) -> None:
    """The signal equation, sample by sample: ``exp(sign 2 pi i k . x)``."""
    layout = source.layout
    read_mm, phase_mm, normal_mm = offsets(layout, source.lps_mm, source.slice_counter)
    assert abs(normal_mm) < 1e-9
    k_read = frequencies(layout.matrix[0], layout.field_of_view_mm[0])
    k_phase = frequencies(layout.matrix[1], layout.field_of_view_mm[1])
    phase = k_phase[:, None] * phase_mm * turn[1] + k_read[None, :] * read_mm * turn[0]
    signal = np.exp(sign * 2j * np.pi * phase).astype(np.complex64)
    with open_writer(path, layout) as writer:
        for s in range(len(layout.positions_mm)):
            amplitude = 1.0 if s == source.slice_counter else 1e-3
            writer.lines(amplitude * signal[:, None], np.arange(layout.matrix[1]), slice_counter=s)


def brightest(path: Path, settings: ReaderSettings | None = None) -> tuple[Vector, complex]:
    """LPS centre and value of the brightest voxel of the plain inverse transform, in display order."""
    with open_measurement(path, sha256=SHA, settings=settings) as measurement:
        scan = measurement.scan()
        kspace = np.stack([scan.load(s).data[0] for s in range(scan.n_slices)])
    axes = (1,) if scan.sequence.three_dimensional and kspace.shape[1] == 1 else (1, 2)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes), axes=axes), axes)
    volume = apply_display(images, scan.display)
    assert volume.shape == scan.geometry.matrix
    s, y, x = (int(i) for i in np.unravel_index(int(np.abs(volume).argmax()), volume.shape))
    return scan.geometry.voxel_centre_mm(s, y, x), complex(volume[s, y, x])


def require_in_place(path: Path, expected_mm: Vector, settings: ReaderSettings | None = None) -> None:
    """The point where it is, and real and positive there: lines off by one would turn its phase alone."""
    place_mm, value = brightest(path, settings)
    assert place_mm == pytest.approx(expected_mm, abs=TOLERANCE_MM)
    assert np.angle(value) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("name", POINTS)
def test_point_source_is_reconstructed_where_it_is(tmp_path: Path, name: str) -> None:
    write_point(tmp_path / "scan.h5", POINTS[name])
    require_in_place(tmp_path / "scan.h5", POINTS[name].lps_mm)


@pytest.mark.parametrize(
    ("sign", "turn", "settings"),
    [
        (1, (1, 1), ReaderSettings(fft_sign=1)),
        (-1, (-1, 1), ReaderSettings(flip_readout=True)),
        (-1, (1, -1), ReaderSettings(flip_phase=True)),
        (1, (-1, 1), ReaderSettings(fft_sign=1, flip_readout=True)),
    ],
)
@pytest.mark.parametrize("name", ["axial", "axial odd", "oversampled", "interpolated to odd", "sagittal"])
def test_gateway_settings_move_the_image_and_not_the_geometry(
    tmp_path: Path, name: str, sign: int, turn: tuple[int, int], settings: ReaderSettings
) -> None:
    path = tmp_path / "scan.h5"
    write_point(path, POINTS[name], sign=sign, turn=turn)
    require_in_place(path, POINTS[name].lps_mm, settings)
    with (
        open_measurement(path, sha256=SHA, settings=settings) as set_up,
        open_measurement(path, sha256=SHA) as plain,
    ):
        assert set_up.scan().geometry == plain.scan().geometry
        assert set_up.scan().display == plain.scan().display


SLAB = ScanLayout(
    matrix=(12, 5, 6),
    field_of_view_mm=(120.0, 25.0, 18.0),
    recon_matrix=(6, 5, 6),
    recon_field_of_view_mm=(60.0, 25.0, 18.0),
    n_coils=1,
    three_dimensional=True,
    positions_mm=((1.0, 2.0, 3.0),),
)


@pytest.mark.parametrize(
    ("layout", "matrix", "first_mm", "point_mm"),
    [
        # axial partitions to head: read x 10 mm (index 3 of 6), phase y 5 mm (2 of 5), z 3 mm (3 of 6)
        (SLAB, (6, 5, 6), (-29.0, -8.0, -6.0), (11.0, -8.0, 9.0)),
        # sagittal, read to head (turned to feet), phase to anterior (turned), partitions to right (turned)
        (
            replace(SLAB, read_dir=(0.0, 0.0, 1.0), phase_dir=(0.0, -1.0, 0.0), slice_dir=(-1.0, 0.0, 0.0)),
            (6, 6, 5),
            (-5.0, -8.0, 23.0),
            (10.0, 12.0, -17.0),
        ),
        # readout interpolated to 8 voxels of 7.5 mm, index 4 at x = 1
        (replace(SLAB, recon_matrix=(8, 5, 6)), (6, 5, 8), (-29.0, -8.0, -6.0), (8.5, -3.0, 0.0)),
    ],
)
def test_three_dimensional_scan_delivers_partitions_in_place(
    tmp_path: Path,
    layout: ScanLayout,
    matrix: tuple[int, int, int],
    first_mm: Vector,
    point_mm: Vector,
) -> None:
    x_mm, y_mm, z_mm = offsets(layout, point_mm, 0)
    k_x, k_y, k_z = (frequencies(*pair) for pair in zip(layout.matrix, layout.field_of_view_mm, strict=True))
    step_1, step_2 = np.meshgrid(np.arange(layout.matrix[1]), np.arange(layout.matrix[2]))
    phase = k_y[step_1.ravel()] * y_mm + k_z[step_2.ravel()] * z_mm
    signal = np.exp(-2j * np.pi * (phase[:, None] + k_x[None, :] * x_mm)).astype(np.complex64)
    with open_writer(tmp_path / "scan.h5", layout) as writer:
        writer.lines(signal[:, None], step_1.ravel(), step_2=step_2.ravel())
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        geometry = measurement.scan().geometry
    assert geometry.matrix == matrix
    assert geometry.voxel_centre_mm(0, 0, 0) == pytest.approx(first_mm, abs=TOLERANCE_MM)
    require_in_place(tmp_path / "scan.h5", point_mm)


def test_slab_of_one_readout_sample_is_delivered_as_its_plane(tmp_path: Path) -> None:
    layout = replace(
        SLAB,
        matrix=(1, 5, 6),
        recon_matrix=None,
        recon_field_of_view_mm=None,
        field_of_view_mm=(4.0, 25.0, 18.0),
    )
    with open_writer(tmp_path / "scan.h5", layout) as writer:
        writer.lines(np.ones((1, 1, 1), dtype=np.complex64), np.array([0]), step_2=np.array([1]))
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        scan = measurement.scan()
    assert scan.shape == (1, 1, 5, 6)
    assert (scan.geometry.matrix[0], scan.geometry.thickness_mm) == (1, 4.0)
